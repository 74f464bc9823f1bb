"""Images for EPS: the prepared set, images at random scales and places, masks to learn from."""
import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import numpy as np
import PIL.Image

from stanet_jax import InputError
from stanet_jax.data import augmentation, synthvoc, voc
from stanet_jax.workdir import barrier

FILL = np.round(255 * augmentation.MEAN).astype(np.uint8)  # of what lies outside an image: 0 for the nets

# ------------------------------------------------------------------------------------------------------------------- images


def open_images(config):
    """The prepared set's images, `{split: voc.Images}` of the splits that hold any; made or prepared first by process 0."""
    data = config.data

    def prepare():
        if data.name == 'synthvoc' and not os.path.exists(data.root):
            synthvoc.generate(data.root)
        return voc.prepare(data.root, data.prepared)

    if jax.process_index() == 0:
        builder = prepare()
    barrier('data')
    if jax.process_index() > 0:
        builder = prepare()
    saliency = data.saliency or os.path.join(data.root, 'SALImages')
    splits = {split: voc.Images(builder, split, saliency) for split in builder.info.metadata['splits']}
    return {split: images for split, images in splits.items() if len(images)}


def place_image(image, scale, corner, side, mirror, fill, resample=PIL.Image.Resampling.BILINEAR):
    """A PIL image scaled, mirrored and moved by -corner (y, x) in a square of `side` pixels; uint8 [side, side] or [side, side, 3]."""
    size = [max(1, round(scale * n)) for n in image.size]
    image = image.resize(size, resample)
    if mirror:
        image = image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    result = PIL.Image.new(image.mode, (side, side), fill)
    result.paste(image, (-corner[1], -corner[0]))
    return np.asarray(result)


@dataclasses.dataclass(frozen=True)
class ImageExamples:
    """What the nets learn from, as `batches.iterate_batches` takes it: images at random scales and places, or as a whole.

    Attributes:
        images: a `voc.Images`.
        side: of the square that they are cropped to or set into.
        long_side: range that the longer side is resized to, at random; without augmentation images are as they are, or made to fit.
        saliency: whether `saliency` uint8 [side, side] is read, 0 outside of the image.
        target: `index -> labels` uint8 [h, w], read as `target` [side, side], `voc.IGNORED` outside of the image; None for none.
    """
    images: Any
    side: int
    long_side: tuple = (0, 0)
    saliency: bool = False
    target: Any = None

    def __len__(self):
        return len(self.images)

    def example(self, index, rng=None):
        """Example `index`: `frames` uint8 [side, side, 3], `tags`, `mask` and what was asked for."""
        image = self.images.image(index)
        scale, mirror, corner = min(1, self.side / max(image.size)), False, (0, 0)
        if rng is not None:
            scale = rng.integers(self.long_side[0], self.long_side[1] + 1) / max(image.size)
            mirror = bool(rng.integers(2))
            # Anywhere that the square lies within the image, or the image within the square.
            room = [round(scale * n) - self.side for n in (image.height, image.width)]
            corner = [int(rng.integers(min(0, r), max(0, r) + 1)) for r in room]
        put = functools.partial(place_image, scale=scale, corner=corner, side=self.side, mirror=mirror)
        result = {'mask': np.True_, 'frames': put(image, fill=tuple(FILL.tolist())), 'tags': self.images.tags(index)}
        if self.saliency:
            result['saliency'] = put(self.images.saliency(index), fill=0)
        if self.target:
            labels = PIL.Image.fromarray(self.target(index))
            result['target'] = put(labels, fill=voc.IGNORED, resample=PIL.Image.Resampling.NEAREST)
        return result


def mask_reader(folder, images):
    """`index -> labels`, of the pseudo-masks in a folder; InputError where one is missing or of another size."""
    folder = pathlib.Path(folder)

    def read(index):
        info = images.images[index]
        path = folder / f'{info["id"]}.png'
        if not path.exists():
            raise InputError(f'{path}: no such mask; make them first: python distill.py --config=configs/eps.py')
        labels = voc.read_labels(path)
        if labels.shape != (info['height'], info['width']):
            raise InputError(f'{path}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {info["width"]}x{info["height"]}')
        return labels
    return read
