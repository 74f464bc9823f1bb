"""What the authors' code does beside the papers and is a choice here: the `cut` of fine maps and the `blur` of a student's maps.

    python -m benchmarks.choices --workdir=runs/choices --out=docs/results.md

Chosen on the demo's world and nets of a seed that no result is reported on. A student is trained on fine maps without and with the cut,
both of one recipe, and scored without and with the blur. The scores are written as a part of a Markdown page.
"""
import argparse
import json
import pathlib
import shutil
import sys

import jax
from absl import logging

from benchmarks.experiment import replace_part
from benchmarks.table1 import METRICS
from configs import sta, stanet
from stanet_jax import InputError, compilation
from stanet_jax.evaluation.tables import COLUMNS
from stanet_jax.pipeline import run
from stanet_jax.workdir import open_workdir, read_config

CUTS = {'fine': 'no', 'fine_cut': 'yes'}  # variants of pipeline.table
BLUR = sta.get_config('release').blur


def config_of(args):
    """The demo's config, of another seed and world, with a student for each cut."""
    config = stanet.get_config('demo')
    config.seed = config.world.seed = args.seed
    config.variants = tuple(CUTS)
    config.data.root = str(args.workdir / 'world')
    return config


def blurred(folder, root, variant):
    """The folder of the scores of a variant's student with the blur; `folder` is the variant's."""
    copy = folder / 'blurred'
    if not (copy / 'student').exists():
        config = read_config(folder / 'student')
        config.blur = BLUR
        shutil.rmtree(copy / 'new', ignore_errors=True)
        shutil.copytree(folder / 'student', copy / 'new')
        (copy / 'new' / 'config.json').unlink()
        open_workdir(config, copy / 'new')
        (copy / 'new').rename(copy / 'student')
    if not (copy / 'scores' / 'scores.json').exists():
        run.score_judge(variant, root, copy)
    return copy


def document(folders, seed):
    """The part of the page, from the folders {(cut, blur): folder} of scores."""
    tables = {kind: json.loads((folder / 'scores' / 'scores.json').read_text())['rows'] for kind, folder in folders.items()}
    rows = {kind: next(iter(table.values())) for kind, table in tables.items()}
    cells = {kind: ' | '.join(f'{row["scores"][metric]:.3f}' for metric in METRICS) for kind, row in rows.items()}
    best = max(rows, key=lambda kind: rows[kind]['scores']['cc'])
    frames = next(iter(rows.values()))['frames']
    return '\n'.join([
        f'Written by `python -m benchmarks.choices --seed={seed}`; JAX {jax.__version__} on {jax.devices()[0].device_kind}. The demo\'s '
        f'world and nets of seed {seed}, of which nothing else is reported; STA, {frames} frames of the test part, protocol `stavis`. '
        '`cut`: below three times a fine map\'s mean it is 0. `blur`: the student\'s maps through a Gaussian, sigma 7 pixels of 356. '
        'Neither is in the papers; both are in the authors\' code.', '',
        f'| cut | blur | {" | ".join(COLUMNS[metric] for metric in METRICS)} |', '|---|---|' + '---|' * len(METRICS),
        *(f'| {cut} | {blur} | {of} |' for (cut, blur), of in cells.items()),
        '', f'The largest CC has the student with cut: {best[0]}, blur: {best[1]}.'])


def main():
    """Runs the pipeline as far as it is not done, scores the students and writes the part of the page."""
    parser = argparse.ArgumentParser(description='Measures the cut of fine maps and the blur of a student\'s maps on a world of its own.')
    parser.add_argument('--seed', type=int, default=100)
    parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs/choices'))
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('docs/results.md'))
    args = parser.parse_args()
    logging.set_verbosity(logging.WARNING)
    compilation.prepare()
    try:
        config = config_of(args)
        run.run(config, args.workdir / 'run')
        folders = {}
        for variant, cut in CUTS.items():
            folder = args.workdir / 'run' / 'variants' / variant
            folders |= {(cut, 'no'): folder, (cut, 'yes'): blurred(folder, config.data.root, variant)}
        replace_part(args.out, 'Cut and blur, on another world', document(folders, args.seed))
    except InputError as error:
        sys.exit(f'error: {error}')
    print(f'results: {args.out}')


if __name__ == '__main__':
    main()
