"""EPS (Lee et al., CVPR 2021): tags and saliency teach a classifier, its maps make pseudo-masks, and these teach a segmentation net.

The first stage trains `EPS` (`losses.eps_saliency`), `masks.run` writes the pseudo-masks of the training images, and the second stage
trains `DeepLab` on these. Both nets are trained by `loop.train` and label images by `nets.predict_labels`.
"""
import functools
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.data import voc
from stanet_jax.eps.crf import UNARIES
from stanet_jax.eps.images import ImageExamples, mask_reader, open_images
from stanet_jax.eps.metrics import ious
from stanet_jax.eps.nets import SELECTIONS, make_loss_fn, make_net, predict_labels
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.stages.examples import device_batches
from stanet_jax.stages.nets import initial_variables
from stanet_jax.training import checkpoint, loop, sharding
from stanet_jax.training.checks import check_training, require
from stanet_jax.workdir import open_workdir, read_config

# ----------------------------------------------------------------------------------------------------------------- training


def check(config: ConfigDict) -> None:
    """Checks a config of EPS or DeepLab.

    Raises:
        InputError: a field is out of range; the message names it.
    """
    data = config.data
    require('nets', config.nets, len(config.nets) == 1, 'must name one net')
    check_training(config, ('EPS', 'DeepLab'))
    require('data.name', data.name, data.name in ('voc', 'synthvoc'), 'must be voc or synthvoc')
    require('data.split', data.split, data.split in voc.LISTS, f'must be one of {", ".join(voc.LISTS)}')
    require('data.long_side', data.long_side, len(data.long_side) == 2 and 0 < data.long_side[0] <= data.long_side[1], 'must be a range')
    require('masks.scales', config.masks.scales, config.masks.scales and min(config.masks.scales) > 0, 'must be numbers above 0')
    require('masks.crf', config.masks.crf, config.masks.crf in ('', *UNARIES), f'must be {", ".join(UNARIES)}, or empty for none')
    for field in ('canvas', 'batch'):
        require(f'masks.{field}', config.masks[field], config.masks[field] > 0, 'must be above 0')
    if config.nets[0] == 'EPS':
        require('selection', config.selection, config.selection in SELECTIONS, f'must be one of {", ".join(SELECTIONS)}')
        require('threshold', config.threshold, 0 <= config.threshold <= 1, 'must be in [0, 1]')
        require('mix', config.mix, 0 <= config.mix <= 1, 'must be in [0, 1]')
        require('masks.background', config.masks.background, 0 < config.masks.background < 1, 'must be between 0 and 1')
    else:
        require('rates', config.rates, config.rates and min(config.rates) > 0, 'must be numbers above 0')
        require('width', config.width, config.width >= 0, 'must be 0 or more')
        require('pseudo_masks', config.pseudo_masks, os.path.isdir(config.pseudo_masks),
             'no such folder; make them first: stanet distill --config=eps')


def train(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Trains the config's net in `workdir`; an interrupted training is resumed, and a net that is trained is kept."""
    check(config)
    folder, splits, (net,) = open_workdir(config, workdir), open_images(config), config.nets
    if config.data.split not in splits:
        raise InputError(f'config.data.split={config.data.split!r}: {config.data.root} holds images of {", ".join(splits) or "no list"}; '
                         f'the ids to train on are those of {voc.LISTS[config.data.split]}')
    images, mesh = splits[config.data.split], sharding.make_mesh()
    held_out = splits.get('validation') or splits.get('test')
    model = make_net(config, net, len(images.categories))
    target = mask_reader(config.pseudo_masks, images) if net == 'DeepLab' else None
    saliency = net == 'EPS' and config.selection != 'none'
    if saliency:
        images, missing = images.with_saliency()
        if missing and jax.process_index() == 0:
            print(f'{missing} images have no saliency map that can be read, and are left out of the training')
    examples = ImageExamples(images, config.data.side, tuple(config.data.long_side), saliency, target)
    example = {k: v[None] for k, v in examples.example(0).items()}
    evaluate = make_iou_evaluation(model, held_out, config, mesh) if held_out else lambda variables: {}
    loop.train(folder / net, net, config, mesh, examples=examples, evaluate=evaluate,
               initial=lambda: initial_variables(config, net, model, example, folder),
               loss_fn=make_loss_fn(config, net, model, images.categories))
    if held_out and jax.process_index() == 0:
        draw_labels(config, folder, model, held_out)


def make_iou_evaluation(model: nn.Module, images: voc.Images, config: ConfigDict,
                        mesh: jax.sharding.Mesh) -> Callable[[Variables], dict[str, float]]:
    """A function from the net's variables to `{'mean_iou': ...}` on the first `config.held_out` images that have a true mask.

    The images are labelled at one scale, set into the square of the training. Without any such images the dict is empty.
    """
    images = images.only([i for i, info in enumerate(images.images) if info['mask']][:config.held_out])
    if not images:
        return lambda variables: {}
    single = config.copy_and_resolve_references()
    single.masks.scales = (1.0,)
    examples, labels = ImageExamples(images, config.data.side, target=images.mask), len(images.categories) + 1

    @functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
    def tally(variables, batch):
        known = (batch['target'] != voc.IGNORED) & batch['mask'][:, None, None]
        predicted = predict_labels(variables, batch, model=model, config=single)
        return jnp.zeros((labels, labels), jnp.int32).at[jnp.where(known, batch['target'], 0), predicted].add(known)

    def evaluate(variables):
        tallies = (jax.device_get(tally(variables, batch)) for batch in device_batches(examples, config.batch, mesh))
        confusion = sum((of_batch.astype(np.int64) for of_batch in tallies), np.zeros((labels, labels), np.int64))
        return {'mean_iou': float(np.nanmean(ious(confusion)))}
    return evaluate


def draw_labels(config: ConfigDict, workdir: pathlib.Path, model: nn.Module, images: voc.Images, count: int = 12) -> None:
    """Draws the first `count` images, their true labels and those by the trained net into `labels.png` in the workdir."""
    examples = ImageExamples(images.only(range(min(count, len(images)))), config.data.side, target=images.mask)
    loaded = [examples.example(index) for index in range(len(examples))]
    batch = {k: np.stack([example[k] for example in loaded]) for k in loaded[0]}
    labels = jax.jit(functools.partial(predict_labels, model=model, config=config))(load(workdir, config), batch)
    rows = [(info['id'], [('image', frame), ('true', colours(true)), (config.nets[0], over(frame, label))])
            for info, frame, true, label in zip(images.images, batch['frames'], batch['target'], np.asarray(labels), strict=False)]
    contact_sheet(workdir / 'labels.png', rows)
    print(f'what the net says: {workdir / "labels.png"}')


def colours(labels: UInt8[np.ndarray, 'h w']) -> UInt8[np.ndarray, 'h w 3']:
    """Labels in VOC's colours."""
    return np.array(voc.palette(), np.uint8).reshape(256, 3)[labels]


def over(frame: UInt8[np.ndarray, 'h w 3'], labels: UInt8[np.ndarray, 'h w']) -> UInt8[np.ndarray, 'h w 3']:
    """An image under its labels in VOC's colours; the background shows the image alone."""
    return np.where(labels[..., None] > 0, (0.4 * frame + 0.6 * colours(labels)), frame).astype(np.uint8)


def run_config(workdir: str | os.PathLike) -> ConfigDict:
    """The config of a run of EPS or DeepLab; InputError for other runs."""
    config = read_config(workdir)
    if config.get('task') not in ('eps', 'deeplab'):
        raise InputError(f'{workdir}: a run of {config.get("task")!r}; give one of configs/eps.py or configs/deeplab.py')
    return config


class TrainedNet(NamedTuple):
    """A net and its trained variables."""
    model: nn.Module
    variables: Variables


def trained(config: ConfigDict, workdir: str | os.PathLike, classes: int) -> TrainedNet:
    """The net of the run of this config in `workdir`; `classes` are without the background."""
    variables = load(workdir, config)
    made = jax.tree.leaves(variables['params'].get('classifier', {}))
    if made and made[0].shape[-1] != classes + 1:
        raise InputError(f'{workdir}: a net of {made[0].shape[-1] - 1} classes, and the set has {classes}; give the set that it is for')
    return TrainedNet(make_net(config, config.nets[0], classes), variables)


def load(workdir: str | os.PathLike, config: ConfigDict) -> Variables:
    """The variables of the net of a run."""
    return checkpoint.load_variables(pathlib.Path(workdir) / config.nets[0] / 'variables')
