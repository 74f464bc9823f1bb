"""The stages in their order and what each reads; and the variants that are compared, which are tables of some of the same stages.

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
from stanet_jax.models.branch import parse_net
from stanet_jax.models.classifiers import PLUS_NETS
from stanet_jax.stages import audio_switch, classifiers, maps, students


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of the pipeline, a box of docs/flow.svg.

    Attributes:
        run: `(config, workdir)` makes the stage's folder from the folders that it reads, or what is missing of it.
        reads: {field of its config: stage whose folder this field holds}; the field `start_from` holds folders of single nets of it.
    """
    run: Callable[[ConfigDict, pathlib.Path], None]
    reads: Mapping[str, str] = dataclasses.field(default_factory=dict)


SWITCHED = {'switch': 'switch'}
STAGES = {
    'coarse': Stage(classifiers.run),
    'switch': Stage(audio_switch.run, {'start_from': 'coarse'}),
    'pseudo_gt/coarse': Stage(maps.run, {'nets': 'coarse', **SWITCHED}),
    'pseudo_gt/fine_nets': Stage(classifiers.run, {'start_from': 'coarse', 'boxes': 'pseudo_gt/coarse', **SWITCHED}),
    'pseudo_gt/fine': Stage(maps.run, {'nets': 'pseudo_gt/fine_nets', 'boxes': 'pseudo_gt/coarse', **SWITCHED}),
    'pseudo_gt/plus_nets': Stage(classifiers.run, {'start_from': 'coarse', **SWITCHED}),
    'pseudo_gt/plus': Stage(maps.run, {'nets': 'pseudo_gt/fine_nets', 'plus_nets': 'pseudo_gt/plus_nets', 'boxes': 'pseudo_gt/coarse',
                                       **SWITCHED}),
    'sta': Stage(students.run, {'start_from': 'coarse', 'maps': 'pseudo_gt/fine', **SWITCHED}),
    'sta_plus': Stage(students.run, {'start_from': 'sta', 'maps': 'pseudo_gt/plus', **SWITCHED})}
# Which of them make the pseudo-fixations, by the names in `configs/pseudo_gt.py`.
PSEUDO_GT = {'coarse': ('pseudo_gt/coarse',), 'fine': ('pseudo_gt/fine_nets', 'pseudo_gt/fine'),
             'plus': ('pseudo_gt/plus_nets', 'pseudo_gt/plus')}


# --------------------------------------------------------------------------------------------------------- variants and rows


def maps_to_score(*names: str, **fields: Any) -> dict[str, dict[str, Any]]:
    """The stages that make some kinds of maps of the test split alone: {stage: fields of its config that differ}."""
    return {f'pseudo_gt/{name}': {'splits': ('test',), **fields} for name in names}


def of_granularity(name: str) -> tuple[str, ...]:
    """The nets of SCAM+ whose further fragments are of one granularity: 'short', 'long' or 'cross'."""
    return tuple(net for net in PLUS_NETS if parse_net(net).granularity == name)


# Other ways to make pseudo-fixations: {variant: {stage that is made anew: fields of its config that differ}}; the rest is the pipeline's.
VARIANTS = {
    'S': maps_to_score('coarse', 'fine', sources=('S',), fusion='average'),
    'average': maps_to_score('coarse', 'fine', fusion='average'),
    'no_switch': maps_to_score('coarse', 'fine', switch=''),
    **{name: maps_to_score('plus', sources=(), plus_sources=of_granularity(name)) for name in ('short', 'long', 'cross')},
    'no_sources': maps_to_score('plus', sources=()),
    'no_refine': {'pseudo_gt/plus_nets': {'nets': of_granularity('short'), 'blender.refine': False},
                  **maps_to_score('plus', sources=(), plus_sources=of_granularity('short'))}}
ROW_NAMES = {'S': 'CAM of S', 'average': 'average', 'no_switch': 'selective, no switch', 'short': 'short term alone',
             'long': 'long term alone', 'cross': 'cross term alone', 'no_sources': 'multi-granularity alone',
             'no_refine': 'short term alone, no FRL'}
STUDENT_ROWS = {'STA': 'STA', 'STA_short': 'STA+ short', 'STA_long': 'STA+ long', 'product': 'product fusion',
                'final': 'final fusion'}


def variant_folders(variant: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders of maps of a variant that is made in `folder`, by the names of their rows in the table of scores."""
    kinds = [pathlib.Path(stage).name for stage in VARIANTS[variant] if STAGES[stage].run is maps.run]
    return {ROW_NAMES[variant] if kind == 'plus' else f'{ROW_NAMES[variant]}, {kind}': folder / kind for kind in kinds}


# ------------------------------------------------------------------------------------------------------------------- configs


def stage_configs(config: ConfigDict) -> dict[str, ConfigDict]:
    """The configs of all stages out of a pipeline's, each with the pipeline's data and seed."""
    configs = {stage: with_data(operator.attrgetter(stage.replace('/', '.'))(config), config.data) for stage in STAGES}
    for of in configs.values():
        if 'seed' in of:
            of.seed = config.seed
    return configs


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
        InputError: a stage reads a folder that does not exist and that no stage before it makes.
    """
    planned = {}
    for stage, config in configs.items():
        for read in STAGES[stage].reads.values():
            if read not in planned and not pathlib.Path(folders[read]).exists():
                raise InputError(f'{folders[read]}: no such folder; {stage} reads it, so make {read} first')
        planned[stage] = read_from(config, stage, folders)
    return planned


def plan_variant(configs: Mapping[str, ConfigDict], variant: str, folders: Mapping[str, pathlib.Path],
                 out: pathlib.Path) -> tuple[dict[str, ConfigDict], dict[str, pathlib.Path]]:
    """What is made for a variant: the configs and the folders of its stages, by stage.

    Args:
        configs: of the pipeline's stages.
        variant: a key of `VARIANTS`.
        folders: of the pipeline's stages, which the variant reads.
        out: folder of the variant.
    """
    made = {stage: out / pathlib.Path(stage).name for stage in VARIANTS[variant]}
    planned = plan({stage: configs[stage] for stage in made}, {**folders, **made})
    for stage, fields in VARIANTS[variant].items():
        planned[stage].update_from_flattened_dict(fields)
    return planned, made
