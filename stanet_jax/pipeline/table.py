"""The stages in their order and what each reads.

The name of a stage is that of its folder in a run of the pipeline and of its config in the pipeline's (`config.pseudo_gt.coarse`). `train`
and `distill` make a stage by itself.
"""
import dataclasses
import operator
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.stages import audio_switch, classifiers, maps, students


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of the pipeline, a box of docs/flow.svg.

    Attributes:
        run: `(config, workdir)` makes the stage's folder from the folders that it reads, or what is missing of it.
        reads: {field of its config: stage whose folder this field holds}; the field `start_from` holds folders of single nets of it.
        folder: where it is, if not in a folder of its name: the first nets of the coarse stage are among its others.
    """
    run: Callable[[ConfigDict, pathlib.Path], None]
    reads: Mapping[str, str] = dataclasses.field(default_factory=dict)
    folder: str = ''


SWITCHED = {'switch': 'switch'}
STAGES = {
    'unimodal': Stage(classifiers.run_unimodal, SWITCHED, folder='coarse'),
    'switch': Stage(audio_switch.run, {'start_from': 'unimodal'}),
    'coarse': Stage(classifiers.run, SWITCHED),
    'pseudo_gt/coarse': Stage(maps.run, {'nets': 'coarse', **SWITCHED}),
    'pseudo_gt/fine_nets': Stage(classifiers.run, {'start_from': 'coarse', 'boxes': 'pseudo_gt/coarse', **SWITCHED}),
    'pseudo_gt/plus_nets': Stage(classifiers.run, {'start_from': 'coarse', **SWITCHED}),
    'pseudo_gt/fine': Stage(maps.run, {'nets': 'pseudo_gt/fine_nets', 'boxes': 'pseudo_gt/coarse', **SWITCHED}),
    'pseudo_gt/plus': Stage(maps.run, {'nets': 'pseudo_gt/fine_nets', 'plus_nets': 'pseudo_gt/plus_nets', 'boxes': 'pseudo_gt/coarse',
                                       **SWITCHED}),
    'sta': Stage(students.run, {'start_from': 'coarse', 'maps': 'pseudo_gt/fine', **SWITCHED}),
    'sta_plus': Stage(students.run, {'start_from': 'sta', 'maps': 'pseudo_gt/plus', **SWITCHED})}
# Which of them make the pseudo-fixations, by the names in `configs/pseudo_gt.py`; and those that only STANet+ has.
PSEUDO_GT = {'coarse': ('pseudo_gt/coarse',), 'fine': ('pseudo_gt/fine_nets', 'pseudo_gt/fine'),
             'plus': ('pseudo_gt/plus_nets', 'pseudo_gt/plus')}
STANET_PLUS = (*PSEUDO_GT['plus'], 'sta_plus')
STUDENT_ROWS = {'STA': 'STA', 'STA_short': 'STA+ short', 'STA_long': 'STA+ long', 'product': 'product fusion', 'max': 'maximum fusion',
                'final': 'final fusion'}


# ------------------------------------------------------------------------------------------------------------------- configs


def stage_configs(config: ConfigDict) -> dict[str, ConfigDict]:
    """The configs of the stages out of a pipeline's, each with the pipeline's data and seed; STANet alone where it makes no SCAM+."""
    names = {stage: STAGES[stage].folder or stage for stage in STAGES if 'plus' in config.pseudo_gt.stages or stage not in STANET_PLUS}
    return {stage: of_pipeline(operator.attrgetter(name.replace('/', '.'))(config), config) for stage, name in names.items()}


def of_pipeline(config: ConfigDict, pipeline: ConfigDict) -> ConfigDict:
    """A stage's config with the data and the seed of the pipeline's, or of another stage of it."""
    config = with_data(config, pipeline.data)
    if 'seed' in config:
        config.seed = pipeline.seed
    return config


def stage_folders(workdir: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders of the stages of a pipeline's run."""
    return {stage: workdir / (of.folder or stage) for stage, of in STAGES.items()}


def student_runs(config: ConfigDict, workdir: pathlib.Path) -> list[pathlib.Path]:
    """The runs of a pipeline's students, as `Predictor` takes them: of STANet+ the run of all three, or where it is without STA both."""
    folders = stage_folders(workdir)
    plus = config.sta_plus.nets if 'sta_plus' in config else ()
    return [folders[stage] for stage, taken in (('sta', 'STA' not in plus), ('sta_plus', bool(plus))) if taken]


def with_data(config: ConfigDict, data: ConfigDict) -> ConfigDict:
    """A stage's config with its `data` fields replaced by those of `data`, as far as it has them."""
    config = config.copy_and_resolve_references()
    config.data.update({field: value for field, value in data.items() if field in config.data})
    return config


def read_from(config: ConfigDict, stage: str, folders: Mapping[str, str | os.PathLike]) -> ConfigDict:
    """A stage's config with the folders {stage: folder} of the stages that it reads; a field that is empty stays empty."""
    config = config.copy_and_resolve_references()
    for field, read in STAGES[stage].reads.items():
        if field == 'start_from':
            config.start_from = nets_of(config.start_from, folders[read])
        elif config[field]:
            config[field] = str(folders[read])
    return config


def nets_of(start_from: ConfigDict, folder: str | os.PathLike) -> dict[str, Any]:
    """The field `start_from` with the nets of the same names in another run's folder.

    It is {net: folder of a trained net, or {part: folder of a trained net}}.
    """
    def moved(place):
        return f'{folder}/{pathlib.Path(place).name}'
    return {net: moved(given) if isinstance(given, str) else {part: moved(place) for part, place in given.items()}
            for net, given in start_from.items()}


def plan(configs: Mapping[str, ConfigDict], folders: Mapping[str, str | os.PathLike]) -> dict[str, ConfigDict]:
    """The configs {stage: config} as they are run: with the folders of the stages that each reads.

    Raises:
        InputError: a stage reads a folder that does not exist and that none of these stages makes.
    """
    planned = {}
    for stage, config in configs.items():
        for field, read in STAGES[stage].reads.items():
            if config[field] and read not in configs and not pathlib.Path(folders[read]).exists():
                raise InputError(f'{folders[read]}: no such folder; {stage} reads it, so make {read} first')
        planned[stage] = read_from(config, stage, folders)
    return planned
