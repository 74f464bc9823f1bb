"""Runs the stages in their order, then the scores and the report.

A stage that is done is skipped; one that was interrupted goes on. Stages have folders of their names in the workdir, with the content that
`train` or `distill` gives them.
"""
import functools
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence

import jax
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.data import synthave
from stanet_jax.evaluation import evaluate, fixations, protocols, scoring
from stanet_jax.evaluation.fixation_cache import FixationCache
from stanet_jax.evaluation.map_sources import open_map_folders, score_students, student_maps
from stanet_jax.evaluation.results import SetResults
from stanet_jax.evaluation.tables import write_scores
from stanet_jax.inference import predictor
from stanet_jax.models.branch import parse_net
from stanet_jax.pipeline import report
from stanet_jax.pipeline.table import (
    PSEUDO_GT,
    STAGES,
    STUDENT_ROWS,
    of_pipeline,
    plan,
    read_from,
    stage_configs,
    stage_folders,
    student_runs,
    with_data,
)
from stanet_jax.pipeline.variants import VARIANTS, maps_stage, plan_variant, variant_folders
from stanet_jax.stages import audio_switch, classifiers, maps
from stanet_jax.training.checks import require
from stanet_jax.workdir import barrier, open_workdir, replace_text, replacing


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Runs every stage that is not done, scores maps and students on SynthAVE's test split and writes `report.html`.

    Of another data set, whose fixations are not known, there are no variants and no scores.
    """
    check(config)
    workdir = open_workdir(config, workdir)
    make_world(config)
    configs, folders = stage_configs(config), stage_folders(workdir)
    planned = plan(configs, folders)
    variants = config.variants if config.data.name == 'synthave' else ()
    for stage in planned:
        once(workdir, stage, functools.partial(run_stage, configs, stage, planned, folders, variants, config.judge.every), folders[stage])
    for variant in sorted(variants, key=list(VARIANTS).index):
        run_variant(configs, variant, folders, config.judge, workdir)
    if config.data.name == 'synthave':
        once(workdir, 'scores', lambda: score(config, workdir))
    if jax.process_index() == 0:
        report.write_report(config, workdir)


def run_stage(configs: Mapping[str, ConfigDict], stage: str, planned: Mapping[str, ConfigDict], folders: Mapping[str, pathlib.Path],
              variants: Sequence[str], every: int) -> None:
    """Runs a stage; with one that makes maps, all maps of the same nets: those of variants, and with the fine ones SCAM+.

    Args:
        configs: of the pipeline's stages.
        stage: one of them.
        planned: the configs as they are run, see `table.plan`.
        folders: of the stages.
        variants: keys of `VARIANTS`.
        every: see `variants.plan_variant`.
    """
    stages = [stage, *(plus for plus in ('pseudo_gt/plus',) if stage == 'pseudo_gt/fine' and plus in planned)]
    wanted = [(planned[name], folders[name]) for name in stages]
    for variant in variants:
        if list(VARIANTS[variant].stages) in [[name] for name in stages] and not VARIANTS[variant].after:
            own = variant_folders(variant, folders, folders['coarse'].parent / 'variants')
            wanted += [(config, own[name]) for name, config in plan_variant(configs, variant, own, every).items()]
    if len(wanted) > 1:
        maps.run_together(wanted)
    else:
        STAGES[stage].run(planned[stage], folders[stage])


def run_variant(configs: Mapping[str, ConfigDict], variant: str, folders: Mapping[str, pathlib.Path], judge: ConfigDict,
                workdir: pathlib.Path) -> None:
    """Runs the stages that are made anew for a variant, and those of the variant before it, then its student, in `variants/<variant>`.

    Args:
        configs: of the pipeline's stages.
        variant: a key of `VARIANTS`.
        folders: of the pipeline's stages.
        judge: the config of the student.
        workdir: folder of the pipeline's run.
    """
    of, root = VARIANTS[variant], workdir / 'variants'
    if of.after and not (root / of.after / 'student').exists():
        run_variant(configs, of.after, folders, judge, workdir)
    own = variant_folders(variant, folders, root)
    for stage, config in plan_variant(configs, variant, own, judge.every).items():
        for net in (net for net in of.shared.get(stage, ()) if net in config.nets):
            copy_net(folders[stage] / net, own[stage] / net)
        once(workdir, f'variants/{variant}/{stage}', functools.partial(STAGES[stage].run, config, own[stage]))
    student = read_from(of_pipeline(judge, configs['sta']), 'sta', {**folders, 'pseudo_gt/fine': own[maps_stage(variant)]})
    once(workdir, f'variants/{variant}/student', functools.partial(STAGES['sta'].run, student, root / variant / 'student'))
    if configs['sta'].data.name == 'synthave':  # of others the fixations are not known
        once(workdir, f'variants/{variant}/scores', functools.partial(score_judge, variant, configs['sta'].data.root, root / variant))


def copy_net(trained: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies a trained net's variables, whole or not at all, unless they are there."""
    if jax.process_index() == 0 and not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder) as new:
            shutil.copytree(trained / 'variables', new / 'variables')
    barrier(f'{folder} copied')


def run_coarse(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Trains classifiers; before those that hear, the audio switch in `<workdir>/switch`, where `config.switch` is 'switch'."""
    if config.switch != 'switch':
        classifiers.run(config, workdir)
        return
    config = config.copy_and_resolve_references()
    config.switch = os.fspath(pathlib.Path(workdir) / 'switch')
    if any(parse_net(net).source in ('SA', 'STA') for net in config.nets):
        classifiers.run_unimodal(config, workdir)
        audio_switch.run(switch_config(config, workdir), config.switch)
    classifiers.run(config, workdir)


def switch_config(config: ConfigDict, workdir: str | os.PathLike) -> ConfigDict:
    """The config of the audio switch of a run of coarse nets, which begins from those among them that it can, S and A."""
    result = config.copy_and_resolve_references()
    parts = {part: os.fspath(pathlib.Path(workdir) / net) for part, net in (('encoder', 'S'), ('audio_encoder', 'A')) if net in config.nets}
    result.update({'task': 'switch', 'nets': ('A', 'switch'), 'switch': '', 'open_only': False})
    result.start_from = {'switch': parts}
    return result


def run_pseudo_gt(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Runs the stages of the pseudo-fixations that `config.stages` names, in folders of their names; see `configs/pseudo_gt.py`."""
    require('stages', config.stages, bool(config.stages) and set(config.stages) <= set(PSEUDO_GT),
            f'must name some of {", ".join(PSEUDO_GT)}')
    workdir = open_workdir(config, workdir)
    stages = [stage for name in PSEUDO_GT if name in config.stages for stage in PSEUDO_GT[name]]
    names = {stage: pathlib.Path(stage).name for made in PSEUDO_GT.values() for stage in made}
    folders = {'coarse': config.coarse_nets, 'switch': config.switch, **{stage: workdir / name for stage, name in names.items()}}
    for stage, of in plan({stage: with_data(config[names[stage]], config.data) for stage in stages}, folders).items():
        STAGES[stage].run(of, pathlib.Path(folders[stage]))


def check(config: ConfigDict) -> None:
    """Checks the fields of a pipeline's config that no stage checks.

    Raises:
        InputError: a field has a value that is not allowed; the message names the field.
    """
    require('pseudo_gt.stages', tuple(config.pseudo_gt.stages), set(config.pseudo_gt.stages) >= {'coarse', 'fine'} and
            ('plus' in config.pseudo_gt.stages) == ('sta_plus' in config),
            'the pipeline makes coarse and fine, and plus where it has students of STANet+; for some of them take `distill`')
    require('variants', tuple(config.variants), set(config.variants) <= set(VARIANTS), f'must name some of {", ".join(VARIANTS)}')
    require('variants', tuple(config.variants), not config.variants or 'plus' in config.pseudo_gt.stages, 'they are of STANet+')
    synthave.check(synthave.Settings(**config.world))


def make_world(config: ConfigDict) -> None:
    """Generates SynthAVE with the settings `config.world`, unless it exists; InputError where it was generated with other settings."""
    root = pathlib.Path(config.data.root)
    if config.data.name != 'synthave' or jax.process_index() > 0:
        return
    synthave.ensure(root, synthave.Settings(**config.world))
    made = json.loads((root / 'settings.json').read_text())
    other = [f'{field} is {made[field]!r}' for field, value in config.world.items() if made[field] != value]
    if other:
        raise InputError(f'{root}: not the SynthAVE of config.world ({", ".join(other)}); give another --config.data.root')


def once(workdir: pathlib.Path, name: str, stage: Callable[[], None], folder: pathlib.Path | None = None) -> None:
    """Runs a stage unless it is listed in `stages.json` and its folder exists, by default `<workdir>/<name>`; then lists it there with its
    duration in seconds."""
    path = workdir / 'stages.json'
    done = json.loads(path.read_text()) if path.exists() else {}
    folder = folder or workdir / name
    if name in done and folder.exists():
        print(f'{name}: done already, in {folder}')
        return
    start = time.perf_counter()
    stage()
    if jax.process_index() == 0:
        replace_text(path, json.dumps({**done, name: round(time.perf_counter() - start, 1)}, indent=2) + '\n')
    barrier(f'{name} done')


def score(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Scores every kind of map on the test split under the protocol `stavis` and writes `scores/scores.json` and a CSV file."""
    if jax.process_index():
        return
    rules = protocols.PROTOCOLS['stavis']
    name, videos, missing = fixations.open_set(config.data.root, '')
    stages = stage_folders(workdir)
    kinds = [kind for kind in ('coarse', 'fine', 'plus') if kind in config.pseudo_gt.stages]
    folders = {VARIANTS[kind].name: stages[f'pseudo_gt/{kind}'] for kind in kinds}
    for variant in config.variants:
        folders[VARIANTS[variant].name] = variant_folders(variant, stages, workdir / 'variants')[maps_stage(variant)]
    maps_of = open_map_folders({row: folder / 'test' for row, folder in folders.items()}, videos)
    rows = scoring.score_all(maps_of.maps_of_video, maps_of.videos, rules, 'pseudo-fixations')
    students = predictor.Predictor(*student_runs(config, workdir))
    for student_and_sound, row in score_students(students, videos, rules).items():
        student, _, sound = student_and_sound.partition(', ')
        rows[(STUDENT_ROWS | LONE_ROWS)[student] + (f', {sound}' if sound else '')] = row
    (workdir / 'scores').mkdir(exist_ok=True)
    evaluate.publish_scores(workdir / 'scores' / 'scores.json', 'stavis', config.data.root, name, videos, str(workdir),
                            missing + maps_of.mismatched, rows)


LONE_ROWS = {'own': 'STA', 'muted': 'STA, muted sound', 'other': 'STA, other sound'}  # where there is one student alone


def score_judge(variant: str, root: str, folder: pathlib.Path) -> None:
    """Scores the student of a variant on the test split of SynthAVE as `score` does, into `<folder>/scores/scores.json`."""
    if jax.process_index():
        return
    (name, videos, missing), gaze = open_gaze(root)
    rows = scoring.score_all(student_maps(predictor.Predictor(folder / 'student'), videos), videos, protocols.PROTOCOLS['stavis'], variant,
                             fixations=gaze)
    (folder / 'scores').mkdir(exist_ok=True)
    write_scores(folder / 'scores' / 'scores.json', SetResults('stavis', name, root, str(folder / 'student'), missing, rows))


@functools.lru_cache(1)
def open_gaze(root: str) -> tuple[fixations.FixationSet, FixationCache]:
    """The test split of SynthAVE as a fixation set, and its fixations, which every variant is scored with."""
    found = fixations.open_set(root, '')
    return found, FixationCache(found.videos, protocols.PROTOCOLS['stavis'].repeated)
