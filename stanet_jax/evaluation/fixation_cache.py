"""The fixations and densities of a set's videos as scoring takes them, each video read once."""
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from stanet_jax import InputError
from stanet_jax.evaluation.fixations import GazeVideo
from stanet_jax.evaluation.protocols import VideoFixations, count_all


class FixationCache(Sequence[VideoFixations]):
    """The fixations of each video of a set, read when they are asked for, and kept.

    Attributes:
        counts: `protocols.count_all` of the set, for a shape; those of a few shapes are kept.
    """

    def __init__(self, videos: Sequence[GazeVideo], repeated: bool):
        """`repeated`: see `read_fixations`."""
        self._videos = videos
        self._read = functools.cache(lambda number: read_fixations(videos[number], repeated))
        self.counts = functools.lru_cache(4)(functools.partial(count_all, self))

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, number: int) -> VideoFixations:
        """As `read`, but without any frames for a video that cannot be read, as the failure is reported when that video is scored."""
        if number >= len(self):
            raise IndexError(number)
        try:
            return self.read(number)
        except (InputError, OSError):
            return VideoFixations([], (1, 1))

    def read(self, number: int) -> VideoFixations:
        """The fixations of a video; InputError or OSError where they cannot be read."""
        return self._read(number)


def read_fixations(video: GazeVideo, repeated: bool = False) -> VideoFixations:
    """The fixations of all frames of a video; of a frame without a file there are none.

    Args:
        repeated: whether a pixel comes as often as it is fixated, or once.
    Raises:
        InputError: the frames differ in size, or none has fixations.
    """
    fixated, shape = [], None
    for k in range(video.frames):
        fixations = video.counts(k) if repeated else video.fixations(k)
        if fixations is None:
            fixated.append(np.zeros(0, np.int64))
            continue
        if shape not in (None, fixations.shape):
            raise InputError(f'{video.name}, frame {k + 1}: fixations of {fixations.shape} after some of {shape}; fetch it again')
        shape, pixels = fixations.shape, np.flatnonzero(fixations)
        fixated.append(np.repeat(pixels, fixations.ravel()[pixels]) if repeated and len(pixels) else pixels)
    if shape is None:
        raise InputError(f'{video.name}: has no fixations at all; fetch its annotations')
    return VideoFixations(fixated, shape)


def read_density(video: GazeVideo, k: int, shape: tuple[int, int]) -> Float[np.ndarray, 'h w']:
    """The density of frame k; zeros, for which scores are undefined, where it is missing; InputError where its shape is not `shape`."""
    density = video.density(k)
    if density is None:
        return np.zeros(shape, np.float32)
    if density.shape != shape:
        raise InputError(f'{video.name}, frame {k + 1}: density of {density.shape}, fixations of {shape}; fetch it again')
    return np.asarray(density, np.float32)
