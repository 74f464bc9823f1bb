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
true ones, in NumPy; they are defined in `eps.metrics`, `resize` and `resize_matrix` in `evaluation.resizing`, and `draw`, `targets` and
`counts` in `evaluation.targets`.
"""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from stanet_jax.arrays import AnyArray
from stanet_jax.eps.metrics import boundary_counts, boundary_f1, boundary_scores, confusion_matrix, confusion_ratio, ious, mean_iou
from stanet_jax.evaluation.resizing import resize, resize_matrix
from stanet_jax.evaluation.targets import counts, draw, targets

__all__ = ['METRICS', 'auc_judd', 'boundary_counts', 'boundary_f1', 'boundary_scores', 'cc', 'confusion_matrix', 'confusion_ratio',
           'counts', 'draw', 'ious', 'kl_div', 'mean_iou', 'nss', 'resize', 'resize_matrix', 'score_batch', 'score_counts',
           'shuffled_auc', 'sim', 'targets']

METRICS = ('auc_judd', 'shuffled_auc', 'nss', 'cc', 'sim', 'kl_div')
EPS = 2.0 ** -52  # MATLAB's

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
    score = functools.partial(_score_map, step=step, metrics=metrics)
    return _each(score, saliency.reshape(b, -1), density.reshape(b, -1), points, negatives, weights, jnp.broadcast_to(signed, b))


def _score_map(p, q, points, negatives, weights, signed, step, metrics):
    (s, flat), (d, flat_density) = _min_max(p), _min_max(q)
    valid = points >= 0
    n, fixated = valid.sum(), p[points]
    undefined_density = flat | flat_density | (_total(q) == 0)
    scores = {
        'auc_judd': (lambda: _auc_judd(p, jnp.where(valid, fixated, jnp.inf), n), n == 0),
        'shuffled_auc': (lambda: _shuffled_auc(_exact_min_max(fixated, p), valid, _exact_min_max(p[negatives], p),
                                               weights.astype(p.dtype), step), (n == 0) | flat | (weights.sum() == 0)),
        'nss': (lambda: _nss(s, s[points], valid), (n == 0) | flat),
        'cc': (lambda: _cc(s, d), undefined_density),
        'sim': (lambda: _total(jnp.minimum(_distribution(s), _distribution(d))), undefined_density),
        'kl_div': (lambda: _kl_div(p, q), (_total(q) == 0) | (q.min() < 0) | signed)}
    return {name: jnp.where(scores[name][1], jnp.nan, scores[name][0]()) for name in metrics}


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
    score = functools.partial(_score_counted, metrics=metrics)
    return _each(score, saliency.reshape(b, -1), density.reshape(b, -1), points, negatives, jnp.broadcast_to(signed, b))


def _score_counted(p, q, points, negatives, signed, metrics):
    (s, flat), (d, flat_density) = _min_max(p), _min_max(q)
    lifted = p - jnp.minimum(p.min(), 0)
    there, empty = points >= 0, _total(q) == 0
    n = there.sum().astype(p.dtype)  # times the pixels, it would not fit an int32
    lost = _lost(p, jnp.where(there, p[points], jnp.inf))
    scores = {
        'auc_judd': (lambda: 1 - _total(lost) / (2 * n * len(p)), n == 0),
        'shuffled_auc': (lambda: 1 - _dot(lost, negatives) / (2 * n * _total(negatives)), (n == 0) | (_total(negatives) == 0)),
        'nss': (lambda: (jnp.where(there, s[points], 0).sum() / n - s.mean()) / s.std(), (n == 0) | flat),
        'cc': (lambda: _cc(s, d), flat | flat_density | empty),
        'sim': (lambda: _total(jnp.minimum(_distribution(lifted), _distribution(q))), empty | (_total(lifted) == 0)),
        'kl_div': (lambda: _kl_div(p, q), empty | (q.min() < 0) | signed)}
    return {name: jnp.where(scores[name][1], jnp.nan, scores[name][0]()) for name in metrics}


# ----------------------------------------------------------------------------------------------- parts, of one flat map s or p [p]


def _each(score, *frames):
    """What `score` gives for each of the frames: on a CPU one after the other, as the arrays of one fit its cache."""
    if jax.default_backend() == 'cpu':
        return jax.lax.map(lambda frame: score(*frame), frames)
    return jax.vmap(score)(*frames)


def _lost(s, fixated):
    """How often a fixation loses against each pixel, twice; a tie is half lost. Of values [k], padded with inf.

    A pixel's place among the sorted values is searched for by halving; more of them hardly take longer.
    """
    halvings = len(fixated).bit_length()
    values = jnp.pad(jnp.sort(fixated), (0, (1 << halvings) - 1 - len(fixated)), constant_values=jnp.inf)
    below = jnp.zeros(s.shape, jnp.int32)
    for half in (1 << k for k in reversed(range(halvings))):
        below += jnp.where(s > _at(values, below + half - 1), half, 0)
    not_above = jnp.searchsorted(values, values, side='right')
    here = jnp.minimum(below, len(values) - 1)
    return jnp.where(_at(values, here) == s, below + _at(not_above, here), 2 * below).astype(s.dtype)


def _at(values, places):
    return values.at[places].get(mode='promise_in_bounds')


def _dot(x, y):
    return jnp.dot(x, y, precision='highest')


def _total(x):
    """The sum; as a dot product, which adds in many lanes and so keeps float32's digits."""
    return _dot(x, jnp.ones(len(x), x.dtype))


def _min_max(x):
    low, high = x.min(), x.max()
    return (x - low) / jnp.where(high > low, high - low, 1), high == low


def _exact_min_max(x, p):
    """Values x of a map, min-max normalised as it is by a true division: XLA replaces a division by a broadcast number with a product
    with its inverse, which puts the highest value, and values of 8-bit maps, just below a threshold that they are at."""
    return (x - p.min()) / jax.lax.optimization_barrier(jnp.broadcast_to(p.max() - p.min(), x.shape))


def _distribution(x):
    total = _total(x)
    return x / jnp.where(total == 0, 1, total)


def _auc_judd(p, fixated, n):
    """Of a map, the values at its n fixations, padded with inf, and n."""
    wins = _total(_lost(p, fixated))  # twice the pairs that a pixel wins; ties are half won
    lowest = fixated.min()
    a = (fixated == lowest).sum()
    b = (p == lowest).sum() - a
    above = (p > lowest).sum() - (n - a)
    n, others = n.astype(p.dtype), (len(p) - n).astype(p.dtype)
    # Among themselves the fixated pixels win n * n / 2 pairs.
    return 1 - (wins - n * n) / (2 * n * others) + (above + b * (a / (a + 1)).astype(p.dtype)) / others / (2 * n)


def _shuffled_auc(fixated, valid, negatives, weights, step):
    """Of values at the fixated pixels [k] and at the negatives [m]. The area is linear in fp, so fp is averaged over the draws."""
    thresholds = jnp.asarray(np.arange(math.floor(1 / step + 1e-9), -1, -1) * step, fixated.dtype)
    if jax.default_backend() != 'cpu':  # a GPU's division rounds the last bit at times, also of a / a
        thresholds *= 1 - 4 * jnp.finfo(thresholds.dtype).eps
    tp = ((fixated[:, None] >= thresholds) & valid[:, None]).sum(0) / valid.sum()
    fp = ((negatives[:, None] >= thresholds) * weights[:, None]).sum(0)
    tp, fp = (jnp.pad(jnp.pad(x, (1, 0)), (0, 1), constant_values=1) for x in (tp.astype(fp.dtype), fp))
    return (jnp.diff(fp) * (tp[1:] + tp[:-1])).sum() / 2


def _nss(s, fixated, valid):
    mean = _total(s) / len(s)
    deviation = jnp.sqrt(_dot(s - mean, s - mean) / (len(s) - 1))
    return jnp.where(valid, fixated - mean, 0).sum() / valid.sum() / deviation


def _cc(s, d):
    s, d = (x - _total(x) / len(x) for x in (s, d))
    return _dot(s, d) / jnp.sqrt(_dot(s, s) * _dot(d, d))


def _kl_div(p, q):
    p, q = jnp.maximum(_distribution(p), 0), _distribution(q)
    return _dot(q, jnp.log(EPS + q / (p + EPS)))
