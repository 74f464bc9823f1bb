"""The stages in their order and what each reads; and the variants of TPAMI Tables 1 and 2, which make some of the same stages anew.

The name of a stage is that of its folder in a run of the pipeline and of its config in the pipeline's (`config.pseudo_gt.coarse`). `train`
and `distill` make a stage by itself.
"""
import dataclasses
import operator
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.configs.ablations import cam_sta
from stanet_jax.models.classifiers import PLUS_NETS
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


# --------------------------------------------------------------------------------------------- lines of TPAMI Table 1, and others


class Variant(NamedTuple):
    """Another way to make pseudo-fixations, with a student of its own.

    Attributes:
        line: of TPAMI Table 1; 0 for what has none there.
        name: of its rows in tables of scores.
        stages: {stage that is made anew: fields of its config that differ, or what changes the config}, the last one of which makes the
            maps; none where the pipeline makes them itself, as `maps`.
        after: the variant that it goes on from: its stages replace the pipeline's.
        shared: {stage that is made anew: nets in it that are the pipeline's, as nothing that they learn from differs}.
        maps: the stage that makes the maps.
    """
    line: int
    name: str
    stages: Mapping[str, Mapping[str, Any] | Callable[[ConfigDict], ConfigDict]]
    after: str = ''
    shared: Mapping[str, tuple[str, ...]] = {}
    maps: str = ''


def _coarse(line: int, name: str, *sources: str) -> Variant:
    return Variant(line, f'{name}, coarse', {'pseudo_gt/coarse': {'sources': sources, 'fusion': 'average'}})


def _fine(line: int, name: str, after: str, *sources: str) -> Variant:
    return Variant(line, f'{name}, fine', {'pseudo_gt/fine_nets': {'nets': sources},
                                           'pseudo_gt/fine': {'sources': sources, 'fusion': 'average'}}, after)


def _plus(line: int, name: str, **fields: Any) -> Variant:
    return Variant(line, name, {'pseudo_gt/plus': {'sources': (), **fields}})


def _sta_beside(config: ConfigDict) -> ConfigDict:
    begins = tuple(net for net in ('A', 'S') if net in config.nets)  # from which, of the pipeline's
    config = cam_sta.vary(config)
    config.nets = (*begins, 'STA')
    return config


OPEN = {'switch': ''}  # an ear that is always open
ALL, VISUAL_PLUS = ('S', 'SA', 'ST'), tuple(net for net in PLUS_NETS if not net.startswith('SA'))
# Lines 13 to 20 are in the order of the marks in the paper's table; line 12 is as Sec. 6.2.5 has it.
TABLE1 = {
    'coarse_S': _coarse(1, 'CAM of S', 'S'),
    'coarse_SA': _coarse(2, 'CAM of SA', 'SA'),
    'coarse_ST': _coarse(3, 'CAM of ST', 'ST'),
    'coarse_average': _coarse(4, 'average', *ALL),
    'coarse': Variant(5, 'SCAM, coarse', {}, maps='pseudo_gt/coarse'),
    'fine_S': _fine(6, 'CAM of S', 'coarse_S', 'S'),
    'fine_SA': _fine(7, 'CAM of SA', 'coarse_SA', 'SA'),
    'fine_ST': _fine(8, 'CAM of ST', 'coarse_ST', 'ST'),
    'no_switch': Variant(9, 'SCAM, no switch, fine', {
        'coarse': OPEN, 'pseudo_gt/coarse': OPEN, 'pseudo_gt/fine_nets': OPEN, 'pseudo_gt/fine': OPEN},
        shared={'coarse': ('A', 'S', 'ST')}),
    'fine_average': _fine(10, 'average', 'coarse_average', *ALL),
    'fine': Variant(11, 'SCAM, fine', {}, maps='pseudo_gt/fine'),
    'refined_S': Variant(12, 'CAM of S with FRL, coarse', {
        'coarse': {'nets': ('S',), 'refine': True}, 'pseudo_gt/coarse': {'sources': ('S',), 'fusion': 'average'}}),
    **{net: _plus(13 + k, f'CAM of {net.replace("_", "+ ")}', plus_sources=(net,), fusion='average') for k, net in enumerate(PLUS_NETS)},
    'no_refine': Variant(21, "SCAM', no FRL", {'pseudo_gt/plus_nets': {'blender.refine': False}, 'pseudo_gt/plus': {'sources': ()}}),
    'plus_no_switch': Variant(22, "SCAM', no switch", {
        'pseudo_gt/plus_nets': OPEN, 'pseudo_gt/plus': {'sources': (), **OPEN}}, after='no_switch',
        shared={'pseudo_gt/plus_nets': VISUAL_PLUS}),
    'plus_average': _plus(23, "CAM'", fusion='average'),
    'no_sources': _plus(24, "SCAM'"),
    'plus': Variant(25, 'SCAM+', {}, maps='pseudo_gt/plus')}
VARIANTS = {
    **TABLE1,
    # Table 2: one classifier of all three sources in the place of S, SA and ST.
    'coarse_STA': Variant(0, 'CAM of STA, coarse', {
        'coarse': _sta_beside, 'pseudo_gt/coarse': {'sources': ('STA',), 'fusion': 'average'}}, shared={'coarse': ('A', 'S')}),
    'fine_STA': Variant(0, 'CAM of STA, fine', {
        'pseudo_gt/fine_nets': cam_sta.vary, 'pseudo_gt/fine': {'sources': ('STA',), 'fusion': 'average'}}, after='coarse_STA'),
    # Fine maps in which nothing is cut, as in the papers.
    'fine_uncut': Variant(0, 'SCAM, fine, without the cut', {'pseudo_gt/fine': {'cut': 0.0}})}


def maps_stage(variant: str) -> str:
    """The stage that makes the maps of a variant."""
    return VARIANTS[variant].maps or list(VARIANTS[variant].stages)[-1]


def variant_folders(variant: str, folders: Mapping[str, pathlib.Path], root: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders {stage: folder} of a variant: those of the pipeline, `folders`, but for the stages that are made anew.

    Args:
        variant: a key of `VARIANTS`.
        folders: of the pipeline's stages.
        root: folder of all variants.
    """
    of = VARIANTS[variant]
    given = variant_folders(of.after, folders, root) if of.after else folders
    return {**given, **{stage: root / variant / stage for stage in of.stages}}


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


def plan_variant(configs: Mapping[str, ConfigDict], variant: str, folders: Mapping[str, pathlib.Path]) -> dict[str, ConfigDict]:
    """The configs, by stage, of what is made anew for a variant, given the configs of the pipeline's stages and the variant's folders."""
    changed = {}
    for stage, of in VARIANTS[variant].stages.items():
        changed[stage] = configs[stage].copy_and_resolve_references()
        if callable(of):
            changed[stage] = of(changed[stage])
            continue
        for field, value in of.items():
            place, _, name = field.rpartition('.')
            (operator.attrgetter(place)(changed[stage]) if place else changed[stage])[name] = value
    return plan(changed, folders)
