"""pysaliency's door: its fixation sets are scored here, our predictions there, its models' maps here.

`stanet evaluate --data=DIR` takes a folder with the `stimuli.hdf5` and `fixations.hdf5` that pysaliency writes of a set, and needs h5py
alone. A fixation lies in the pixel (int(y), int(x)), as pysaliency has it, so that AUC, s-AUC and NSS of the protocol `mit` are its own;
the density is that of `fixations.blurred_density`. `saliency_map_model` needs pysaliency, which is no dependency.
"""
import contextlib
import functools
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8

from stanet_jax import InputError
from stanet_jax.evaluation import fixations, protocols
from stanet_jax.inference.films import FilmPredictor

STIMULI, FIXATIONS = 'stimuli.hdf5', 'fixations.hdf5'


class Stimulus:
    """An image of a set with its fixations: a silent video of one frame, as `fixations.SetVideo` says."""
    frames, fps = 1, fixations.FPS

    def __init__(self, name: str, shape: tuple[int, int], points: Num[np.ndarray, 'n 2'], read: Callable[[], Num[np.ndarray, 'h w *c']]):
        """`points` are (y, x) in pixels, within `shape` (h, w); `read` gives the image."""
        self.name = name
        self._shape, self._points, self._read = shape, points, read

    def frame(self, k: int) -> UInt8[np.ndarray, 'h w 3']:
        """The image in RGB; InputError where it cannot be read."""
        return as_rgb(self._read())

    def wave(self) -> None:
        """There is no sound."""

    def observers(self, k: int) -> None:
        """Whose the fixations are is not kept."""

    def counts(self, k: int) -> Int[np.ndarray, 'h w']:
        """How many fixations lie in each pixel."""
        counts = np.zeros(self._shape, int)
        np.add.at(counts, tuple(self._points.astype(int).T), 1)
        return counts

    def fixations(self, k: int) -> Bool[np.ndarray, 'h w']:
        """Whether a fixation lies in each pixel."""
        return self.counts(k) > 0

    def density(self, k: int) -> Float[np.ndarray, 'h w']:
        """The blurred `counts`."""
        return fixations.blurred_density(self.counts(k))


class StimulusSet(NamedTuple):
    """A set of pysaliency's; the fields are those of `fixations.FixationSet`."""
    name: str
    videos: list[Stimulus]
    missing: list[str]


def is_set(root: str | os.PathLike) -> bool:
    """Whether a folder holds a set of pysaliency's."""
    return all((pathlib.Path(root) / name).is_file() for name in (STIMULI, FIXATIONS))


def open_set(root: str | os.PathLike, name: str = '') -> StimulusSet:
    """Opens a set of pysaliency's; its name is by default that of the folder.

    Raises:
        InputError: a file cannot be read or holds something else.
    """
    root = pathlib.Path(root)
    x, y, n = read_fixations(root / FIXATIONS)
    images = read_stimuli(root / STIMULI)
    if n.size and not 0 <= n.min() <= n.max() < len(images):
        raise InputError(f'{root / FIXATIONS}: has fixations on image {n.max()}, {root / STIMULI} has {len(images)}; take both of one set')
    twice = Counter(image.name for image in images)
    videos, outside = [], 0
    for k, (stem, shape, read) in enumerate(images):
        here = np.stack([y[n == k], x[n == k]], axis=1)
        within = ((here >= 0) & (here < shape)).all(axis=1)
        outside += int((~within).sum())
        videos.append(Stimulus(stem if twice[stem] == 1 else f'{stem}_{k}', shape, here[within], read))
    missing = [f'{outside} of {len(x)} fixations, which lie outside of their images'] if outside else []
    return StimulusSet(name or root.resolve().name, videos, missing)


class FixationList(NamedTuple):
    """Fixations in pixels, and the number of the image that each is on."""
    x: Float[np.ndarray, ' n']
    y: Float[np.ndarray, ' n']
    n: Int[np.ndarray, ' n']


def read_fixations(path: pathlib.Path) -> FixationList:
    """The fixations of a file of pysaliency's `Fixations`, `FixationTrains` or `ScanpathFixations`; InputError where it is none."""
    with _open(path, ('Fixations', 'FixationTrains', 'ScanpathFixations')) as (file, kind):
        if kind == 'Fixations':
            return FixationList(*(file[key][...].astype(dtype) for key, dtype in (('x', float), ('y', float), ('n', int))))
        paths, keys = (file, ('train_xs', 'train_ys', 'train_ns')) if kind == 'FixationTrains' else (file['scanpaths'], ('xs', 'ys', 'n'))
        xs, ys, ns = (np.asarray(paths[key][...]) for key in keys)
        there = np.arange(xs.shape[1]) < paths['lengths'][...][:, None] if 'lengths' in paths else np.isfinite(xs)
    return FixationList(xs[there].astype(float), ys[there].astype(float), np.repeat(ns.astype(int), there.sum(axis=1)))


class ImageEntry(NamedTuple):
    """An image of a set: its name, its (h, w), and what reads it."""
    name: str
    shape: tuple[int, int]
    read: Callable[[], Num[np.ndarray, 'h w *c']]


def read_stimuli(path: pathlib.Path) -> list[ImageEntry]:
    """The images of a file of pysaliency's `Stimuli`, which holds them, or `FileStimuli`, which names them; InputError where it is none."""
    with _open(path, ('Stimuli', 'FileStimuli')) as (file, kind):
        if kind == 'Stimuli':
            return [ImageEntry(f'{k:05d}', file[str(k)].shape[:2], functools.partial(_read_stimulus, path, k))
                    for k in range(int(file.attrs['size']))]
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in file['filenames'][...]]
        shapes = [(int(shape[0]), int(shape[1])) for shape in file['shapes'][...]]
    return [ImageEntry(pathlib.Path(name).stem, shape, functools.partial(fixations.read_image, path.parent / name, 'RGB'))
            for name, shape in zip(names, shapes, strict=True)]


def _read_stimulus(path, k):
    with _open(path, ('Stimuli',)) as (file, _):
        return file[str(k)][...]


@contextlib.contextmanager
def _open(path, kinds):
    """Opens a file of pysaliency's that is of one of some kinds, as (file, kind); InputError for whatever is wrong with it."""
    try:
        with h5py.File(path) as file:
            kind = file.attrs['type']
            kind = kind.decode() if isinstance(kind, bytes) else str(kind)
            if kind not in kinds:
                raise InputError(f'{path}: holds {kind}; must be {" or ".join(kinds)}')
            yield file, kind
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path}: no file of pysaliency's, or damaged ({error}); write it with to_hdf5") from None


def as_rgb(image: Num[np.ndarray, 'h w *c']) -> UInt8[np.ndarray, 'h w 3']:
    """A stimulus, grey or in colour, with or without alpha, as RGB."""
    image = np.asarray(image, np.uint8)
    return np.repeat(image.reshape(*image.shape[:2], -1)[..., :1], 3, axis=2) if image.ndim == 2 or image.shape[2] < 3 else image[..., :3]


# ------------------------------------------------------------------------------------------------------------------ models


def saliency_map(predictor: FilmPredictor, stimulus: Num[np.ndarray, 'h w *c']) -> Float[np.ndarray, 'h w']:
    """The map of an image by students or a method, the last of its `names`, at the image's size, resized as the protocol `mit` does.

    `functools.partial(saliency_map, predictor)` is a saliency map model as a function.
    """
    (maps,) = predictor.predict_pictures([as_rgb(stimulus)])
    found = np.asarray(maps[predictor.names[-1]], np.float32)
    return np.asarray(protocols.resize(found[None], tuple(stimulus.shape[:2]))[0])


def saliency_map_model(predictor: FilmPredictor, **options: Any) -> Any:
    """Students or a method as a `pysaliency.SaliencyMapModel`, whose options are those of that class.

    Raises:
        InputError: pysaliency is not installed.
    """
    try:
        import pysaliency  # here, as it is optional
    except ImportError as error:
        raise InputError(f'pysaliency: cannot be imported ({error}); pip install pysaliency') from None

    class Model(pysaliency.SaliencyMapModel):
        def _saliency_map(self, stimulus):
            return saliency_map(predictor, stimulus)

    return Model(**options)


def model_maps(model: Any, name: str) -> Callable[[fixations.SetVideo], Iterator[Mapping[str, Float[np.ndarray, 'h w']]]]:
    """The maps of a model of pysaliency's for each frame of a video, as `scoring.score_all` takes them, under a name."""
    def maps_of_video(video):
        return ({name: np.asarray(model.saliency_map(video.frame(k)), np.float32)} for k in range(video.frames))
    return maps_of_video
