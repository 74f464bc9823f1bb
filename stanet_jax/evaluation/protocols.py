"""Named protocols of evaluation: which frames are scored, what is done to a map before, which pixels are negatives, how to average.

A score carries its protocol's name, as the same maps get other numbers under another one.
"""
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import scam
from stanet_jax.evaluation import metrics, resizing

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
    return resizing.resize(sum(k * columns[:, :, i:i + w] for i, k in enumerate(kernel)), shape)


def resize(maps, shape):
    """Bicubic resize (`resizing.resize`) of [b, h', w'] to (h, w); a constant map stays so to the bit."""
    return _keep_flat(maps, resizing.resize(maps, shape))


@functools.partial(jax.jit, static_argnames='shape')
def bilinear_and_min_max(maps, shape):
    """Bilinear resize of [b, h', w'] to (h, w), taking four pixels also where it shrinks, as OpenCV does; min-max."""
    return scam.min_max(_keep_flat(maps, jax.image.resize(maps, (len(maps), *shape), 'bilinear', antialias=False)))


def _keep_flat(maps, resized):
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return jnp.where(low == high, low, resized)


def rescale(places, old, new):
    """Flat indices of pixels of a frame of shape `old`, in a frame of shape `new`: (y h_new / h_old, x w_new / w_old), rounded down."""
    y, x = np.divmod(places, old[1])
    return places if old == new else y * new[0] // old[0] * new[1] + x * new[1] // old[1]


def other_frames(fixations, number):
    """Negatives out of the same video: where anybody looks in another frame, this frame's pixels removed.

    Args:
        fixations: a sequence with an item for each video of the set: a list of the flat indices of each frame's fixated pixels, and the
            shape (h, w) of its frames.
        number: of the video.
    Returns:
        A function of the frame's index that gives its negatives' flat indices.
    """
    # A pixel of this frame alone is removed again: the union over all frames will do.
    fixated, _ = fixations[number]
    union = np.unique(np.concatenate(fixated))
    return lambda k: np.setdiff1d(union, fixated[k], assume_unique=True)


def ten_frames(fixations, number, count=10):
    """Negatives out of ten random other frames of the whole set, rescaled to this frame's size; see `other_frames`."""
    ends = np.cumsum([len(fixated) for fixated, _ in fixations])
    shape = fixations[number][1]

    def negatives(k):
        here = ends[number] - len(fixations[number][0]) + k
        picks = np.random.default_rng((number, k)).choice(ends[-1] - 1, min(count, ends[-1] - 1), replace=False)
        picks += picks >= here
        found = [np.zeros(0, int)]
        for pick in picks:
            video = np.searchsorted(ends, pick, 'right')
            fixated, size = fixations[video]
            found.append(rescale(fixated[pick - ends[video]], size, shape))
        return np.unique(np.concatenate(found))
    return negatives


def other_images(fixations, number):
    """All fixations of all other frames of the set, rescaled: as `other_frames`, but the function gives how often each pixel occurs."""
    own, shape = fixations[number]
    every = np.concatenate([rescale(places, size, shape) for fixated, size in fixations for places in fixated])
    counts = np.bincount(every, minlength=shape[0] * shape[1])
    return lambda k: counts - np.bincount(own[k], minlength=counts.size)


def no_negatives(fixations, number):
    """None at all, where shuffled AUC is not scored; see `other_frames`."""
    return lambda k: np.zeros(0, int)


def mean(scores):
    """The mean of an array of scores without its NaNs; NaN where there is nothing else."""
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if defined.size else float('nan')


def frames_to_video_to_set(means, counts):
    """The mean over videos. means, counts: each video's mean over the frames whose score is defined, and how many these are. -> float"""
    return mean(np.array(means, float))


def all_frames(means, counts):
    """The mean over all frames of all videos; see `frames_to_video_to_set`."""
    defined = np.array(counts) > 0
    return float(np.average(np.array(means, float)[defined], weights=np.array(counts)[defined])) if defined.any() else float('nan')


WITHOUT_SHUFFLED = tuple(name for name in metrics.METRICS if name != 'shuffled_auc')


@dataclasses.dataclass(frozen=True)
class Protocol:
    """See the module's functions for the stages.

    Attributes:
        name: its key in `PROTOCOLS`.
        first: the first frame that is scored, from 0.
        prepare: `(maps [b, h', w'], shape (h, w)) -> [b, h, w]`, what is scored.
        negatives: `(fixations, number) -> (k -> indices)`, see `other_frames`.
        average: `(means, counts) -> float`, see `frames_to_video_to_set`.
        targets, score: what is made of fixations and negatives, and the scores by it: `metrics.targets` and `metrics.score_batch`, after
            MIT's MATLAB functions, or `metrics.counts` and `metrics.score_counts`, after pysaliency.
        repeated: whether a pixel counts as often as it was fixated, or once.
        normalised: whether `prepare` min-maxes, so that no map has values below zero, where `kl_div` would be undefined.
        metrics: names of the scores.
    """
    name: str
    first: int = 0
    prepare: Callable = resize
    negatives: Callable = other_frames
    average: Callable = frames_to_video_to_set
    targets: Callable = metrics.targets
    score: Callable = metrics.score_batch
    repeated: bool = False
    normalised: bool = False
    metrics: tuple = metrics.METRICS


PROTOCOLS = {of.name: of for of in (
    # Of the papers' tables (Tsiami et al., STAViS, CVPR 2020).
    Protocol('stavis', first=8, prepare=blur_and_resize, normalised=True),
    # Of the DHF1K benchmark (Wang et al., CVPR 2018).
    Protocol('dhf1k', negatives=ten_frames, average=all_frames),
    # Of the MIT/Tuebingen benchmark (Kuemmerer et al., ECCV 2018); every frame is an image.
    Protocol('mit', negatives=other_images, average=all_frames, targets=metrics.counts, score=metrics.score_counts, repeated=True),
    # Of the NTIRE challenge on video saliency prediction.
    Protocol('ntire', prepare=bilinear_and_min_max, normalised=True, negatives=no_negatives, metrics=WITHOUT_SHUFFLED))}
