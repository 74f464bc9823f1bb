"""What a table of a paper is: rows with the paper's figures, and for each where ours come from."""
import csv
import importlib.resources
from collections.abc import Callable, Mapping
from typing import NamedTuple

Figures = Mapping[str, float]  # {column: figure}


class Method(NamedTuple):
    """A method that is scored here: one of `inference.CLASSICAL`, or of `inference.CLASS_MAPS`, of the run's S.

    Attributes:
        name: of the method.
        threshold: what is below it is set to 0, see `baselines.threshold`; None for maps as they are.
    """
    name: str
    threshold: float | None = None


class Reference(NamedTuple):
    """A row of `references.reference_rows`, by its name."""
    name: str


class Student(NamedTuple):
    """A map of the run's students, by its name in `predictor.Predictor.names`."""
    map: str


class Line(NamedTuple):
    """The student of a variant of the pipeline, a key of `pipeline.variants.VARIANTS`, as of a line of TPAMI Table 1."""
    variant: str


class Masks(NamedTuple):
    """Pseudo-masks of EPS, or masks of DeepLab.

    Attributes:
        net: folder in the run: EPS's selection of the foreground, or DeepLab's version and encoder.
        split: whose masks are compared; a set that is not the paper's has the like of it, see `segmentation.SPLITS`.
        values: {column: where it is in `eps.scores.MaskScores.to_dict()`, by keys and by places among a dict's values}.
        config: what trains it, as in `--config=eps:voc12`.
    """
    net: str
    split: str
    values: Mapping[str, tuple[str | int, ...]]
    config: str


class Unknown(NamedTuple):
    """Ours cannot be had, and the reason."""
    why: str


Ours = Method | Reference | Student | Line | Masks | Unknown


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        name: as it is shown.
        paper: {set: the paper's figures}; empty for a row that the paper does not have.
        ours: where ours come from.
    """
    name: str
    paper: Mapping[str, Figures]
    ours: Ours


class Table(NamedTuple):
    """A table of a paper.

    Attributes:
        title: what it compares.
        columns: {name of a figure: heading}, in the paper's order.
        rows: in the paper's order, then those that are ours alone.
        notes: lines on where ours differ, and on the paper's own contradictions.
        appendix: makes the lines of a further part, as of the numbers of operations.
    """
    title: str
    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    appendix: Callable[[], list[str]] | None = None


def read_figures(paper: str) -> dict[tuple[int, str], dict[str, Figures]]:
    """The figures of a paper, {(number of the table, row): {set: {column: figure}}}; the set of EPS's is ''."""
    lines = (importlib.resources.files('stanet_jax.tables') / f'{paper}.csv').read_text('utf-8').splitlines()
    found: dict[tuple[int, str], dict[str, dict[str, float]]] = {}
    for row in csv.DictReader(line for line in lines if not line.startswith('#')):
        of = found.setdefault((int(row.pop('table')), row.pop('row')), {}).setdefault(row.pop('set', ''), {})
        figures = {row['column']: row['figure']} if 'column' in row else row
        of.update({column: float(figure) for column, figure in figures.items() if figure})
    return found  # type: ignore[return-value]  # a dict's values are no Mapping to mypy
