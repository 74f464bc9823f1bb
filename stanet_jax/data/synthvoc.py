"""SynthVOC: scenes of SynthAVE in the layout of PASCAL VOC, for segmentation, with masks, tags and saliency maps of known faults.

    stanet data synthvoc --out=data/synthvoc

An image is a moment of a SynthAVE clip, drawn anew; its tags are the categories of all objects in view. Bodies carry a little of their
category's hue, so that all of an object, and best its head, tells its category. Three difficulties are those that EPS addresses:

    a striped track behind the object occurs with nearly every object of category 0 and seldom without one, as the railway of the
        papers does with trains
    some objects are small, most of those of the last two categories
    the saliency map misses small objects (`MISSED` has other worlds), shows some distractors, and is blurred

`Context/<id>.png` is 1 where the track shows; for the other files see `voc`.
"""
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import scipy.ndimage
import tqdm
from jaxtyping import Bool, Float, UInt8

import stanet_jax
from stanet_jax.data import synthave, voc
from stanet_jax.scratch import making

LISTS = {'train': 'train.txt', 'validation': 'val.txt', 'test': 'test.txt'}
SMALL = 0.5  # size of a small object, relative to the others
OFTEN = {True: 0.7, False: 0.2}  # share of small objects, of the last two categories and of the others
MISSED = ('small', 'beside', 'none')  # what the saliency misses: small objects, those beside a larger one, no object
TRACK = {True: 0.9, False: 0.03}  # share of images with a track, of those with and without an object of category 0


@dataclasses.dataclass
class Scene:
    """An image and its ground truth.

    Attributes:
        image: RGB.
        labels: 0 for the background, else the category + 1.
        saliency: with the faults of a saliency map.
        track: 1 where the track shows.
        tags: sorted labels in view.
    """
    image: UInt8[np.ndarray, 'h w 3']
    labels: UInt8[np.ndarray, 'h w']
    saliency: UInt8[np.ndarray, 'h w']
    track: UInt8[np.ndarray, 'h w']
    tags: list[int]


class Track(NamedTuple):
    """A striped track across the frame: its texture in [0, 1], and the band where it lies."""
    texture: Float[np.ndarray, 'side side 3']
    band: Bool[np.ndarray, 'side side']


def coverage(side: int, parts: Sequence[tuple[np.ndarray, float, str]]) -> Float[np.ndarray, 'side side']:
    """Gives how much of each pixel, in [0, 1], is covered by shapes, each the centre, radius and shape that `synthave.paint` takes."""
    image = np.zeros((side, side, 1))
    for centre, radius, shape in parts:
        synthave.paint(image, centre, radius, np.ones(1), shape)
    return image[..., 0]


def stripes(side: int, rng: np.random.Generator) -> Track:
    """Makes a track of rails and sleepers across a frame."""
    angle, phase, middle = rng.uniform(-.3, .3), rng.uniform(0, 6), rng.uniform(.4, .7)
    y, x = np.mgrid[:side, :side] / side
    across, along = np.cos(angle) * (y - middle) - np.sin(angle) * (x - .5), np.cos(angle) * (x - .5) + np.sin(angle) * (y - middle)
    rails = abs(abs(across) - .16) < .025
    sleepers = np.sin(2 * np.pi * 11 * along + phase) > 0
    texture = np.where(rails[..., None], [.75, .72, .7], np.where(sleepers[..., None], [.35, .25, .18], [.52, .48, .45]))
    return Track(texture, abs(across) < .24)


def scene(settings: synthave.Settings, split: str, index: int, missed: str = 'small') -> Scene:
    """Makes scene `index` of a split, as a pure function of the settings, the split, the index and what is `missed`.

    The worlds of `MISSED` differ in the saliency alone.
    """
    clip = synthave.make_clip(settings, split, index)
    rng = np.random.default_rng([settings.seed, list(LISTS).index(split), index, 2])
    t, side, categories = int(rng.integers(settings.frames)), settings.side, settings.categories
    things = [thing for thing in clip.objects if thing.visible[t]]
    image, track = synthave.background(side, rng).astype(np.float64), np.zeros((side, side), bool)
    texture, band = stripes(side, rng)
    if rng.uniform() < TRACK[any(thing.category == 0 for thing in things)]:
        track = band
        image[track] = texture[track] + rng.normal(0, .03, (track.sum(), 1))
    saliency, labels = np.zeros((side, side)), np.zeros((side, side), np.uint8)
    for thing in clip.distractors:
        shape, colour = rng.choice(['disc', 'box', 'diamond']), rng.uniform(.2, .8, 3)
        synthave.paint(image, thing.path[t], thing.body, colour, shape)
        if rng.uniform() < .2:
            saliency = np.maximum(saliency, .8 * coverage(side, [(thing.path[t], thing.body, shape)]))
    drawn = []
    for thing in things:
        small = rng.uniform() < OFTEN[thing.category >= categories - 2]
        size, centre = SMALL if small else 1, thing.path[t]
        shape, plain = synthave.body_look(thing, categories)
        bright, dark = synthave.head_colours(thing.category, categories)
        head = centre + size * (thing.head[t] - centre)
        parts = [(centre, size * thing.body, shape), (head, size * synthave.HEAD * side, 'disc')]
        looks = [.6 * plain + .3 * bright + .1 * dark, synthave.head_pattern(thing.category, categories, rng.uniform(0, 6.3))]
        for (place, radius, form), look in zip(parts, looks, strict=True):
            synthave.paint(image, place, radius, look, form)
        covered = coverage(side, parts)
        labels[covered > .5] = thing.category + 1
        drawn.append((small, covered))
    hidden = missed == 'small' or missed == 'beside' and not all(small for small, _ in drawn)  # whether small objects are
    for small, covered in drawn:
        if not (small and hidden):
            saliency = np.maximum(saliency, covered)
    image += rng.normal(0, .015, image.shape)
    saliency = scipy.ndimage.gaussian_filter(saliency, side / 96)
    picture, grey = (np.clip(255 * x + .5, 0, 255).astype(np.uint8) for x in (image, saliency))
    return Scene(picture, labels, grey, (track & (labels == 0)).astype(np.uint8), sorted(set(np.unique(labels).tolist()) - {0}))


def write_image(root: pathlib.Path, settings: synthave.Settings, missed: str, split: str, index: int) -> tuple[str, list[int]]:
    """Makes scene `index` of a split and writes its files under `root`; gives its id and tags."""
    made, name = scene(settings, split, index, missed), f'{split}_{index:05d}'
    PIL.Image.fromarray(made.image).save(root / 'JPEGImages' / f'{name}.jpg', quality=95)
    voc.label_image(made.labels).save(root / 'SegmentationClassAug' / f'{name}.png')
    for folder, values in (('SALImages', made.saliency), ('Context', made.track)):
        PIL.Image.fromarray(values).save(root / folder / f'{name}.png')
    return name, made.tags


def generate(out: str | os.PathLike, settings: synthave.Settings | None = None, workers: int | None = None,
             missed: str = 'small') -> None:
    """Writes the whole set into a folder, which appears when it is complete.

    Args:
        out: folder to write; it must not exist.
        settings: of the world, by default `synthave.Settings()`.
        workers: processes, by default one for each core, or one for a small set.
        missed: what the saliency misses, of `MISSED`.
    Raises:
        InputError: the folder exists, or no world can be made with the settings.
    """
    settings, out = settings or synthave.Settings(), pathlib.Path(out)
    synthave.check(settings)
    if missed not in MISSED:
        raise stanet_jax.InputError(f'missed={missed!r}: must be one of {", ".join(MISSED)}')
    with making(out) as root:
        for folder in ('JPEGImages', 'SegmentationClassAug', 'SALImages', 'Context'):
            (root / folder).mkdir()
        with synthave.mapping(workers, sum(getattr(settings, split) for split in LISTS)) as map_:
            for split, path in LISTS.items():
                indices = range(getattr(settings, split))
                made = map_(functools.partial(write_image, root, settings, missed, split), indices)
                ids = [name for name, tags in tqdm.tqdm(made, f'SynthVOC {split}', len(indices), unit='image', mininterval=1) if tags]
                (root / path).write_text(''.join(f'{name}\n' for name in ids))
        (root / 'classes.txt').write_text(''.join(synthave.category_name(k) + '\n' for k in range(settings.categories)))


if __name__ == '__main__':
    from stanet_jax import cli  # here, as only running this file needs it
    cli.main(['data', 'synthvoc', *sys.argv[1:]])
