"""Scores saliency maps, of a folder or of a checkpoint, on a fixation set; with the ceiling and the floors to read them by."""
import json
import pathlib

from stanet_jax import InputError
from stanet_jax.evaluation import fixations, protocols
from stanet_jax.evaluation.map_sources import open_map_folders, score_students
from stanet_jax.evaluation.references import reference_rows
from stanet_jax.evaluation.scoring import ScoreCache, score_all
from stanet_jax.evaluation.tables import format_scores, format_sets, without_nan, write_scores
from stanet_jax.workdir import replace_text


def evaluate(data, set_name, protocol, out, maps='', checkpoint='', workers=1, compare=False, save=''):
    """Scores a folder of maps, or students with their own, no and foreign sound; prints the table, writes `out` and a CSV.

    Args:
        data: folder of fixation sets; set_name: one of them, '' for the only one, or 'all', where each has files of its own
            (`<out>_<set>.json`), maps are looked for in `<maps>/<set>`, and `out` has the table of all.
        protocol: a key of `protocols.PROTOCOLS`.
        checkpoint: a folder as `predictor.Predictor` takes it, or a list of such.
        workers: processes that score a folder of maps.
        save: folder for the students' maps, `<save>/<set>/<video>/pred_sal_%06d.jpg`; '' for none.
        compare: whether the papers' own figures are printed beside the table of all sets.
    Returns:
        A dict of `protocol`, `set`, `data`, `of` (the folder or the run), `mismatched` (lines) and `rows`, {name: see `score`}; of all
        sets {set: such a dict}.
    """
    out = pathlib.Path(out)
    if out.suffix != '.json':
        raise InputError(f'--out={out}: must end in .json; the CSV is written beside it')
    if protocol not in protocols.PROTOCOLS:
        raise InputError(f'--protocol={protocol}: must be one of {", ".join(protocols.PROTOCOLS)}')
    students, of = None, str(maps)
    if not maps:
        from stanet_jax.inference import predictor  # here, as a folder of maps needs no network
        runs = [checkpoint] if isinstance(checkpoint, (str, pathlib.Path)) else checkpoint
        students, of = predictor.Predictor(*runs), ', '.join(map(str, runs))
    out.parent.mkdir(parents=True, exist_ok=True)
    if set_name != 'all':
        return evaluate_set(data, set_name, protocol, out, maps, students, of, workers, save)
    results, missing = {}, []
    for name in fixations.list_folders(pathlib.Path(data) / 'annotations'):
        try:
            results[name] = evaluate_set(data, name, protocol, out.with_name(f'{out.stem}_{name}.json'), maps and f'{maps}/{name}',
                                         students, of, workers, save)
        except InputError as error:
            missing.append(f'  {name}: {error}')
    if not results:
        raise InputError(f'--data={data}: no set could be scored; ' + (missing[0].strip() if missing else 'it holds no annotations/<set>'))
    print('\n'.join([format_sets(results, compare), *(['not scored:', *missing] if missing else [])]))
    replace_text(out, json.dumps(without_nan({'protocol': protocol, 'of': of, 'sets': {
        name: {row: found['scores'] for row, found in result['rows'].items()} for name, result in results.items()}}), indent=2) + '\n')
    return results


def evaluate_set(data, set_name, protocol, out, maps, students, of, workers, save):
    """`evaluate` for one set, by a folder of maps or by `students`, a Predictor; `of` is what these are called in the results."""
    rules = protocols.PROTOCOLS[protocol]
    set_name, videos, mismatched = fixations.open_set(data, set_name)
    if maps:
        maps_of_video, videos, lines = open_map_folders({'maps': maps}, videos, rules.first)
        mismatched += lines
    kept = ScoreCache(out.with_suffix('.partial'), {'protocol': protocol, 'data': str(data), 'set': set_name, 'of': of,
                                              'videos': [video.name for video in videos]})
    if maps:
        rows = score_all(maps_of_video, videos, rules, 'maps', kept, workers)
    else:
        rows = score_students(students, videos, rules, kept, save and f'{save}/{set_name}')
    results = publish_scores(out, protocol, data, set_name, videos, of, mismatched, rows)
    kept.path.unlink(missing_ok=True)
    print(f'written: {out}, {out.with_suffix(".csv")}')
    return results


def publish_scores(out, protocol, data, set_name, videos, of, mismatched, rows):
    """Adds the reference rows, writes all with `write_scores` and prints the table; -> what was written, see `evaluate`."""
    results = {'protocol': protocol, 'set': set_name, 'data': str(data), 'of': of, 'mismatched': mismatched,
               'rows': {**rows, **reference_rows(data, videos, protocols.PROTOCOLS[protocol])}}
    write_scores(out, results)
    print(format_scores(results))
    return results
