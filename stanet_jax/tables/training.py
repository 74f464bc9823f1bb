"""Trains what the rows of a table lack: the pipeline, lines of TPAMI Tables 1 to 5, EPS and DeepLab."""
import pathlib

from ml_collections import ConfigDict

from stanet_jax.configs import deeplab, eps, stanet
from stanet_jax.data import synthvoc
from stanet_jax.eps import masks
from stanet_jax.eps import training as eps_training
from stanet_jax.inference import CLASS_MAPS
from stanet_jax.pipeline import run
from stanet_jax.pipeline.table import stage_configs, stage_folders
from stanet_jax.tables import segmentation
from stanet_jax.tables.paper import Line, Masks, Method, Student, Table
from stanet_jax.tables.place import Place
from stanet_jax.workdir import read_config


def train(table: Table, place: Place) -> None:
    """Trains whatever is not there of what a table's rows need; what is done is left, what was interrupted goes on."""
    wanted = [row.ours for row in table.rows]
    if any(isinstance(ours, Student | Line) or isinstance(ours, Method) and ours.name in CLASS_MAPS for ours in wanted):
        _train_pipeline(place)
    for variant in dict.fromkeys(ours.variant for ours in wanted if isinstance(ours, Line)):
        config = read_config(place.run)
        run.run_variant(stage_configs(config), variant, stage_folders(place.run), config.judge, place.run)
    for ours in wanted:
        if isinstance(ours, Masks) and segmentation.folder_of(ours, place) is None:
            _train_masks(ours, place)


def _train_pipeline(place: Place) -> None:
    """Runs the pipeline in the run's folder: as it began, or by the embedded default on the data."""
    config = read_config(place.run) if (place.run / 'config.json').exists() else stanet.get_config()
    if not (place.run / 'config.json').exists() and (not place.data.exists() or (place.data / 'settings.json').exists()):
        config.data.root = str(place.data)  # SynthAVE, or a folder that becomes it; others are to score on
    run.run(config, place.run)


def _train_masks(ours: Masks, place: Place) -> None:
    """Trains EPS or DeepLab and makes its masks: as its run began, or by its recipe; on SynthVOC, by the embedded default."""
    recipe = segmentation.recipe_of(ours, place.data)
    if not recipe:
        return  # of VOC or COCO alone
    if not place.data.exists():
        synthvoc.generate(place.data)
    folder, name = place.run / ours.net, recipe.partition(':')[2] or 'synthvoc'
    if (folder / 'config.json').exists():
        _run(read_config(folder), folder, segmentation.SPLITS[ours.split][0])
        return
    if recipe.startswith('deeplab'):
        if not _masks_to_learn(place).is_dir():
            _train_masks(Masks('adaptive', 'train', {}, 'eps:coco' if name == 'coco' else 'eps:voc12'), place)
        config = deeplab.get_config(name)
        config.pseudo_masks = str(_masks_to_learn(place))
    else:
        config = eps.get_config(name)
        config.selection = ours.net
        if ours.net == 'predefined':
            config.background_classes = segmentation.background_classes(place.data)
    config.data.root = str(place.data)
    _run(config, folder, segmentation.SPLITS[ours.split][0])


def _masks_to_learn(place: Place) -> pathlib.Path:
    """The folder of EPS's masks of what it was trained on."""
    found = [place.run / 'adaptive' / 'masks' / name for name in ('train_aug', 'train')]
    return next((folder for folder in found if folder.is_dir()), found[-1])


def _run(config: ConfigDict, folder: pathlib.Path, split: str) -> None:
    eps_training.train(config, folder)
    if config.task == 'eps':
        masks.run(config, folder)
        return
    splits = eps_training.open_images(config)
    if split not in splits:  # as VOC's test part, whose masks are not published
        return
    model, variables = eps_training.trained(config, folder, len(splits[split].categories))
    masks.write_labels(config, model, variables, splits[split], folder / 'masks' / split)
