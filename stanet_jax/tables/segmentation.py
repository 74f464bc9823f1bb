"""Scores of EPS's pseudo-masks and of DeepLab's masks, of a run with a folder for each selection, as `benchmarks.eps` makes.

    <run>/none, naive, predefined, adaptive    runs of EPS, with masks
    <run>/adaptive/deeplab                     of DeepLab on SynthVOC; <run>/deeplab_v1_vgg16 and so on, of the paper's on VOC
"""
import functools
import os
import pathlib

from stanet_jax import InputError
from stanet_jax.data import synthave, voc
from stanet_jax.eps.scores import score_masks
from stanet_jax.tables import scores
from stanet_jax.tables.paper import Masks
from stanet_jax.tables.place import Place, state_of
from stanet_jax.tables.scores import Found

BACKGROUND = ('chair', 'dining table', 'sofa')  # the paper's examples, of VOC
OF_RECIPES = {'deeplab': 'data/synthvoc', 'deeplab:coco': 'COCO2014'}  # sets that these are of; the others are of VOC2012
SPLITS = {'train': ('train', 'train_aug'), 'val': ('validation',), 'test': ('test',)}  # whose folders of masks hold those of a split


def folder_of(ours: Masks, place: Place) -> pathlib.Path | None:
    """The folder of a net's masks of a split; None where there is none."""
    folders = (place.run / ours.net / 'masks' / name for name in SPLITS[ours.split])
    return next((folder for folder in folders if folder.is_dir()), None)


def find(ours: Masks, place: Place) -> Found | None:
    """The scores of masks that are kept in the workdir; None where there are none."""
    folder = folder_of(ours, place)
    kept = scores.read_kept(_file(ours, place), _identity(folder, place)) if folder else None
    if kept is None:
        return None
    whole = kept['rows']
    found = {column: _value(whole, path) for column, path in ours.values.items()}
    return Found(found, 0.0, whole['images'], whole['images'], f'{ours.net} {ours.split}', kept['seconds'])


def _value(tree, path):
    """The number at a path of keys, None where there is none; in per cent, as the paper has them, but for ratios."""
    for part in path:
        tree = tree.get(part) if tree else None
    return tree if tree is None or path[0] == 'confusion' else 100 * tree


def score(ours: Masks, place: Place) -> None:
    """Compares the masks of a net with the true ones and keeps the scores, unless they are there; InputError as `score_masks`."""
    folder = folder_of(ours, place)
    assert folder is not None
    scores.once(_file(ours, place), _identity(folder, place), functools.partial(_compare, ours, place, folder))


def _compare(ours, place, folder):
    builder = voc.prepare(place.data)
    split = SPLITS[ours.split][0]
    if split not in builder.info.metadata['splits']:
        raise InputError(f'{place.data}: has no list of ids for {split}; it holds {", ".join(builder.info.metadata["splits"])}')
    context, boundaries = (path if os.path.isdir(path) else '' for path in (f'{place.data}/Context', f'{place.data}/SBD/cls'))
    print(f'comparing {folder} with the masks of {split}', flush=True)
    return score_masks(voc.Images(builder, split), folder, context, boundaries).to_dict()


def _file(ours, place):
    return place.workdir / 'eps' / f'{ours.net.replace("/", "_")}_{ours.split}.json'


def _identity(folder, place):
    return {'data': os.path.realpath(place.data), 'masks': folder.name, 'of': list(state_of(folder.parent.parent))}


def of_synthvoc(data: pathlib.Path) -> bool:
    """Whether a set is SynthVOC, by the names of its classes; one that is not there yet becomes it."""
    return not data.exists() or voc.class_names(data)[:1] == [synthave.category_name(0)]


def background_classes(data: pathlib.Path) -> tuple[str, ...]:
    """What EPS with `predefined` counts as background: the paper's examples of VOC, or what SynthVOC's saliency mostly misses."""
    if not of_synthvoc(data):
        return BACKGROUND
    made = [synthave.category_name(k) for k in range(synthave.Settings().categories)]
    return tuple((voc.class_names(data) if data.exists() else made)[-2:])


def recipe_of(ours: Masks, data: pathlib.Path) -> str:
    """The config that trains a net on a set, as `eps:voc12`: on SynthVOC the embedded default; '' where it is of another set alone."""
    if not of_synthvoc(data):
        return ours.config if ours.config != 'deeplab' else ''
    return ours.config.partition(':')[0] if ours.config in ('eps:voc12', 'deeplab') else ''


def command(ours: Masks, place: Place) -> str:
    """What trains a net and makes its masks."""
    config, data = recipe_of(ours, place.data), place.data
    if not config:
        config, data = ours.config, pathlib.Path(OF_RECIPES.get(ours.config, 'VOC2012'))
    run, recipe = place.run / ours.net, f'--config={config} --config.data.root={data}'
    if ours.config.startswith('deeplab'):
        split = 'train_aug' if ours.config.partition(':')[2] not in ('', 'coco') else 'train'
        return f'stanet distill {recipe} --config.pseudo_masks={place.run}/adaptive/masks/{split} --workdir={run}'
    if ours.net == 'predefined':
        recipe += f' --config.background_classes="{background_classes(data)}"'
    return (f'stanet train {recipe} --config.selection={ours.net} --workdir={run}; '
            f'stanet distill {recipe} --config.selection={ours.net} --workdir={run}')
