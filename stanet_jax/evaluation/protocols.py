"""Named protocols of evaluation: which frames are scored, how a map is prepared, which pixels are negatives, how scores are averaged.

The same maps get other numbers under another protocol, so a score is always given with its protocol's name.
"""
import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Num

from stanet_jax import InputError, scam
from stanet_jax.arrays import AnyArray
from stanet_jax.evaluation import metrics, resizing

SIGMA, REACH = 2, 6  # of the blur: 13 x 13 pixels

# ------------------------------------------------------------------------------------------------------- preparation of maps


@functools.partial(jax.jit, static_argnames='shape')
def blur_and_resize(maps: Float[AnyArray, 'b h w'], shape: tuple[int, int]) -> Float[AnyArray, 'b h2 w2']:
    """Min-max, Gaussian blur of sigma 2 over 13x13 pixels with symmetric border, bicubic resize to `shape`; zeros for a constant map.

    The blur is at the size at which the maps are predicted.
    """
    h, w = maps.shape[1:]
    maps = scam.min_max(maps)
    kernel = np.exp(-np.arange(-REACH, REACH + 1)**2 / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).astype(maps.dtype)
    rows = jnp.pad(maps, ((0, 0), (REACH, REACH), (0, 0)), 'symmetric')
    maps = sum(k * rows[:, i:i + h] for i, k in enumerate(kernel))
    columns = jnp.pad(maps, ((0, 0), (0, 0), (REACH, REACH)), 'symmetric')
    return resizing.resize(sum(k * columns[:, :, i:i + w] for i, k in enumerate(kernel)), shape)


def resize(maps: Float[AnyArray, 'b h w'], shape: tuple[int, int]) -> Float[AnyArray, 'b h2 w2']:
    """Bicubic resize (`resizing.resize`) to `shape`, after which a constant map is constant to the bit."""
    return maps if maps.shape[1:] == shape else _resize(maps, shape)


@functools.partial(jax.jit, static_argnames='shape')
def _resize(maps, shape):
    return _keep_flat(maps, resizing.resize(maps, shape))


@functools.partial(jax.jit, static_argnames='shape')
def bilinear_and_min_max(maps: Float[AnyArray, 'b h w'], shape: tuple[int, int]) -> Float[AnyArray, 'b h2 w2']:
    """Bilinear resize to `shape`, without antialiasing where it shrinks, as in OpenCV; then min-max."""
    return scam.min_max(_keep_flat(maps, jax.image.resize(maps, (len(maps), *shape), 'bilinear', antialias=False)))


def _keep_flat(maps, resized):
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return jnp.where(low == high, low, resized)


# ----------------------------------------------------------------------------------------------- negatives of shuffled AUC


class VideoFixations(typing.NamedTuple):
    """The fixations of a video.

    Attributes:
        fixated: for each frame the flat indices of its fixated pixels.
        shape: (h, w) of the frames.
    """
    fixated: list[Int[np.ndarray, ' _']]
    shape: tuple[int, int]


@typing.runtime_checkable
class SetFixations(typing.Protocol):
    """The fixations of all videos of a set, by number: a list, or a `fixation_cache.FixationCache`, which reads them when asked, once."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> VideoFixations: ...

    def __iter__(self) -> Iterator[VideoFixations]: ...


def rescale(places: Int[np.ndarray, ' n'], old: tuple[int, int], new: tuple[int, int]) -> Int[np.ndarray, ' n']:
    """Flat indices of pixels in a frame of shape `old`, moved to a frame of shape `new`: (y h_new / h_old, x w_new / w_old), floored."""
    y, x = np.divmod(places, old[1])
    return places if old == new else y * new[0] // old[0] * new[1] + x * new[1] // old[1]


def other_frames(fixations: SetFixations, number: int) -> Callable[[int], Int[np.ndarray, ' n']]:
    """Negatives from the same video: pixels that are fixated in another frame, but not in this one.

    Args:
        fixations: of every video of the set.
        number: of the video that is scored.
    Returns:
        A function from the index of a frame to the flat indices of its negatives.
    """
    # The union over all frames suffices: what is fixated in this frame alone is removed again.
    fixated, _ = fixations[number]
    union = np.unique(np.concatenate(fixated))
    return lambda k: np.setdiff1d(union, fixated[k], assume_unique=True)


def ten_frames(fixations: SetFixations, number: int, count: int = 10) -> Callable[[int], Int[np.ndarray, ' n']]:
    """Negatives from ten random other frames of the whole set, rescaled to this frame's size; see `other_frames`."""
    ends = np.cumsum([len(fixated) for fixated, _ in fixations])
    shape = fixations[number][1]

    def negatives(k):
        here = ends[number] - len(fixations[number][0]) + k
        picks = np.random.default_rng((number, k)).choice(ends[-1] - 1, min(count, ends[-1] - 1), replace=False)
        picks += picks >= here
        found = [np.zeros(0, int)]
        for pick in picks:
            video = int(np.searchsorted(ends, pick, 'right'))
            fixated, size = fixations[video]
            found.append(rescale(fixated[pick - ends[video]], size, shape))
        return np.unique(np.concatenate(found))
    return negatives


def other_images(fixations: SetFixations, number: int) -> Callable[[int], Int[np.ndarray, ' hw']]:
    """Negatives from all other frames of the set, rescaled, with repetition.

    As `other_frames`, but the function gives how often each pixel of the frame is a negative.
    """
    own, shape = fixations[number]
    of_set = getattr(fixations, 'counts', functools.partial(count_all, fixations))(shape)

    def negatives(k):
        counts = of_set.copy()
        np.subtract.at(counts, own[k], 1)
        return counts
    return negatives


def count_all(fixations: SetFixations, shape: tuple[int, int]) -> Int[np.ndarray, ' hw']:
    """How often each pixel of a frame of shape (h, w) is fixated in all frames of the set, which are rescaled to it."""
    every = np.concatenate([rescale(places, size, shape) for fixated, size in fixations for places in fixated])
    return np.bincount(every, minlength=shape[0] * shape[1]).astype(np.int32)


def no_negatives(fixations: SetFixations, number: int) -> Callable[[int], Int[np.ndarray, ' n']]:
    """No negatives, for a protocol without shuffled AUC; see `other_frames`."""
    return lambda k: np.zeros(0, int)


# -------------------------------------------------------------------------------------------------------------- averages


def mean(scores: Float[np.ndarray, ' n']) -> float:
    """The mean of the scores that are not NaN; NaN where all are."""
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if defined.size else float('nan')


def frames_to_video_to_set(means: Sequence[float], counts: Sequence[int]) -> float:
    """The mean over videos of each video's mean.

    Args:
        means: for each video the mean over the frames where the score is defined, or NaN.
        counts: the number of these frames.
    """
    return mean(np.array(means, float))


def all_frames(means: Sequence[float], counts: Sequence[int]) -> float:
    """The mean over all frames of all videos; arguments as those of `frames_to_video_to_set`."""
    defined = np.array(counts) > 0
    return float(np.average(np.array(means, float)[defined], weights=np.array(counts)[defined])) if defined.any() else float('nan')


# ------------------------------------------------------------------------------------------------------------- protocols


WITHOUT_SHUFFLED = tuple(name for name in metrics.METRICS if name != 'shuffled_auc')


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a set is scored; its functions are those of this module and of `metrics`.

    Attributes:
        name: its key in `PROTOCOLS`.
        first: the first frame that is scored, counted from 0.
        prepare: `(maps, shape) -> maps` of that shape (h, w), which are scored.
        negatives: see `other_frames`.
        average: see `frames_to_video_to_set`.
        targets, score: how fixations and negatives become arrays, and the function that scores with these: `metrics.targets` and
            `metrics.score_batch`, after MIT's MATLAB functions, or `metrics.counts` and `metrics.score_counts`, after pysaliency.
        repeated: whether a pixel counts as often as it is fixated, or once.
        normalised: whether `prepare` min-maxes, so that no map has negative values, for which `kl_div` would be undefined.
        metrics: names of the scores.
        thresholds: levels below which prepared maps are set to 0, one after the other, see `baselines.threshold`; none by default.
    """
    name: str
    first: int = 0
    prepare: Callable[[Float[AnyArray, 'b h w'], tuple[int, int]], Float[AnyArray, 'b h2 w2']] = resize
    negatives: Callable[[SetFixations, int], Callable[[int], Int[np.ndarray, ' n']]] = other_frames
    average: Callable[[Sequence[float], Sequence[int]], float] = frames_to_video_to_set
    targets: Callable[..., dict[str, Num[np.ndarray, 'b _']]] = metrics.targets
    score: Callable[..., dict[str, Float[AnyArray, ' b']]] = metrics.score_batch
    repeated: bool = False
    normalised: bool = False
    metrics: tuple[str, ...] = metrics.METRICS
    thresholds: tuple[float, ...] = ()


PROTOCOLS = {protocol.name: protocol for protocol in (
    # The papers' tables (Tsiami et al., STAViS, CVPR 2020).
    Protocol('stavis', first=8, prepare=blur_and_resize, normalised=True),
    # The DHF1K benchmark (Wang et al., CVPR 2018).
    Protocol('dhf1k', negatives=ten_frames, average=all_frames),
    # The MIT/Tuebingen benchmark (Kuemmerer et al., ECCV 2018); every frame is an image.
    Protocol('mit', negatives=other_images, average=all_frames, targets=metrics.counts, score=metrics.score_counts, repeated=True),
    # The NTIRE challenge on video saliency prediction.
    Protocol('ntire', prepare=bilinear_and_min_max, normalised=True, negatives=no_negatives, metrics=WITHOUT_SHUFFLED))}


def choose_protocol(name: str, thresholds: Sequence[float] = ()) -> Protocol:
    """The protocol of a name, which scores maps at each of the thresholds where there are any; InputError where there is no such name."""
    if name not in PROTOCOLS:
        raise InputError(f'--protocol={name}: must be one of {", ".join(PROTOCOLS)}')
    return dataclasses.replace(PROTOCOLS[name], thresholds=tuple(thresholds))
