"""The stages in their order and what each reads; the variants that are compared, which are tables of the same stages.

A stage is named by its folder in the pipeline's, which is also where its config is in the pipeline's (`config.pseudo_gt.coarse`). To make
it by itself: `train.py` or `distill.py` with that config.
"""
import dataclasses
import operator
import pathlib
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.models.branch import parse_net
from stanet_jax.models.classifiers import PLUS_NETS
from stanet_jax.stages import audio_switch, classifiers, maps, students


@dataclasses.dataclass(frozen=True)
class Stage:
    """A box of docs/flow.svg.

    Attributes:
        run: `(config, workdir)`, makes the stage's folder of those that it reads, unless that is done.
        reads: {field of its config: stage whose folder stands there}; in `start_from` stand folders of single nets of that stage.
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


def maps_to_score(*names, **fields):
    """{stage: fields} of kinds of maps of the test part."""
    return {f'pseudo_gt/{name}': {'splits': ('test',), **fields} for name in names}


def of_granularity(name):
    """The nets of SCAM+ that see the fragments of one granularity."""
    return tuple(net for net in PLUS_NETS if parse_net(net).granularity == name)


# What else the pseudo-fixations may be made of: {variant: {stage that is made anew: fields that differ}}. The rest is the pipeline's.
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


def variant_folders(variant, folder):
    """{name of a row of scores: folder of maps} of a variant that is made in `folder`."""
    kinds = [pathlib.Path(stage).name for stage in VARIANTS[variant] if STAGES[stage].run is maps.run]
    return {ROW_NAMES[variant] if kind == 'plus' else f'{ROW_NAMES[variant]}, {kind}': folder / kind for kind in kinds}


# ------------------------------------------------------------------------------------------------------------------- configs


def stage_configs(config):
    """{stage: its config} out of a pipeline's, each with the pipeline's data and seed."""
    configs = {stage: with_data(operator.attrgetter(stage.replace('/', '.'))(config), config.data) for stage in STAGES}
    for of in configs.values():
        if 'seed' in of:
            of.seed = config.seed
    return configs


def with_data(config, data):
    """The config of a stage with those fields of `data` that it has, too."""
    config = config.copy_and_resolve_references()
    config.data.update({field: value for field, value in data.items() if field in config.data})
    return config


def read_from(config, stage, folders):
    """The config of a stage with the folders {stage: folder} of those that it reads; a field that is empty stays so."""
    config = config.copy_and_resolve_references()
    for field, read in STAGES[stage].reads.items():
        if field == 'start_from':
            config.start_from = nets_of(config.start_from, folders[read])
        elif config[field]:
            config[field] = str(folders[read])
    return config


def nets_of(start_from, folder):
    """`start_from`, {net: a net's folder or {part: a net's folder}}, with the nets of the same names in another run's folder."""
    def moved(place):
        return f'{folder}/{pathlib.Path(place).name}'
    return {net: moved(of) if isinstance(of, str) else {part: moved(place) for part, place in of.items()} for net, of in start_from.items()}


def plan(configs, folders):
    """{stage: its config} as it is to be run: with the folders that it reads.

    Raises:
        InputError: a folder that a stage reads is not there, and no stage before makes it.
    """
    planned = {}
    for stage, config in configs.items():
        for read in STAGES[stage].reads.values():
            if read not in planned and not pathlib.Path(folders[read]).exists():
                raise InputError(f'{folders[read]}: no such folder; {stage} reads it, so make {read} first')
        planned[stage] = read_from(config, stage, folders)
    return planned


def plan_variant(configs, variant, folders, out):
    """What a variant makes anew in `out`: ({stage: its config}, {stage: its folder}); what it reads beside is in `folders`."""
    made = {stage: out / pathlib.Path(stage).name for stage in VARIANTS[variant]}
    planned = plan({stage: configs[stage] for stage in made}, {**folders, **made})
    for stage, fields in VARIANTS[variant].items():
        planned[stage].update_from_flattened_dict(fields)
    return planned, made
