"""The variants of TPAMI Tables 1 to 5: other ways to make pseudo-fixations, out of the same stages, each with a student of its own."""
import functools
import operator
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from stanet_jax.models.classifiers import PLUS_NETS
from stanet_jax.models.fusion import SA_FUSIONS
from stanet_jax.pipeline.table import plan


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


def _reasoning(name: str, fields: Mapping[str, Any], line: int = 0) -> Variant:
    """SCAM', line 24, by eight nets that reason otherwise."""
    return Variant(line, f"SCAM', {name}", {'pseudo_gt/plus_nets': fields, 'pseudo_gt/plus': {'sources': ()}})


def _hearing(fusion: str) -> Variant:
    """SCAM', line 24, by nets that take in sound otherwise: SA, from which SA+ begin, and these."""
    of = {'sa_fuse': fusion}
    return Variant(0, f"SCAM', sound by {fusion}", {'coarse': of, 'pseudo_gt/plus_nets': of, 'pseudo_gt/plus': {'sources': ()}},
                   shared={'coarse': ('A', 'S', 'ST'), 'pseudo_gt/plus_nets': VISUAL_PLUS})


def _one_classifier(config: ConfigDict, beside: tuple[str, ...] = ()) -> ConfigDict:
    """The config of S, SA and ST, coarse or fine -> that of one classifier of all three sources, STA, and of the nets `beside` it.

    STA begins as SA does and is trained as ST is.
    """
    begins = config.start_from.get('SA', {})
    if isinstance(begins, str):  # from the coarse net of the same name
        config.start_from.STA = f'{begins.removesuffix("SA")}STA'
    else:
        config.start_from.STA = {part: of for part, of in begins.items() if part != 'classifier'}
    config.nets = (*(net for net in beside if net in config.nets), 'STA')
    for field in ('epochs', 'optimizer', 'learning_rate', 'new_multiplier'):
        config[field] = {**config[field], 'STA': config[field].ST}
    return config


OPEN = {'switch': ''}  # an ear that is always open
# Those of the paper's Fig. 13, which its text does not describe, see `models/blenders.py`; how many heads C and D have is not told.
TRANSFORMERS: dict[str, dict[str, Any]] = {
    'A': {'blocks': 3, 'heads': 1, 'sees': 'others'}, 'B': {'blocks': 3, 'heads': 1}, 'C': {'blocks': 3, 'heads': 4, 'sees': 'others'},
    'D': {'blocks': 3, 'heads': 4}, **{f'B{blocks}': {'blocks': blocks, 'heads': 1} for blocks in (2, 4, 5)}}
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
    'no_refine': _reasoning('no FRL', {'blender.refine': False}, line=21),
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
        'coarse': functools.partial(_one_classifier, beside=('A', 'S')),
        'pseudo_gt/coarse': {'sources': ('STA',), 'fusion': 'average'}}, shared={'coarse': ('A', 'S')}),
    'fine_STA': Variant(0, 'CAM of STA, fine', {
        'pseudo_gt/fine_nets': _one_classifier, 'pseudo_gt/fine': {'sources': ('STA',), 'fusion': 'average'}}, after='coarse_STA'),
    # Table 3: how SA takes in sound; SA fuse, `gate`, is line 24.
    **{f'sound_{name}': _hearing(name) for name in SA_FUSIONS if name != 'gate'},
    # Table 4: the thresholds of FRL; Td 0.8 and Tr 0.6 are line 24, without it line 21.
    **{f'refine_{td}_{tr}': _reasoning(f'Td {td}, Tr {tr}', {'blender.threshold': td, 'blender.rate': tr})
       for td, tr in ((0.8, 0.4), (0.8, 0.8), (0.9, 0.6), (0.7, 0.6))},
    # Table 5: steps of reasoning and other fragments, of which 3 and 2 are line 24, and other nets in C-GCN's place.
    'no_reasoning': _reasoning('no reasoning', {'blender': {'name': 'concatenate'}}),
    **{f'm{steps}': _reasoning(f'm = {steps}', {'blender.steps': steps}) for steps in (2, 4, 5)},
    **{f'n{count}': _reasoning(f'n = {count}', {'fragments': count}) for count in (1, 3, 4)},
    **{name: _reasoning(f'by {name.upper()}', {'blender': {'name': name}}) for name in ('rnn', 'gru')},
    **{f'transformer_{name}': _reasoning(f'by Transformer {name}', {'blender': {'name': 'transformer', **fields}})
       for name, fields in TRANSFORMERS.items()},
    # Maps in which nothing is cut, as in the papers, of stages that cut them, and the reverse.
    'coarse_cut': Variant(0, 'SCAM, coarse, with the cut', {'pseudo_gt/coarse': {'cut': 3.0}}),
    'fine_uncut': Variant(0, 'SCAM, fine, without the cut', {'pseudo_gt/fine': {'cut': 0.0}}),
    'S_short_uncut': _plus(0, 'CAM of S+ short, without the cut', plus_sources=('S_short',), fusion='average', cut=0.0),
    'plus_uncut': Variant(0, 'SCAM+, without the cut', {'pseudo_gt/plus': {'cut': 0.0}})}


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


def plan_variant(configs: Mapping[str, ConfigDict], variant: str, folders: Mapping[str, pathlib.Path],
                 every: int = 1) -> dict[str, ConfigDict]:
    """The configs, by stage, of what is made anew for a variant.

    Args:
        configs: of the pipeline's stages.
        variant: a key of `VARIANTS`.
        folders: the variant's, see `variant_folders`.
        every: of the student that learns from the variant's maps; it alone reads fine ones and those of SCAM+, which are then made of
            each n-th clip of a tag. Coarse ones give boxes, too, and are made of all.
    """
    changed = {}
    for stage, of in VARIANTS[variant].stages.items():
        changed[stage] = configs[stage].copy_and_resolve_references()
        if callable(of):
            changed[stage] = of(changed[stage])
            continue
        for field, value in of.items():
            place, _, name = field.rpartition('.')
            (operator.attrgetter(place)(changed[stage]) if place else changed[stage])[name] = value
    for stage in changed.keys() & {'pseudo_gt/fine', 'pseudo_gt/plus'}:
        changed[stage].every = every
    return plan(changed, folders)
