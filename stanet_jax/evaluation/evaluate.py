"""Scores saliency maps, of a folder or of students, on a fixation set, with the references that they are compared to."""
import json
import os
import pathlib
from collections.abc import Callable, Container, Mapping, Sequence

from stanet_jax import InputError
from stanet_jax.evaluation import fixations, protocols, pysaliency_door
from stanet_jax.evaluation.map_sources import open_map_folders, score_students
from stanet_jax.evaluation.references import reference_rows
from stanet_jax.evaluation.results import SetResults, SetScores
from stanet_jax.evaluation.scoring import ScoreCache, score_all
from stanet_jax.evaluation.tables import format_scores, format_sets, without_nan, write_scores
from stanet_jax.inference.films import FilmPredictor
from stanet_jax.inference.opening import open_predictor
from stanet_jax.workdir import made_at, replace_text


def evaluate(data: str | os.PathLike, set_name: str, protocol: str, out: str | os.PathLike, maps: str | os.PathLike = '',
             checkpoint: str | os.PathLike | Sequence[str | os.PathLike] = '', workers: int = 1, compare: bool = False,
             save: str | os.PathLike = '', method: str | None = None, thresholds: Sequence[float] = (),
             samples: int = 0) -> SetResults | dict[str, SetResults]:
    """Scores a folder of maps, or students with the videos' own, no and foreign sound; prints the table, writes it as JSON and CSV.

    Args:
        data: folder of fixation sets, or of one of pysaliency's, see `pysaliency_door`.
        set_name: one of them; '' for the only one; or 'all', where each has files of its own (`<out>_<set>.json`), maps are looked for
            in `<maps>/<set>`, and `out` holds the table of all.
        protocol: a key of `protocols.PROTOCOLS`.
        out: JSON file to write; the CSV is written beside it.
        maps: folder of maps; '' to score students or a method.
        checkpoint: folder of a run of students, or several such folders, as `predictor.Predictor` takes them.
        workers: processes that score a folder of maps.
        compare: whether the papers' scores are printed beside the table of all sets.
        save: folder for the students' maps, `<save>/<set>/<video>/pred_sal_%06d.jpg`; '' for none.
        method: in place of students, see `opening.open_predictor`; `samples` as there.
        thresholds: see `protocols.Protocol`.
    Returns:
        The results; for 'all', {set: results}.
    Raises:
        InputError: an argument is out of range, or nothing can be scored.
    """
    out = pathlib.Path(out)
    if out.suffix != '.json':
        raise InputError(f'--out={out}: must end in .json; the CSV is written beside it')
    rules = protocols.choose_protocol(protocol, thresholds)
    students, source, made = None, str(maps), 0
    if not maps:
        runs = [checkpoint] if checkpoint and isinstance(checkpoint, str | os.PathLike) else list(checkpoint)  # type: ignore[arg-type]
        students, made = open_predictor(runs, method, samples=samples), max((made_at(run) for run in runs), default=0)
        source = ', '.join(map(str, runs)) if not method else f'{students.names[-1]} of {runs[0]}' if runs else method
    out.parent.mkdir(parents=True, exist_ok=True)
    if set_name != 'all' or pysaliency_door.is_set(data):
        return evaluate_set(data, set_name if set_name != 'all' else '', rules, out, maps, students, source, made, workers, save)
    results, missing = {}, []
    for name in fixations.list_folders(pathlib.Path(data) / 'annotations'):
        try:
            results[name] = evaluate_set(data, name, rules, out.with_name(f'{out.stem}_{name}.json'), maps and f'{maps}/{name}',
                                         students, source, made, workers, save)
        except InputError as error:
            missing.append(f'  {name}: {error}')
    if not results:
        raise InputError(f'--data={data}: no set could be scored; ' + (missing[0].strip() if missing else 'it holds no annotations/<set>'))
    print('\n'.join([format_sets(results, compare), *(['not scored:', *missing] if missing else [])]))
    replace_text(out, json.dumps(without_nan({'protocol': protocol, 'of': source, 'sets': {
        name: {row: scores.scores for row, scores in result.rows.items()} for name, result in results.items()}}), indent=2) + '\n')
    return results


def evaluate_set(data: str | os.PathLike, set_name: str, protocol: protocols.Protocol, out: pathlib.Path, maps: str | os.PathLike,
                 students: FilmPredictor | None, source: str, made: int, workers: int, save: str | os.PathLike) -> SetResults:
    """Evaluates one set, with the arguments of `evaluate`, and removes the scores kept for resuming when all is written.

    Args:
        protocol: one of `protocols.PROTOCOLS`.
        maps: folder of maps.
        students: scored in place of a folder of maps where given.
        source: what the results call the folder or the students.
        made: when the students were; scores that are kept for resuming are of these alone.
    """
    found = pysaliency_door.open_set(data, set_name) if pysaliency_door.is_set(data) else fixations.open_set(data, set_name)
    set_name, videos, mismatched = found.name, list[fixations.SetVideo](found.videos), found.missing
    if students is None:
        maps_of_video, videos, lines = open_map_folders({'maps': maps}, videos, protocol.first)
        mismatched += lines
    cache = ScoreCache(out.with_suffix('.partial'), {
        'protocol': protocol.name, 'thresholds': protocol.thresholds, 'data': str(data), 'set': set_name, 'of': source,
        'made': maps_of_video.made() if students is None else made, 'save': str(save), 'videos': [video.name for video in videos]})
    if students is None:
        rows = score_all(maps_of_video, videos, protocol, 'maps', cache, workers)
    else:
        rows = score_students(students, videos, protocol, cache, save and f'{save}/{set_name}')
    results = publish_scores(out, protocol.name, data, set_name, videos, source, mismatched, rows,
                             maps_of_video.frames if students is None else None)
    cache.path.unlink(missing_ok=True)
    print(f'written: {out}, {out.with_suffix(".csv")}')
    return results


def publish_scores(out: pathlib.Path, protocol: str, data: str | os.PathLike, set_name: str, videos: Sequence[fixations.SetVideo],
                   source: str, mismatched: list[str], rows: Mapping[str, SetScores],
                   frames: Callable[[str], Container[int]] | None = None) -> SetResults:
    """Adds the references to the rows, writes all with `write_scores`, prints the table and returns what is written.

    `frames` tells which frames of the video of a name are scored; all by default.
    """
    results = SetResults(protocol=protocol, set_name=set_name, data=str(data), source=source, mismatched=mismatched,
                         rows={**rows, **reference_rows(data, videos, protocols.PROTOCOLS[protocol], frames)})
    write_scores(out, results)
    print(format_scores(results))
    return results
