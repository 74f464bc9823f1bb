"""Runs the stages in their order, then the scores and the report.

A stage that is done is skipped; one that was interrupted goes on. Stages have folders of their names in the workdir, with the content that
`train` or `distill` gives them.
"""
import functools
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping

import jax
from ml_collections import ConfigDict

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


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Runs every stage that is not done, scores maps and students on SynthAVE's test split and writes `report.html`.

    Of another data set, whose fixations are not known, there are no variants and no scores.
    """
    check(config)
    workdir = open_workdir(config, workdir)
    make_world(config)
    configs, folders = stage_configs(config), {stage: workdir / stage for stage in STAGES}
    for stage, planned in plan(configs, folders).items():
        once(workdir, stage, functools.partial(STAGES[stage].run, planned, folders[stage]))
    if config.data.name == 'synthave':
        for variant in config.variants:
            out = workdir / 'variants' / variant
            once(workdir, f'variants/{variant}', functools.partial(run_variant, configs, variant, folders, out))
        once(workdir, 'scores', lambda: score(config, workdir))
    if jax.process_index() == 0:
        report.write_report(config, workdir)


def run_pseudo_gt(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Runs the stages of the pseudo-fixations that `config.stages` names, in folders of their names; see `configs/pseudo_gt.py`."""
    require('stages', config.stages, bool(config.stages) and set(config.stages) <= set(PSEUDO_GT),
            f'must name some of {", ".join(PSEUDO_GT)}')
    workdir = open_workdir(config, workdir)
    stages = [stage for name in PSEUDO_GT if name in config.stages for stage in PSEUDO_GT[name]]
    names = {stage: pathlib.Path(stage).name for made in PSEUDO_GT.values() for stage in made}
    folders = {'coarse': config.coarse_nets, 'switch': config.switch, **{stage: workdir / name for stage, name in names.items()}}
    planned = plan({stage: with_data(config[names[stage]], config.data) for stage in stages}, folders)
    run_all(planned, folders)


def run_variant(configs: Mapping[str, ConfigDict], variant: str, folders: Mapping[str, pathlib.Path], out: pathlib.Path) -> None:
    """Runs the stages that are made anew for a variant, see `table.plan_variant`."""
    run_all(*plan_variant(configs, variant, folders, out))


def run_all(configs: Mapping[str, ConfigDict], folders: Mapping[str, str | os.PathLike]) -> None:
    """Runs stages, given their configs and folders by stage; each skips what is done."""
    for stage, config in configs.items():
        STAGES[stage].run(config, pathlib.Path(folders[stage]))


def check(config: ConfigDict) -> None:
    """Checks the fields of a pipeline's config that no stage checks.

    All kinds of pseudo-fixations have to be made, as the students of STANet+ learn from the last.

    Raises:
        InputError: a field has a value that is not allowed; the message names the field.
    """
    require('pseudo_gt.stages', tuple(config.pseudo_gt.stages), set(config.pseudo_gt.stages) == set(PSEUDO_GT),
            f'the pipeline makes {", ".join(PSEUDO_GT)}; for some of them take `distill` with configs/pseudo_gt.py')
    require('variants', tuple(config.variants), set(config.variants) <= set(VARIANTS), f'must name some of {", ".join(VARIANTS)}')
    synthave.check(synthave.Settings(**config.world))


def make_world(config: ConfigDict) -> None:
    """Generates SynthAVE with the settings `config.world`, unless it exists; InputError where it was generated with other settings."""
    root = pathlib.Path(config.data.root)
    if config.data.name != 'synthave' or jax.process_index() > 0:
        return
    if not root.exists():
        synthave.generate(root, synthave.Settings(**config.world))
    made = json.loads((root / 'settings.json').read_text())
    other = [f'{field} is {made[field]!r}' for field, value in config.world.items() if made[field] != value]
    if other:
        raise InputError(f'{root}: not the SynthAVE of config.world ({", ".join(other)}); give another --config.data.root')


def once(workdir: pathlib.Path, name: str, stage: Callable[[], None]) -> None:
    """Runs a stage unless it is listed in `stages.json` and its folder exists; then lists it there with its duration in seconds."""
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


def score(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Scores every kind of map on the test split under the protocol `stavis` and writes `scores/scores.json` and a CSV file."""
    if jax.process_index():
        return
    rules = protocols.PROTOCOLS['stavis']
    name, videos, missing = fixations.open_set(config.data.root, '')
    folders = {f'selective, {kind}': workdir / 'pseudo_gt' / kind for kind in ('coarse', 'fine')}
    for variant in config.variants:
        folders |= variant_folders(variant, workdir / 'variants' / variant)
    folders['SCAM+'] = workdir / 'pseudo_gt' / 'plus'
    maps = open_map_folders({row: folder / 'test' for row, folder in folders.items()}, videos)
    rows = scoring.score_all(maps.maps_of_video, maps.videos, rules, 'pseudo-fixations')
    for student_and_sound, row in score_students(predictor.Predictor(workdir / 'sta_plus'), videos, rules).items():
        student, _, sound = student_and_sound.partition(', ')
        rows[STUDENT_ROWS[student] + (f', {sound}' if sound else '')] = row
    (workdir / 'scores').mkdir(exist_ok=True)
    evaluate.publish_scores(workdir / 'scores' / 'scores.json', 'stavis', config.data.root, name, videos, str(workdir),
                            missing + maps.mismatched, rows)


def keep_compiled(folder: str | os.PathLike) -> None:
    """Keeps compiled programs in a folder, as many nets share their shapes; JAX_COMPILATION_CACHE_DIR has precedence where it is set."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update('jax_compilation_cache_dir', str(pathlib.Path(folder).absolute()))
