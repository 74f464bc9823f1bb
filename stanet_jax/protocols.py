"""Named protocols of evaluation: which frames are scored, what is done to a map before, which pixels are negatives, how to average.

A score carries its protocol's name, as the same maps get other numbers under another one.
"""
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import metrics, scam

SIGMA, REACH = 2, 6  # of the blur: 13 x 13 pixels


@functools.partial(jax.jit, static_argnames='shape')
def blur_and_resize(maps, shape):
    """Min-max, Gaussian blur of sigma 2 over 13x13 pixels with symmetric border, bicubic resize.

    Args:
        maps: [b, h', w'], at the size they were predicted at.
        shape: (h, w) of the ground truth.
    Returns:
        [b, h, w]; zeros for a constant map.
    """
    h, w = maps.shape[1:]
    maps = scam.min_max(maps)
    kernel = np.exp(-np.arange(-REACH, REACH + 1)**2 / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).astype(maps.dtype)
    rows = jnp.pad(maps, ((0, 0), (REACH, REACH), (0, 0)), 'symmetric')
    maps = sum(k * rows[:, i:i + h] for i, k in enumerate(kernel))
    columns = jnp.pad(maps, ((0, 0), (0, 0), (REACH, REACH)), 'symmetric')
    return metrics.resize(sum(k * columns[:, :, i:i + w] for i, k in enumerate(kernel)), shape)


def other_frames(fixated):
    """Negatives out of the same video: where anybody looks in another frame, this frame's pixels removed.

    Args:
        fixated: list of arrays, the flat indices of each frame's fixated pixels.
    Returns:
        A function of the frame's index that gives its negatives' flat indices.
    """
    # A pixel of this frame alone is removed again: the union over all frames will do.
    union = np.unique(np.concatenate(fixated))
    return lambda k: np.setdiff1d(union, fixated[k], assume_unique=True)


def mean(scores):
    """The mean of an array of scores without its NaNs; NaN where there is nothing else."""
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if defined.size else float('nan')


def frames_to_video_to_set(videos):
    """The mean over videos of the mean over a video's frames. videos: list of arrays, a score of each frame. -> float"""
    return mean(np.array([mean(frames) for frames in videos]))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """See the module's functions for the stages.

    Attributes:
        first: the first frame that is scored, from 0.
        prepare: `(maps [b, h', w'], shape (h, w)) -> [b, h, w]`, what is scored.
        negatives: `fixated -> (k -> indices)`, see `other_frames`.
        average: `[scores of each video's frames] -> float`.
    """
    first: int
    prepare: Callable
    negatives: Callable
    average: Callable


PROTOCOLS = {'stavis': Protocol(first=8, prepare=blur_and_resize, negatives=other_frames, average=frames_to_video_to_set)}
