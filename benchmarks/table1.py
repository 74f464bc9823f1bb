"""TPAMI Table 1 beside what was made of it here: each line's maps, the student trained on them, and the orders that the paper finds.

Every table of the paper is of AVAD, whose videos have no tags: its figures are those of students (Table 6 has the same ones).
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stanet_jax.evaluation.tables import COLUMNS, PAPER_METRICS
from stanet_jax.pipeline.variants import TABLE1
from stanet_jax.tables.tpami import paper_figures

METRICS = ('cc', 'nss', 'auc_judd', 'shuffled_auc', 'sim')
# What the paper has on AVAD, by line: AUC-J, SIM, s-AUC, CC, NSS.
PAPER = {line: tuple(paper_figures(1, str(line))[metric] for metric in PAPER_METRICS) for line in range(1, 26)}
# The orders that Sec. 6.2 and 7.3.5 find: (what, the line above, the line below).
ORDERS = (
    *(('fine over coarse', *lines) for lines in ((6, 1), (7, 2), (8, 3), (10, 4), (11, 5))),
    *(('selective fusion over the average', *lines) for lines in ((5, 4), (11, 10), (24, 23))),
    *(('three sources over one', 11, line) for line in (6, 7, 8)),
    *(('with the switch over without', *lines) for lines in ((11, 9), (24, 22))),
    *(('further fragments over none', line, 12) for line in (13, 15, 18)),
    *(('all granularities over one net', 24, line) for line in range(13, 21)),
    ('with FRL over without', 24, 21),
    ("SCAM' over SCAM", 24, 11), ('SCAM+ over SCAM', 25, 11), ("SCAM+ over SCAM'", 25, 24))

Rows = Mapping[str, Mapping[str, Any]]  # {name of a row, or variant: its scores as JSON}
BY_LINE = {of.line: variant for variant, of in TABLE1.items()}


def number(value: float | None) -> float:
    """NaN for None, which JSON has in place of an undefined score."""
    return np.nan if value is None else value


def mean_and_spread(values: Sequence[float | None]) -> str:
    """The mean and the standard deviation of each seed's value, as text."""
    numbers = [number(v) for v in values]
    return f'{np.mean(numbers):.3f} ± {np.std(numbers, ddof=1) if len(numbers) > 1 else 0:.3f}'


def line_table(maps: Sequence[Rows], students: Sequence[Rows]) -> list[str]:
    """The lines of a Markdown table of all lines of Table 1, from each seed's rows of maps and of students, the latter by variant."""
    heads = [f'{who}: {COLUMNS[metric]}' for who in ('student', 'maps') for metric in METRICS]
    lines = [f'| line | | {" | ".join(heads)} | maps left out | paper, AVAD: CC, NSS |', '|---' * (len(heads) + 4) + '|']
    for line, variant in BY_LINE.items():
        name = TABLE1[variant].name
        both = [of[variant] for of in students], [of[name] for of in maps]
        cells = [mean_and_spread([row['scores'][metric] for row in rows]) for rows in both for metric in METRICS]
        empty = np.mean([row['undefined']['cc'] / row['frames'] for row in both[1]])
        lines.append(f'| {line} | {name} | {" | ".join(cells)} | {empty:.1%} | {PAPER[line][3]:.3f}, {PAPER[line][4]:.3f} |')
    return lines


def verdict(values: np.ndarray, least: float = 0.0) -> str:
    """Whether each seed's value is above `least`: 'shows', 'in part' where the mean is, or 'does not show'; and mean and spread."""
    above = values > least
    shows = 'shows' if above.all() else '**in part**' if values.mean() > least else '**does not show**'
    return f'{shows}, {mean_and_spread(values)} ({above.sum()} of {len(values)} seeds)'


def order_table(maps: Sequence[Rows], students: Sequence[Rows]) -> list[str]:
    """The lines of a Markdown table of the paper's orders: by how much CC is larger in the paper, of the students and of the maps.

    Of the maps, the frames that either leaves out count as CC 0.
    """
    def of_student(line):
        return np.array([number(of[BY_LINE[line]]['scores']['cc']) for of in students])

    def of_maps(line):
        rows = [of[TABLE1[BY_LINE[line]].name] for of in maps]
        return np.array([number(row['scores']['cc']) * (1 - row['undefined']['cc'] / row['frames']) for row in rows])

    lines = ['| order | lines | paper | students | maps, empty ones as 0 |', '|---|---|---|---|---|']
    for text, above, below in ORDERS:
        paper = PAPER[above][3] - PAPER[below][3]
        lines.append(f'| {text} | {above} over {below} | {paper:+.3f} | {verdict(of_student(above) - of_student(below))} '
                     f'| {verdict(of_maps(above) - of_maps(below))} |')
    return lines
