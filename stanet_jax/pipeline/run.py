"""Runs the table of stages: every stage that is not done, then scores and the report.

A stage that is done is left and said to be; one that was interrupted goes on. Stages lie in folders of their names in the workdir,
each as `train.py` or `distill.py` would make it.
"""
import json
import pathlib
import time

import jax

from stanet_jax import InputError
from stanet_jax.data import synthave
from stanet_jax.evaluation import evaluate, fixations, protocols, scoring
from stanet_jax.evaluation.map_sources import open_map_folders, score_students
from stanet_jax.inference import predictor
from stanet_jax.pipeline import report
from stanet_jax.pipeline.table import (
    PSEUDO_GT,
    STAGES,
    STUDENT_ROWS,
    VARIANTS,
    plan,
    plan_variant,
    stage_configs,
    variant_folders,
    with_data,
)
from stanet_jax.training.checks import require
from stanet_jax.workdir import barrier, open_workdir, replace_text


def run(config, workdir):
    """Runs every stage that is not done, scores the maps and the student on SynthAVE's test part and writes `report.html`."""
    check(config)
    workdir = open_workdir(config, workdir)
    make_world(config)
    configs, folders = stage_configs(config), {stage: workdir / stage for stage in STAGES}
    for stage, of in plan(configs, folders).items():
        once(workdir, stage, lambda stage=stage, of=of: STAGES[stage].run(of, folders[stage]))
    if config.data.name != 'synthave':
        print('no fixations are known of these clips: score the student on a fixation set by evaluate.py --checkpoint')
        return
    for variant in config.variants:
        out = workdir / 'variants' / variant
        once(workdir, f'variants/{variant}', lambda variant=variant, out=out: run_all(*plan_variant(configs, variant, folders, out)))
    once(workdir, 'scores', lambda: score(config, workdir))
    if jax.process_index() == 0:
        report.write_report(config, workdir)


def run_pseudo_gt(config, workdir):
    """The stages of the pseudo-fixations alone, in folders of their names in the workdir; see `configs/pseudo_gt.py`."""
    require('stages', config.stages, config.stages and set(config.stages) <= set(PSEUDO_GT), f'must name some of {", ".join(PSEUDO_GT)}')
    workdir = open_workdir(config, workdir)
    stages = [stage for name in PSEUDO_GT if name in config.stages for stage in PSEUDO_GT[name]]
    names = {stage: pathlib.Path(stage).name for of in PSEUDO_GT.values() for stage in of}
    folders = {'coarse': config.coarse_nets, 'switch': config.switch, **{stage: workdir / name for stage, name in names.items()}}
    planned = plan({stage: with_data(config[names[stage]], config.data) for stage in stages}, folders)
    run_all(planned, folders)


def run_all(configs, folders):
    """Runs the stages {stage: config} into their folders {stage: folder}, each of which leaves what is done."""
    for stage, config in configs.items():
        STAGES[stage].run(config, folders[stage])


def check(config):
    """Refuses variants and worlds that are none, and a part of the pseudo-fixations, as the students of STANet+ learn from the last."""
    require('pseudo_gt.stages', tuple(config.pseudo_gt.stages), set(config.pseudo_gt.stages) == set(PSEUDO_GT),
            f'the pipeline makes {", ".join(PSEUDO_GT)}; for some of them take `distill` with configs/pseudo_gt.py')
    require('variants', tuple(config.variants), set(config.variants) <= set(VARIANTS), f'must name some of {", ".join(VARIANTS)}')
    synthave.check(synthave.Settings(**config.world))


def make_world(config):
    """Makes SynthAVE as `config.world` has it, unless it is there; InputError where it was made of other settings."""
    root = pathlib.Path(config.data.root)
    if config.data.name != 'synthave' or jax.process_index() > 0:
        return
    if not root.exists():
        synthave.generate(root, synthave.Settings(**config.world))
    made = json.loads((root / 'settings.json').read_text())
    other = [f'{field} is {made[field]!r}' for field, value in config.world.items() if made[field] != value]
    if other:
        raise InputError(f'{root}: not the SynthAVE of config.world ({", ".join(other)}); give another --config.data.root')


def once(workdir, name, stage):
    """Runs a stage, unless `stages.json` says that it is done; then adds it there, with the seconds that it took."""
    path = workdir / 'stages.json'
    done = json.loads(path.read_text()) if path.exists() else {}
    if name in done and (workdir / name).exists():
        print(f'{name}: done already, in {workdir / name}')
        return
    start = time.perf_counter()
    stage()
    if jax.process_index() == 0:
        replace_text(path, json.dumps({**done, name: round(time.perf_counter() - start, 1)}, indent=2) + '\n')
    barrier(f'{name} done')


def score(config, workdir):
    """Scores every kind of map on the test part, under `stavis`, and writes `scores/scores.json` and a CSV."""
    if jax.process_index():
        return
    rules = protocols.PROTOCOLS['stavis']
    name, videos, mismatched = fixations.open_set(config.data.root, '')
    folders = {f'selective, {kind}': workdir / 'pseudo_gt' / kind for kind in ('coarse', 'fine')}
    for variant in config.variants:
        folders |= variant_folders(variant, workdir / 'variants' / variant)
    folders['SCAM+'] = workdir / 'pseudo_gt' / 'plus'
    maps, scored, lines = open_map_folders({row: folder / 'test' for row, folder in folders.items()}, videos)
    rows = scoring.score_all(maps, scored, rules, 'pseudo-fixations')
    for of, row in score_students(predictor.Predictor(workdir / 'sta_plus'), videos, rules).items():
        student, _, sound = of.partition(', ')
        rows[STUDENT_ROWS[student] + (f', {sound}' if sound else '')] = row
    (workdir / 'scores').mkdir(exist_ok=True)
    evaluate.publish_scores(workdir / 'scores' / 'scores.json', 'stavis', config.data.root, name, videos, str(workdir), mismatched + lines,
                            rows)


def keep_compiled(folder):
    """Has what is compiled kept in a folder, as many nets are of one shape; what the user has set by JAX_COMPILATION_CACHE_DIR stands."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update('jax_compilation_cache_dir', str(pathlib.Path(folder).absolute()))
