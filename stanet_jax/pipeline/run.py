"""Every stage after the other: classifiers, audio switch, pseudo-fixations, students, scores, report.

    python -m stanet_jax.pipeline --config=configs/stanet.py --workdir=runs/stanet

A stage that is done is left and said to be; one that was interrupted goes on. Stages lie in folders of their names in the workdir,
each as `train.py` or `distill.py` would make it.
"""
import json
import pathlib
import time

import jax
from absl import flags
from ml_collections import config_flags

from stanet_jax import InputError, cli
from stanet_jax.data import synthave
from stanet_jax.evaluation import evaluate as evaluation
from stanet_jax.evaluation import fixations as fixation_sets
from stanet_jax.evaluation import protocols, scoring
from stanet_jax.inference import predictor
from stanet_jax.models import classifiers
from stanet_jax.pipeline import report
from stanet_jax.stages import audio_switch as switch
from stanet_jax.stages import classifiers as classification
from stanet_jax.stages import maps as pseudo_gt
from stanet_jax.stages import students as distillation
from stanet_jax.training import loop as training
from stanet_jax.training import sharding

STAGES = {'coarse': classification.run, 'switch': switch.run, 'pseudo_gt': pseudo_gt.run, 'sta': distillation.run,
          'sta_plus': distillation.run}


def of_plus(granularity):
    return tuple(net for net in classifiers.PLUS if net.endswith(granularity))


# What else the pseudo-fixations may be made of, to compare: fields of configs/pseudo_gt.py, and the stages that are made.
SCAM, PLUS = ('coarse', 'fine'), ('plus',)
VARIANTS = {'S': (SCAM, {'sources': ('S',), 'fusion': 'average'}), 'average': (SCAM, {'fusion': 'average'}),
            'no_switch': (SCAM, {'switch': ''}), **{name: (PLUS, {'sources': (), 'plus_sources': of_plus(name)})
                                                    for name in ('short', 'long', 'cross')},
            'no_sources': (PLUS, {'sources': ()}),
            'no_refine': (PLUS, {'sources': (), 'plus_sources': of_plus('short'), 'plus.nets': of_plus('short'),
                                 'plus.blender.refine': False})}
NAMES = {'S': 'CAM of S', 'average': 'average', 'no_switch': 'selective, no switch', 'short': 'short term alone',
         'long': 'long term alone', 'cross': 'cross term alone', 'no_sources': 'multi-granularity alone',
         'no_refine': 'short term alone, no FRL'}
STUDENTS = {'STA': 'STA', 'STA_short': 'STA+ short', 'STA_long': 'STA+ long', 'product': 'product fusion',
            'final': 'final fusion'}


def rows_of(variant):
    """The names of a variant's rows of scores, one for each of its stages."""
    stages = VARIANTS[variant][0]
    return [NAMES[variant] if stages == PLUS else f'{NAMES[variant]}, {stage}' for stage in stages]


def place(config, workdir):
    """The stages' configs {stage: config}: each with the pipeline's data and seed, and the other stages' folders in the workdir."""
    config = config.copy_and_resolve_references()
    of = {stage: str(workdir / stage) for stage in STAGES}
    for part in (*(config[stage] for stage in STAGES), config.pseudo_gt.fine, config.pseudo_gt.plus):
        part.data.update(config.data)
    for part in (config.coarse, config.switch, config.pseudo_gt.fine, config.pseudo_gt.plus, config.sta, config.sta_plus):
        part.seed = config.seed
    config.switch.start_from.switch = {part: f'{of["coarse"]}/SA' for part in config.switch.start_from.switch}
    config.pseudo_gt.coarse, config.pseudo_gt.switch = of['coarse'], of['switch']
    parts = config.sta.start_from.STA
    config.sta.start_from.STA = {part: f'{of["coarse"]}/{pathlib.Path(folder).name}' for part, folder in parts.items()}
    for net, parts in config.sta_plus.start_from.items():
        config.sta_plus.start_from[net] = f'{of["sta"]}/STA' if isinstance(parts, str) else {part: f'{of["sta"]}/STA' for part in parts}
    for student, maps in ((config.sta, 'fine'), (config.sta_plus, 'plus')):
        student.maps, student.switch = f'{of["pseudo_gt"]}/{maps}', of['switch']
    return {stage: config[stage] for stage in STAGES}


def run(config, workdir):
    """Runs every stage that is not done, scores the maps and the student on SynthAVE's test part and writes `report.html`."""
    check(config)
    workdir = training.open_workdir(config, workdir)
    make_world(config)
    stages = place(config, workdir)
    for name, stage in STAGES.items():
        once(workdir, name, lambda stage=stage, name=name: stage(stages[name], workdir / name))
    if config.data.name != 'synthave':
        print('no fixations are known of these clips: score the student on a fixation set by evaluate.py --checkpoint')
        return
    for variant in config.variants:
        once(workdir, f'variants/{variant}', lambda variant=variant: vary(stages['pseudo_gt'], variant, workdir))
    once(workdir, 'scores', lambda: score(config, workdir))
    if jax.process_index() == 0:
        report.write(config, workdir)


def check(config):
    """Refuses variants and worlds that are none."""
    if not set(config.variants) <= set(VARIANTS):
        raise InputError(f'config.variants={tuple(config.variants)!r}: must name some of {", ".join(VARIANTS)}')
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
        training.replace_text(path, json.dumps({**done, name: round(time.perf_counter() - start, 1)}, indent=2) + '\n')
    sharding.barrier(f'{name} done')


def vary(config, variant, workdir):
    """Makes the test part's maps of a variant by the same nets, unless it is of other ones; fine maps at the boxes of its coarse ones."""
    out, (stages, fields) = workdir / 'variants' / variant, VARIANTS[variant]
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict({**fields, 'splits': ('test',), 'stages': stages})
    folder, coarse = workdir / 'pseudo_gt', out if 'coarse' in stages else workdir / 'pseudo_gt'
    if 'coarse' in stages:
        pseudo_gt.stage(config, config.coarse, out / 'coarse')
    if 'fine' in stages:
        pseudo_gt.stage(config, folder / 'nets', out / 'fine', coarse / 'coarse')
    if 'plus' in stages:
        nets = folder / 'plus_nets'
        if any(field.startswith('plus.') for field in fields):
            nets = out / 'plus_nets'
            pseudo_gt.train_plus(config, nets)
        pseudo_gt.stage(config, folder / 'nets', out / 'plus', coarse / 'coarse', nets)


def score(config, workdir):
    """Scores every kind of map on the test part, under `stavis`, and writes `scores/scores.json` and a CSV."""
    if jax.process_index():
        return
    rules = protocols.PROTOCOLS['stavis']
    name, videos, mismatched = fixation_sets.open_set(config.data.root, '')
    folders = {f'selective, {stage}': workdir / 'pseudo_gt' / stage for stage in SCAM}
    folders |= {row: workdir / 'variants' / variant / stage for variant in config.variants
                for row, stage in zip(rows_of(variant), VARIANTS[variant][0], strict=True)}
    folders['SCAM+'] = workdir / 'pseudo_gt' / 'plus'
    maps, scored, lines = evaluation.maps_of_folders({row: folder / 'test' for row, folder in folders.items()}, videos)
    rows = scoring.score_all(maps, scored, rules, 'pseudo-fixations')
    for of, row in evaluation.score_students(predictor.Predictor(workdir / 'sta_plus'), videos, rules).items():
        student, _, sound = of.partition(', ')
        rows[STUDENTS[student] + (f', {sound}' if sound else '')] = row
    (workdir / 'scores').mkdir(exist_ok=True)
    evaluation.publish(workdir / 'scores' / 'scores.json', 'stavis', config.data.root, name, videos, str(workdir), mismatched + lines,
                       rows)


def compile_once(folder):
    """Has what is compiled kept in a folder, as many nets are of one shape; what the user has set by JAX_COMPILATION_CACHE_DIR stands."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update('jax_compilation_cache_dir', str(pathlib.Path(folder).absolute()))


def main():
    compile_once(f'{WORKDIR.value}/compiled')
    run(CONFIG.value, WORKDIR.value)


if __name__ == '__main__':
    CONFIG = config_flags.DEFINE_config_file('config', None, 'Which pipeline; override fields as --config.data.root=DIR.')
    WORKDIR = flags.DEFINE_string('workdir', 'runs/stanet', 'Folder of the run; one that is there goes on.')
    cli.run(main, required=['config'])
