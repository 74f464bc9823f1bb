"""What the authors' code does beside the papers and is a choice here: the `cut` of maps and the `blur` of a student's maps.

    python -m benchmarks.choices --seeds 100 101 102 --workdir=runs/choices --out=docs/results.md

Chosen on the demo's world and nets, of seeds that no result is reported on. Students of one recipe are trained on maps of each stage,
without and with the cut; those of fine maps are scored without and with the blur. The scores are written as a part of a Markdown page.
"""
import argparse
import json
import pathlib
import shutil
import sys

import jax
import numpy as np
from absl import logging

from benchmarks.experiment import replace_part
from benchmarks.table1 import METRICS, mean_and_spread
from configs import sta, stanet
from stanet_jax import InputError, compilation
from stanet_jax.evaluation.tables import COLUMNS
from stanet_jax.pipeline import run
from stanet_jax.workdir import open_workdir, read_config

# {maps: variants of pipeline.variants without and with the cut}
CUTS = {'SCAM, coarse': ('coarse', 'coarse_cut'), 'SCAM, fine': ('fine_uncut', 'fine'),
        'CAM of S+ short': ('S_short_uncut', 'S_short'), 'SCAM+': ('plus_uncut', 'plus')}
FINE = 'SCAM, fine'  # the maps of whose students the blur is measured
BLUR = sta.get_config('release').blur


def config_of(workdir, seed):
    """The demo's config, of another seed and world, with a student for each cut."""
    config = stanet.get_config('demo')
    config.seed = config.world.seed = seed
    config.variants = tuple(variant for both in CUTS.values() for variant in both)
    config.judge.every, config.judge.epochs = 1, {'STA': 0.25}  # of all clips, as the page has it
    config.data.root = str(workdir / f'world{seed}')
    return config


def scored(workdir, seed):
    """Runs the pipeline of a seed as far as it is not done and gives the rows {(maps, cut, blur): row} of scores of its students."""
    config, run_of = config_of(workdir, seed), workdir / f'seed{seed}'
    run.run(config, run_of)
    folders = {}
    for maps, both in CUTS.items():
        for cut, variant in zip(('no', 'yes'), both, strict=True):
            folders[maps, cut, 'no'] = folder = run_of / 'variants' / variant
            if maps == FINE:
                folders[maps, cut, 'yes'] = blurred(folder, config.data.root, variant)
    tables = {kind: json.loads((folder / 'scores' / 'scores.json').read_text())['rows'] for kind, folder in folders.items()}
    return {kind: next(iter(table.values())) for kind, table in tables.items()}


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


def document(found):
    """The part of the page, from the rows {(maps, cut, blur): row} of each seed, {seed: rows}."""
    first, *_ = found.values()
    cells = {kind: ' | '.join(mean_and_spread([rows[kind]['scores'][metric] for rows in found.values()]) for metric in METRICS)
             for kind in first}
    cc = {kind: np.array([rows[kind]['scores']['cc'] for rows in found.values()]) for kind in first}
    best = max((kind for kind in cc if kind[0] == FINE), key=lambda kind: cc[kind].mean())
    cuts = '; '.join(f'{maps} {differences(cc[maps, "yes", "no"] - cc[maps, "no", "no"])}' for maps in CUTS if (maps, 'yes', 'no') in cc)
    seeds = ' '.join(map(str, found))
    return '\n'.join([
        f'Written by `python -m benchmarks.choices --seeds {seeds}`; JAX {jax.__version__} on {jax.devices()[0].device_kind}. The demo\'s '
        f'worlds and nets of seeds of which nothing else is reported; mean ± standard deviation over the seeds; STA, '
        f'{first[best]["frames"]} frames of the test part to a seed, protocol `stavis`. `cut`: below three times a map\'s mean it is 0. '
        '`blur`: the student\'s maps through a Gaussian, sigma 7 pixels of 356. Neither is in the papers; both are in the authors\' code, '
        'the cut of fine maps and of SCAM+.', '',
        f'| a student that learned from | cut | blur | {" | ".join(COLUMNS[metric] for metric in METRICS)} |',
        '|---|---|---|' + '---|' * len(METRICS), *(f'| {" | ".join(kind)} | {of} |' for kind, of in cells.items()), '',
        f'By how much CC is larger in each seed with the cut, without blur: {cuts}. With the blur, without cut: '
        f'{differences(cc[FINE, "no", "yes"] - cc[FINE, "no", "no"])}. Of fine maps the largest mean CC has the student with cut: '
        f'{best[1]}, blur: {best[2]}.'])


def differences(values):
    """The numbers as text, with their signs."""
    return ', '.join(f'{value:+.3f}' for value in values)


def main():
    """Runs the pipelines as far as they are not done, scores the students and writes the part of the page."""
    parser = argparse.ArgumentParser(description='Measures the cut of maps and the blur of a student\'s maps on worlds of their own.')
    parser.add_argument('--seeds', type=int, nargs='+', default=[100, 101, 102])
    parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs/choices'))
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('docs/results.md'))
    args = parser.parse_args()
    logging.set_verbosity(logging.WARNING)
    compilation.prepare()
    try:
        found = {seed: scored(args.workdir, seed) for seed in args.seeds}
        replace_part(args.out, 'Cut and blur, on other worlds', document(found))
    except InputError as error:
        sys.exit(f'error: {error}')
    print(f'results: {args.out}')


if __name__ == '__main__':
    main()
