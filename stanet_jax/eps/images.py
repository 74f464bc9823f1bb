"""Images for EPS: the prepared set, random crops or whole images, and the masks to learn from."""
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.data import synthvoc, voc
from stanet_jax.models import backbones
from stanet_jax.workdir import barrier

FILL = np.round(255 * backbones.MEAN).astype(np.uint8)  # colour outside an image; what the nets take is 0 there


@runtime_checkable
class TaggedImages(Protocol):
    """Images and their tags: `voc.Images`, or `prediction.ImageFolder`, whose images have no tags.

    Attributes:
        images: for each image a dict with its `id`, `width` and `height`.
    """
    images: list[dict[str, Any]]

    def __len__(self) -> int: ...

    def image(self, index: int) -> PIL.Image.Image: ...

    def tags(self, index: int) -> Float[np.ndarray, ' c']: ...


def open_images(config: ConfigDict) -> dict[str, voc.Images]:
    """The images of the config's set, {split: images}, of the splits that hold any; process 0 generates or prepares the set first."""
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


def place_image(image: PIL.Image.Image, scale: float, corner: Sequence[int], side: int, mirror: bool, fill: int | tuple[int, ...],
                resample: PIL.Image.Resampling = PIL.Image.Resampling.BICUBIC) -> UInt8[np.ndarray, 'side side *channels']:
    """An image that is scaled, mirrored and then cropped to, or set into, a square.

    Args:
        image: in grey or RGB.
        scale: factor of its height and width.
        corner: (y, x) of the square's top left corner in the scaled image.
        side: of the square, in pixels.
        mirror: whether left and right are swapped.
        fill: value outside of the image.
        resample: how it is scaled; bicubic, as in the release of EPS, for pictures.
    """
    image = image.resize(scaled_size(image.size, scale), resample)
    if mirror:
        image = image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    result = PIL.Image.new(image.mode, (side, side), fill)
    result.paste(image, (-corner[1], -corner[0]))
    return np.asarray(result)


def scaled_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """The (width, height) of an image, or its (height, width), after scaling: at least one pixel each."""
    a, b = (max(1, round(scale * n)) for n in size)
    return a, b


def place_extent(size: Sequence[int], corner: Sequence[int], side: int) -> Bool[np.ndarray, 'side side']:
    """Where the square of `place_image` shows the image: its scaled `size` (width, height), and the square's `corner` (y, x)."""
    y, x = (np.arange(side) + start for start in corner)
    return ((y >= 0) & (y < size[1]))[:, None] & (x >= 0) & (x < size[0])


@dataclasses.dataclass(frozen=True)
class ImageExamples:
    """The examples that the nets learn from, for `batches.iterate_batches`: random crops of images, or whole images.

    Attributes:
        images: `voc.Images`, or where no saliency is needed any others with tags.
        side: of the square that images are cropped to or set into, in pixels.
        long_side: range of the random length that an image's longer side is resized to; without augmentation, images that are larger
            than the square are made to fit, and others keep their size.
        saliency: whether examples have a saliency map.
        target: gives the labels of image `index`; None for examples without labels.
    """
    images: TaggedImages
    side: int
    long_side: tuple[int, int] = (0, 0)
    saliency: bool = False
    target: Callable[[int], UInt8[np.ndarray, 'h w']] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def example(self, index: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Example `index`, augmented where there is an `rng`.

        Returns:
            A dict of `frames` uint8 [side, side, 3], `valid` bool [side, side], False outside of the image, `tags` float32 [c], `mask`
            (True), and where they are asked for `saliency` uint8 [side, side], 0 outside of the image, and `target` uint8 [side, side],
            `voc.IGNORED` outside of the image.
        """
        image = self.images.image(index)
        scale, mirror, corner = min(1, self.side / max(image.size)), False, [0, 0]
        if rng is not None:
            scale = rng.integers(self.long_side[0], self.long_side[1] + 1) / max(image.size)
            mirror = bool(rng.integers(2))
            # Anywhere that the square lies within the image, or the image within the square.
            room = [round(scale * n) - self.side for n in (image.height, image.width)]
            corner = [int(rng.integers(min(0, r), max(0, r) + 1)) for r in room]
        place = functools.partial(place_image, scale=scale, corner=corner, side=self.side, mirror=mirror)
        valid = place_extent(scaled_size(image.size, scale), corner, self.side)
        result = {'mask': np.True_, 'frames': place(image, fill=tuple(FILL.tolist())), 'valid': valid, 'tags': self.images.tags(index)}
        if self.saliency:
            result['saliency'] = place(self.images.saliency(index), fill=0)
        if self.target:
            labels = PIL.Image.fromarray(self.target(index))
            result['target'] = place(labels, fill=voc.IGNORED, resample=PIL.Image.Resampling.NEAREST)
        return result


def mask_reader(folder: str | os.PathLike, images: voc.Images) -> Callable[[int], UInt8[np.ndarray, 'h w']]:
    """A function that reads the mask `<id>.png` of image `index` from a folder.

    It raises InputError where the mask is missing, of another size, or has a label that is neither a class nor `voc.IGNORED`.
    """
    folder = pathlib.Path(folder)

    def read(index):
        info = images.images[index]
        path = folder / f'{info["id"]}.png'
        if not path.exists():
            raise InputError(f'{path}: no such mask; make them first: stanet distill --config=eps')
        labels = voc.read_labels(path)
        if labels.shape != (info['height'], info['width']):
            raise InputError(f'{path}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {info["width"]}x{info["height"]}; make it '
                             'anew')
        if (largest := labels[labels != voc.IGNORED].max(initial=0)) > len(images.categories):
            raise InputError(f'{path}: label {largest}, but there are {len(images.categories)} classes; make it anew')
        return labels
    return read
