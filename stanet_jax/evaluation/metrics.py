"""All metrics: six of saliency maps, as the MIT saliency benchmark's MATLAB functions define them, and those of label maps.

`auc_judd`, `shuffled_auc`, `nss`, `cc`, `sim` and `kl_div` score one saliency map, in float64. `score_batch`, which they call, scores
many under `jit`, in the type of the maps; `targets` makes its arrays from the fixated pixels. `counts` and `score_counts` are the same
after pysaliency. A map of another size than the ground truth is resized to it (`resize`). A score that is undefined is NaN:

    no fixations            auc_judd, shuffled_auc, nss
    no negatives            shuffled_auc
    a constant map          shuffled_auc, nss, cc, sim (and cc, sim of a constant density)
    a density of zero mass  cc, sim, kl_div
    a value below zero      kl_div

`mean_iou`, `ious`, `confusion_matrix`, `confusion_ratio`, `boundary_scores`, `boundary_counts` and `boundary_f1` compare labels with the
true ones, in NumPy; they are defined in `eps.metrics`, and `resize` and `resize_matrix` in `evaluation.resizing`.
"""
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from stanet_jax.arrays import AnyArray
from stanet_jax.eps.metrics import boundary_counts, boundary_f1, boundary_scores, confusion_matrix, confusion_ratio, ious, mean_iou
from stanet_jax.evaluation.resizing import resize, resize_matrix

__all__ = ['METRICS', 'auc_judd', 'boundary_counts', 'boundary_f1', 'boundary_scores', 'cc', 'confusion_matrix', 'confusion_ratio',
           'counts', 'draw', 'ious', 'kl_div', 'mean_iou', 'nss', 'resize', 'resize_matrix', 'score_batch', 'score_counts',
           'shuffled_auc', 'sim', 'targets']

METRICS = ('auc_judd', 'shuffled_auc', 'nss', 'cc', 'sim', 'kl_div')
EPS = 2.0 ** -52  # MATLAB's
CHUNK = 32  # fixations that are compared with all pixels in one pass over the map

# ------------------------------------------------------------------------------------------------------------ single maps


def auc_judd(saliency: ArrayLike, fixations: ArrayLike) -> float:
    """AUC-Judd: the area under the ROC curve with thresholds at the fixated values, ties in expectation.

    It is the Mann-Whitney statistic with ties counted half, plus `E[fp_N]/(2N)`: MATLAB breaks ties in a random order by adding noise,
    and this is the exact mean over all orders.

    Args:
        saliency: [h', w'], any finite numbers.
        fixations: [h, w], binary.
    Returns:
        The area; NaN without fixations and where every pixel is fixated.
    Raises:
        ValueError: an argument is not two-dimensional or not finite.
    """
    return _score('auc_judd', saliency, fixations=fixations)


def shuffled_auc(saliency: ArrayLike, fixations: ArrayLike, negatives: ArrayLike, splits: int = 100, step: float = 0.1,
                 seed: int = 0) -> float:
    """Shuffled AUC: fixated pixels against fixations of other frames, at thresholds 0, step, 2 step ... of the min-max normalised map.

    Args:
        saliency: [h', w'], any finite numbers.
        fixations: [h, w], binary; N pixels.
        negatives: [h, w], binary. Each split draws min(N, negatives) of them without replacement.
        splits: number of draws that the score is averaged over.
        step: between thresholds; a pixel counts where its value is at or above one.
        seed: of the draws.
    Returns:
        The area; NaN without fixations, without negatives and for a constant map.
    Raises:
        ValueError: an argument is not two-dimensional or not finite, the shapes of the binary maps differ, or splits or step are out of
            range.
    """
    if splits < 1 or not 0 < step <= 1:
        raise ValueError(f'splits={splits} must be 1 or more, step={step} above 0 and 1 at most')
    return _score('shuffled_auc', saliency, fixations=fixations, negatives=negatives, splits=splits, step=step, seed=seed)


def nss(saliency: ArrayLike, fixations: ArrayLike) -> float:
    """Normalised scanpath saliency: the map minus its mean, over its sample deviation (n - 1), averaged over fixated pixels.

    Arguments, result and errors as `auc_judd`; NaN without fixations and for a constant map.
    """
    return _score('nss', saliency, fixations=fixations)


def cc(saliency: ArrayLike, density: ArrayLike) -> float:
    """Pearson's correlation of saliency [h', w'] and density [h, w]; NaN where either is constant. Errors as `auc_judd`."""
    return _score('cc', saliency, density=density)


def sim(saliency: ArrayLike, density: ArrayLike) -> float:
    """Similarity: each map min-max normalised, then divided by its sum, then the sum of the smaller.

    Arguments, NaN and errors as `cc`.
    """
    return _score('sim', saliency, density=density)


def kl_div(saliency: ArrayLike, density: ArrayLike) -> float:
    """Kullback-Leibler divergence: `sum q log(eps + q/(p + eps))`, q density, p saliency, each divided by its sum, eps = 2^-52.

    Args:
        saliency: [h', w'], non-negative. Values below zero that resizing makes count as zero.
        density: [h, w], non-negative.
    Returns:
        The divergence, natural logarithm; NaN for a density of zero mass and where a value of either is below zero.
    Raises:
        ValueError: as `auc_judd`.
    """
    return _score('kl_div', saliency, density=density)


def _score(metric, saliency, fixations=None, negatives=None, density=None, splits=1, step=0.1, seed=0):
    saliency = _as_map('saliency', saliency)
    fixations, negatives, density = (None if x is None else _as_map(name, x) for name, x in
                                     (('fixations', fixations), ('negatives', negatives), ('density', density)))
    shape = (density if fixations is None else fixations).shape
    none = np.zeros(shape)
    fixations, negatives, density = (none if x is None else x for x in (fixations, negatives, density))
    if negatives.shape != shape:
        raise ValueError(f'fixations {shape} and negatives {negatives.shape} must have one shape [h, w]')
    rows = targets([np.flatnonzero(fixations)], [np.flatnonzero(negatives)], splits, [seed])
    with jax.enable_x64(True):
        fitted = _fit(saliency, shape)
        scores = score_batch(fitted[None], density[None], **rows, signed=saliency.min() < 0, step=step, metrics=(metric,))
        return float(scores[metric][0])


def _as_map(name, x):
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(f'{name} must be a map [h, w] of finite numbers, got shape {x.shape}')
    return x


def _fit(saliency, shape):
    if saliency.min() == saliency.max():
        return np.full(shape, saliency[0, 0])  # the weights' rounding would make it vary
    return saliency if saliency.shape == shape else np.asarray(resize(saliency, shape))


# ----------------------------------------------------------------------------------------------------------- batches of maps


def draw(count: int | np.integer, n: int | np.integer, splits: int, seed: int | Sequence[int]) -> Bool[np.ndarray, 'splits count']:
    """Which of `count` negatives each split draws, n of them without replacement; `seed` is one of `np.random.default_rng`."""
    # Floyd's algorithm for all splits at once: its time does not grow with count.
    last = np.arange(count - n, count)
    picks = np.random.default_rng(seed).integers(0, last[:, None] + 1, (n, splits))
    drawn, row = np.zeros(splits * count, bool), np.arange(splits) * count
    for j, pick in zip(last, picks, strict=True):
        drawn[row + np.where(drawn[row + pick], j, pick)] = True
    return drawn.reshape(splits, count)


def targets(fixated: Sequence[Int[np.ndarray, ' _']], negatives: Sequence[Int[np.ndarray, ' _']], splits: int = 100,
            seeds: Sequence[int | Sequence[int]] | None = None) -> dict[str, np.ndarray]:
    """The fixations and negatives of b frames as arguments of `score_batch`, made on the host.

    Args:
        fixated: the flat indices of each frame's fixated pixels.
        negatives: those of each frame's negatives.
        splits: see `shuffled_auc`.
        seeds: of each frame's draws, see `draw`; by default 0 to b - 1.
    Returns:
        A dict of `points` int32 [b, k] and `negatives` int32 [b, m], padded with -1 to powers of two (so that few sizes are
        compiled), and `weights` float64 [b, m], how often a negative is drawn: the weights of a frame that has both sum to 1.
    """
    weights = []
    for points, others, seed in zip(fixated, negatives, range(len(fixated)) if seeds is None else seeds, strict=True):
        n = min(len(points), len(others))
        weights.append(draw(len(others), n, splits, seed).sum(0) / (splits * max(n, 1)))
    return {'points': _pad(fixated, -1, np.int32), 'negatives': _pad(negatives, -1, np.int32), 'weights': _pad(weights, 0, np.float64)}


def _pad(rows, fill, dtype):
    longest = max([CHUNK, *map(len, rows)])
    padded = np.full((len(rows), 1 << (longest - 1).bit_length()), fill, dtype)
    for place, row in zip(padded, rows, strict=True):
        place[:len(row)] = row
    return padded


@functools.partial(jax.jit, static_argnames=('step', 'metrics'))
def score_batch(saliency: Float[AnyArray, 'b h w'], density: Float[AnyArray, 'b h w'], points: Int[AnyArray, 'b k'],
                negatives: Int[AnyArray, 'b m'], weights: Float[AnyArray, 'b m'], signed: bool | Bool[AnyArray, ''] | Bool[AnyArray, ' b'],
                step: float = 0.1, metrics: tuple[str, ...] = METRICS) -> dict[str, Float[AnyArray, ' b']]:
    """The scores of b maps by name; for their definitions see the functions of one map.

    In float32 they are within 1e-5 of those in float64, unless a value lies just at one of the thresholds of `shuffled_auc`.

    Args:
        saliency: at the ground truth's size; a constant map has to be constant to the bit.
        density: of the fixations.
        points, negatives, weights: see `targets`.
        signed: whether the maps, or each of them, had negative values before they were resized, for which `kl_div` is undefined.
        step: see `shuffled_auc`.
        metrics: names of the scores, those of `METRICS` or some of them.
    Raises:
        ValueError: the shapes do not fit.
    """
    if saliency.ndim != 3 or saliency.shape != density.shape:
        raise ValueError(f'saliency {saliency.shape} and density {density.shape} must have one shape [b, h, w]')
    b = len(saliency)
    if not points.shape[0] == negatives.shape[0] == b or weights.shape != negatives.shape:
        raise ValueError(f'points {points.shape}, negatives {negatives.shape} and weights {weights.shape} must be [{b}, k], '
                         f'[{b}, m] and [{b}, m]')
    p, q = saliency.reshape(b, -1), density.reshape(b, -1)
    (s, flat), (d, flat_density) = _min_max(p), _min_max(q)
    valid = points >= 0
    n, fixated = valid.sum(1), jnp.take_along_axis(p, points, 1)
    undefined_density = flat | flat_density | (_total(q) == 0)
    scores = {
        'auc_judd': (lambda: _auc_judd(p, jnp.where(valid, fixated, jnp.inf), n), n == 0),
        'shuffled_auc': (lambda: _shuffled_auc(_exact_min_max(fixated, p), valid, _exact_min_max(jnp.take_along_axis(p, negatives, 1), p),
                                               weights.astype(p.dtype), step), (n == 0) | flat | (weights.sum(1) == 0)),
        'nss': (lambda: _nss(s, jnp.take_along_axis(s, points, 1), valid), (n == 0) | flat),
        'cc': (lambda: _cc(s, d), undefined_density),
        'sim': (lambda: _total(jnp.minimum(_distribution(s), _distribution(d))), undefined_density),
        'kl_div': (lambda: _kl_div(p, q), (_total(q) == 0) | (q.min(1) < 0) | signed)}
    return {name: jnp.where(scores[name][1], jnp.nan, scores[name][0]()) for name in metrics}


def counts(fixated: Sequence[Int[np.ndarray, ' _']], negatives: Sequence[Int[np.ndarray, ' hw']], **_: Any) -> dict[str, np.ndarray]:
    """The fixations and negatives of b frames as arguments of `score_counts`, made on the host.

    Args:
        fixated: the flat indices of each frame's fixated pixels, a pixel as often as it is fixated.
        negatives: how often each pixel is a negative, for each frame.
    Returns:
        A dict of `points` int32 [b, k], what is given as `fixated`, padded with -1 to a power of two, and of `negatives` float32 [b, hw].
    """
    return {'points': _pad(fixated, -1, np.int32), 'negatives': np.asarray(negatives, np.float32)}


@functools.partial(jax.jit, static_argnames='metrics')
def score_counts(saliency: Float[AnyArray, 'b h w'], density: Float[AnyArray, 'b h w'], points: Int[AnyArray, 'b k'],
                 negatives: Float[AnyArray, 'b hw'], signed: bool | Bool[AnyArray, ''] | Bool[AnyArray, ' b'],
                 metrics: tuple[str, ...] = METRICS) -> dict[str, Float[AnyArray, ' b']]:
    """The scores of b maps by name, as pysaliency defines them; they differ from those of `score_batch` as follows.

    AUC is the exact Mann-Whitney statistic, ties counted half, of fixations against all pixels (`auc_judd`) or against all negatives
    (`shuffled_auc`), so that a constant map has 0.5; a pixel counts as often as it is fixated; `sim` divides the maps by their sums
    without min-max (a map with negative values is first raised to have its minimum at zero); `nss` divides by the population deviation (n).

    `points` and `negatives` are those of `counts`; the other arguments are as in `score_batch`.
    """
    b = len(saliency)
    p, q = saliency.reshape(b, -1), density.reshape(b, -1)
    (s, flat), (d, flat_density) = _min_max(p), _min_max(q)
    lifted = p - jnp.minimum(p.min(1, keepdims=True), 0)
    there, empty = points >= 0, _total(q) == 0
    n = there.sum(1).astype(p.dtype)  # times the pixels, it would not fit an int32
    lost = _lost(p, jnp.where(there, jnp.take_along_axis(p, points, 1), jnp.inf))
    scores = {
        'auc_judd': (lambda: 1 - _total(lost) / (2 * n * p.shape[1]), n == 0),
        'shuffled_auc': (lambda: 1 - _total(lost * negatives) / (2 * n * _total(negatives)), (n == 0) | (_total(negatives) == 0)),
        'nss': (lambda: (jnp.where(there, jnp.take_along_axis(s, points, 1), 0).sum(1) / n - s.mean(1)) / s.std(1), (n == 0) | flat),
        'cc': (lambda: _cc(s, d), flat | flat_density | empty),
        'sim': (lambda: _total(jnp.minimum(_distribution(lifted), _distribution(q))), empty | (_total(lifted) == 0)),
        'kl_div': (lambda: _kl_div(p, q), empty | (q.min(1) < 0) | signed)}
    return {name: jnp.where(scores[name][1], jnp.nan, scores[name][0]()) for name in metrics}


def _lost(s, fixated):
    """How often a fixation loses against each pixel of maps s [b, p], twice; a tie is half lost. Of values [b, k], padded with inf."""
    def compare(lost, values):
        return lost + _ranks(s, values).astype(s.dtype), None

    return jax.lax.scan(compare, jnp.zeros_like(s), _chunks(fixated))[0]


def _ranks(s, values):
    """How many of CHUNK values are below each pixel, and how many are not above it, together; an unrolled loop, as XLA then keeps a pixel
    in its register."""
    return sum((s > v[:, None]).astype(jnp.int32) + (s >= v[:, None]) for v in values)


def _chunks(fixated):
    return jnp.moveaxis(fixated.reshape(len(fixated), -1, CHUNK), 0, -1)


def _total(x):
    """Sums over the last axis; as a dot product, which adds in many lanes and so keeps float32's digits."""
    return jnp.einsum('bp,p->b', x, jnp.ones(x.shape[-1], x.dtype), precision='highest')


def _min_max(x):
    low, high = x.min(1, keepdims=True), x.max(1, keepdims=True)
    return (x - low) / jnp.where(high > low, high - low, 1), (high == low)[:, 0]


def _exact_min_max(x, maps):
    """Values x [b, n] of maps [b, p], min-max normalised by a true division: XLA replaces a division by a broadcast number with a
    product with its inverse, which puts the highest value, and values of 8-bit maps, just below a threshold that they are at."""
    low = maps.min(1, keepdims=True)
    return (x - low) / jax.lax.optimization_barrier(jnp.broadcast_to(maps.max(1, keepdims=True) - low, x.shape))


def _distribution(x):
    total = _total(x)[:, None]
    return x / jnp.where(total == 0, 1, total)


def _auc_judd(s, fixated, n):
    """Of maps s [b, p], values at their fixations [b, k], padded with inf, and the numbers of fixations n [b]."""
    def compare(total, values):
        return total + _ranks(s, values).sum(1).astype(s.dtype), None

    # Twice the pairs that a pixel wins; ties are half won.
    wins, _ = jax.lax.scan(compare, jnp.zeros(len(s), s.dtype), _chunks(fixated))
    lowest = fixated.min(1, keepdims=True)
    a = (fixated == lowest).sum(1)
    b = (s == lowest).sum(1) - a
    above = (s > lowest).sum(1) - (n - a)
    n, others = n.astype(s.dtype), (s.shape[1] - n).astype(s.dtype)
    # Among themselves the fixated pixels win n * n / 2 pairs.
    return 1 - (wins - n * n) / (2 * n * others) + (above + b * (a / (a + 1)).astype(s.dtype)) / others / (2 * n)


def _shuffled_auc(fixated, valid, negatives, weights, step):
    """Of values at the fixated pixels [b, k] and at the negatives [b, m]. The area is linear in fp, so fp is averaged over the draws."""
    thresholds = jnp.asarray(np.arange(math.floor(1 / step + 1e-9), -1, -1) * step, fixated.dtype)
    tp = ((fixated[..., None] >= thresholds) & valid[..., None]).sum(1) / valid.sum(1, keepdims=True)
    fp = ((negatives[..., None] >= thresholds) * weights[..., None]).sum(1)
    tp, fp = (jnp.pad(jnp.pad(x, ((0, 0), (1, 0))), ((0, 0), (0, 1)), constant_values=1) for x in (tp.astype(fp.dtype), fp))
    return (jnp.diff(fp, axis=1) * (tp[:, 1:] + tp[:, :-1])).sum(1) / 2


def _nss(s, fixated, valid):
    mean = _total(s)[:, None] / s.shape[1]
    deviation = jnp.sqrt(_total((s - mean)**2) / (s.shape[1] - 1))
    return jnp.where(valid, fixated - mean, 0).sum(1) / valid.sum(1) / deviation


def _cc(s, d):
    s, d = (x - _total(x)[:, None] / x.shape[1] for x in (s, d))
    return _total(s * d) / jnp.sqrt(_total(s * s) * _total(d * d))


def _kl_div(p, q):
    p, q = jnp.maximum(_distribution(p), 0), _distribution(q)
    return _total(q * jnp.log(EPS + q / (p + EPS)))
