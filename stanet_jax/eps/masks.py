"""Writes the labels that EPS or DeepLab gives images; those of EPS for its training images are the pseudo-masks (EPS Sec. 3).

    <workdir>/masks/<split>/<id>.png     labels in VOC's colours, as large as the image
    <workdir>/masks/<split>/tags.jsonl   the tags that they are made with
"""
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import PIL.Image
from jaxtyping import Float, Num, UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.data import voc
from stanet_jax.data.batches import iterate_in_order
from stanet_jax.eps import training
from stanet_jax.eps.crf import crf_of_labels, crf_of_scores
from stanet_jax.eps.images import ImageExamples, TaggedImages, open_images, scaled_size
from stanet_jax.eps.nets import predict_labels, predict_scores
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
        Dicts of what `ImageExamples.example` gives.
    """
    return iterate_in_order(ImageExamples(images, canvas).example, chosen, batch, workers)


def save_labels(labels: UInt8[np.ndarray, 'h w'], info: Mapping[str, Any], path: pathlib.Path,
                image: PIL.Image.Image | None = None) -> None:
    """Writes labels as a PNG in VOC's colours, as large as the image.

    Args:
        labels: in the size at which the net gives them.
        info: with the image's `width` and `height`.
        path: file to write.
        image: by which `crf.crf_of_labels` refines the labels; None leaves them.
    """
    resized = voc.label_image(labels).resize((info['width'], info['height']), PIL.Image.Resampling.NEAREST)
    (voc.label_image(crf_of_labels(np.array(image), np.array(resized))) if image else resized).save(path, 'PNG')


def save_refined(scores: Float[np.ndarray, 'h w k'], image: PIL.Image.Image, path: pathlib.Path) -> None:
    """Writes the labels of `crf.crf_of_scores` as a PNG in VOC's colours; `scores` in the size at which the net gives them."""
    planes = [np.asarray(PIL.Image.fromarray(np.float32(plane)).resize(image.size, PIL.Image.Resampling.BILINEAR))
              for plane in np.moveaxis(scores, -1, 0)]
    voc.label_image(crf_of_scores(np.array(image), np.stack(planes, axis=-1))).save(path, 'PNG')


def write_labels(config: ConfigDict, model: nn.Module, variables: Variables, images: voc.Images, out: pathlib.Path) -> None:
    """Writes the labels of every image that a net gives as `<out>/<id>.png`, but for those that are there already.

    `config.masks.crf` says whether and from what a conditional random field refines them, see `crf.UNARIES`.
    """
    names = [f'{info["id"]}.png' for info in images.images]

    def refined(missing):
        for index, scores in iterate_predictions(config, model, variables, images, missing, predict_scores):
            yield index, functools.partial(save_refined, scores, images.image(index))

    def plain(missing):
        for index, labels in iterate_labels(config, model, variables, images, missing):
            image = images.image(index) if config.masks.crf else None
            yield index, functools.partial(save_labels, labels, images.images[index], image=image)

    write_missing(out, names, [1] * len(images), refined if config.masks.crf == 'scores' else plain, 'image')


def iterate_labels(config: ConfigDict, model: nn.Module, variables: Variables, images: TaggedImages,
                   chosen: list[int]) -> Iterator[tuple[int, UInt8[np.ndarray, 'h w']]]:
    """Yields (index, labels) of the chosen images, as large as they are on the canvas, see `nets.predict_labels`."""
    yield from iterate_predictions(config, model, variables, images, chosen, predict_labels)


def iterate_predictions(config: ConfigDict, model: nn.Module, variables: Variables, images: TaggedImages, chosen: list[int],
                        predict: Callable[..., jax.Array]) -> Iterator[tuple[int, Num[np.ndarray, 'h w *k']]]:
    """Yields (index, what `nets.predict_labels` or `predict_scores` gives) of the chosen images, as large as they are on the canvas.

    All devices of this process compute.
    """
    compiled = sharding.on_local_devices(functools.partial(predict, model=model, config=config), variables)
    canvas, batch = config.masks.canvas, config.masks.batch * jax.local_device_count()
    pending = iter(chosen)
    for canvases in iterate_canvases(images, chosen, canvas, batch, config.data.workers) if chosen else ():
        for found, index in zip(jax.device_get(compiled(canvases)), pending, strict=False):  # the last batch is filled up
            h, w = shape_on_canvas(canvas, images.images[index])
            yield index, found[:h, :w]


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
    return scaled_size((info['height'], info['width']), min(1, canvas / max(info['height'], info['width'])))
