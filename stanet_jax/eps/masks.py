"""Writes the labels that EPS or DeepLab gives images; those of EPS for its training images are the pseudo-masks (EPS Sec. 3).

    <workdir>/masks/<split>/<id>.png     labels in VOC's colours, as large as the image
    <workdir>/masks/<split>/tags.jsonl   the tags that they are made with
"""
import functools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import PIL.Image
from jaxtyping import UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.data import voc
from stanet_jax.data.batches import iterate_in_order
from stanet_jax.eps import training
from stanet_jax.eps.images import ImageExamples, TaggedImages, open_images
from stanet_jax.eps.nets import predict_labels
from stanet_jax.eps.released import adopt
from stanet_jax.training import sharding
from stanet_jax.workdir import open_workdir, replace_text, write_missing


def iterate_canvases(images: TaggedImages, chosen: list[int], canvas: int, batch: int, workers: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of images that are set into the top left corner of a square.

    Args:
        images: of which those at `chosen` are read, in that order.
        canvas: side of the square, in pixels.
        batch: images in a batch; the last batch is filled up with its last image.
        workers: processes that read; 0 reads in threads.
    Returns:
        Dicts of `frames` uint8 [b, canvas, canvas, 3], `tags` float32 [b, c] and `valid` bool [b, canvas, canvas], False outside the image.
    """
    return iterate_in_order(functools.partial(_on_canvas, ImageExamples(images, canvas)), chosen, batch, workers)


def _on_canvas(examples, index):
    example, (h, w) = examples.example(index), shape_on_canvas(examples.side, examples.images.images[index])
    valid = np.arange(examples.side)[:, None] < h
    return {'frames': example['frames'], 'tags': example['tags'], 'valid': valid & (np.arange(examples.side) < w)}


def save_labels(labels: UInt8[np.ndarray, 'h w'], info: Mapping[str, Any], path: pathlib.Path,
                image: PIL.Image.Image | None = None) -> None:
    """Writes labels as a PNG in VOC's colours, as large as the image.

    Args:
        labels: in the size at which the net gives them.
        info: with the image's `width` and `height`.
        path: file to write.
        image: by which `crf` refines the labels; None leaves them.
    """
    resized = voc.label_image(labels).resize((info['width'], info['height']), PIL.Image.Resampling.NEAREST)
    (voc.label_image(crf(np.array(image), np.array(resized))) if image else resized).save(path, 'PNG')


def crf(image: UInt8[np.ndarray, 'h w 3'], labels: UInt8[np.ndarray, 'h w'], sure: float = 0.7,
        steps: int = 10) -> UInt8[np.ndarray, 'h w']:
    """Labels that a fully connected conditional random field infers from labels and image (Kraehenbuehl and Koltun, NIPS 2011).

    Args:
        image: in RGB.
        labels: to refine.
        sure: probability of the given labels.
        steps: of mean-field inference.
    Raises:
        InputError: pydensecrf2 is not installed.
    """
    try:
        from pydensecrf import densecrf, utils
    except ImportError:
        raise InputError("config.masks.crf=True: needs pydensecrf2; pip install 'stanet_jax[crf]'") from None
    present, places = np.unique(labels, return_inverse=True)
    if len(present) == 1:
        return labels
    h, w = labels.shape
    field = densecrf.DenseCRF2D(w, h, len(present))
    field.setUnaryEnergy(utils.unary_from_labels(places.ravel().astype(np.int32), len(present), sure, zero_unsure=False))
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.ascontiguousarray(image), compat=10)
    return present[np.argmax(field.inference(steps), axis=0)].reshape(h, w).astype(np.uint8)


def write_labels(config: ConfigDict, model: nn.Module, variables: Variables, images: voc.Images, out: pathlib.Path) -> None:
    """Writes the labels of every image that a net gives as `<out>/<id>.png`, but for those that are there already.

    With `config.masks.crf` they are refined by `crf`.
    """
    names = [f'{info["id"]}.png' for info in images.images]

    def make(missing):
        for index, labels in iterate_labels(config, model, variables, images, missing):
            image = images.image(index) if config.masks.crf else None
            yield index, functools.partial(save_labels, labels, images.images[index], image=image)

    write_missing(out, names, [1] * len(images), make, 'image')


def iterate_labels(config: ConfigDict, model: nn.Module, variables: Variables, images: TaggedImages,
                   chosen: list[int]) -> Iterator[tuple[int, UInt8[np.ndarray, 'h w']]]:
    """Yields (index, labels) of the chosen images, as large as they are on the canvas, predicted on all devices of this process."""
    predict = sharding.on_local_devices(functools.partial(predict_labels, model=model, config=config), variables)
    canvas, batch = config.masks.canvas, config.masks.batch * jax.local_device_count()
    pending = iter(chosen)
    for canvases in iterate_canvases(images, chosen, canvas, batch, config.data.workers) if chosen else ():
        for labels, index in zip(jax.device_get(predict(canvases)), pending, strict=False):  # the last batch is filled up
            h, w = shape_on_canvas(canvas, images.images[index])
            yield index, labels[:h, :w]


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Writes the masks of the splits `config.masks.splits` by the net of the run in `workdir`; masks that are there are kept."""
    config = adopt(config, workdir)
    training.check(config)
    folder, splits = open_workdir(config, workdir), open_images(config)
    for split in config.masks.splits:
        if split not in splits:
            raise InputError(f'config.masks.splits={config.masks.splits!r}: the set holds {", ".join(splits)}')
        images, out = splits[split], folder / 'masks' / split
        write_labels(config, *training.trained(config, folder, len(images.categories)), images, out)
        if jax.process_index() == 0:
            lines = (json.dumps({'id': info['id'], 'tags': info['tags']}) + '\n' for info in images.images)
            replace_text(out / 'tags.jsonl', ''.join(lines))
        print(f'{out}: masks of {len(images)} images')


def shape_on_canvas(canvas: int, info: Mapping[str, Any]) -> tuple[int, int]:
    """(h, w) of an image of `width` and `height` on a square canvas, where it keeps its size or is made to fit."""
    scale = min(1, canvas / max(info['height'], info['width']))
    return max(1, round(scale * info['height'])), max(1, round(scale * info['width']))
