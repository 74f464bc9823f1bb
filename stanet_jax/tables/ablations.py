"""Trains and scores the variants of configs/ablations (TPAMI Tables 2 to 6), given a finished run of the pipeline."""
import json
import pathlib

from ml_collections import ConfigDict

from stanet_jax.configs.ablations import begin_from, cam_sta, fusions, reasoning, refine, sa_fuse
from stanet_jax.evaluation import fixations, protocols, scoring
from stanet_jax.evaluation.map_sources import open_map_folders, student_maps
from stanet_jax.evaluation.results import SetResults, SetScores
from stanet_jax.evaluation.tables import write_scores
from stanet_jax.inference import predictor
from stanet_jax.pipeline.run import once
from stanet_jax.pipeline.table import STAGES
from stanet_jax.workdir import open_workdir, read_config

TABLES = {2: cam_sta, 3: sa_fuse, 4: refine, 5: reasoning, 6: fusions}


def settings(table: int, variant: str, base: pathlib.Path) -> tuple[ConfigDict, bool]:
    """The config of a variant, that of the base run's stage with the variant's changes; and whether the base run has trained the same."""
    module = TABLES[table]
    config, given = (read_config(base / module.STAGE) for _ in range(2))
    module.vary(config, variant)
    if module.STAGE == 'coarse':
        begin_from(config, base / 'coarse')
    differs = [field for field in given if field not in ('nets', 'start_from') and config[field] != given[field]]
    return config, set(config.nets) <= set(given.nets) and not differs


def folder_of(table: int, variant: str, workdir: pathlib.Path) -> pathlib.Path:
    """The folder of a variant's run."""
    return workdir / TABLES[table].__name__.rpartition('.')[2] / variant


def run(table: int, variant: str, base: pathlib.Path, workdir: pathlib.Path) -> None:
    """Trains and scores a variant, unless the base run has done so or it is done."""
    (config, known), folder = settings(table, variant, base), folder_of(table, variant, workdir)
    if known and config.task == 'student':
        return
    if not known:
        open_workdir(config, folder)

    def stage():
        if not known:
            STAGES[TABLES[table].STAGE].run(config, folder)
        score(config, base / TABLES[table].STAGE if known else folder, folder, base)
    once(workdir, str(folder.relative_to(workdir)), stage)


def score(config: ConfigDict, nets: pathlib.Path, folder: pathlib.Path, base: pathlib.Path) -> None:
    """Scores students, or classifiers' class activation maps, on the test split under the protocol `stavis`; writes `scores.json`.

    Args:
        config: of the variant; its `nets`, `task` and `data` are read.
        nets: folder of the run of these nets.
        folder: where `scores.json` is written.
        base: folder of the pipeline's run, whose settings the maps are made with.
    """
    rules = protocols.PROTOCOLS['stavis']
    rows: dict[str, SetScores] = {}
    name, videos, mismatched = fixations.open_set(config.data.root, '')
    for net in config.nets:
        if config.task == 'student':
            maps = student_maps(predictor.Predictor(nets / net), videos)
            rows |= scoring.score_all(maps, videos, rules, net)
            continue
        how = read_config(base / 'pseudo_gt' / 'coarse')
        how.update({'nets': str(nets), 'sources': [net], 'fusion': 'average', 'splits': ['test']})
        STAGES['pseudo_gt/coarse'].run(how, folder / 'cam')
        of_net = open_map_folders({net: folder / 'cam' / 'test'}, videos)
        rows |= scoring.score_all(of_net.maps_of_video, of_net.videos, rules, net)
        mismatched = mismatched + of_net.mismatched
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder / 'scores.json', SetResults('stavis', name, str(config.data.root), str(nets), mismatched, rows))


def seconds_of(workdir: pathlib.Path) -> dict[str, float]:
    """The seconds that each finished stage or variant of a run took, by its folder."""
    path = workdir / 'stages.json'
    return json.loads(path.read_text()) if path.exists() else {}
