"""Metrics of label maps (EPS Sec. 4 and 5.1), in NumPy."""
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int, Num

from stanet_jax.arrays import AnyArray


def confusion_matrix(pred: Num[AnyArray, '*shape'], target: Num[AnyArray, '*shape'], classes: int,
                     ignore: int = 255) -> Int[np.ndarray, 'c c']:
    """The number of pixels of each true label (rows) that are given each label (columns).

    Args:
        pred: labels from 0 to classes - 1.
        target: true labels, likewise, or `ignore` at pixels that do not count.
        classes: number of labels, background included.
        ignore: label of pixels to leave out.
    Raises:
        ValueError: the shapes differ, or a label is out of range.
    """
    pred, target = np.asarray(pred, np.int64), np.asarray(target, np.int64)
    if pred.shape != target.shape:
        raise ValueError(f'labels {pred.shape} and true labels {target.shape} must have one shape')
    pred, target = pred[target != ignore], target[target != ignore]
    if pred.size and (min(pred.min(), target.min()) < 0 or max(pred.max(), target.max()) >= classes):
        raise ValueError(f'labels from {min(pred.min(), target.min())} to {max(pred.max(), target.max())}: must be in [0, {classes})')
    return np.bincount(classes * target + pred, minlength=classes ** 2).reshape(classes, classes)


def ious(confusion: Int[np.ndarray, 'c c']) -> Float[np.ndarray, ' c']:
    """Intersection over union of each label, `TP / (TP + FP + FN)`, of a `confusion_matrix`; NaN for a label that does not occur."""
    hit = np.diag(confusion).astype(float)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)


def mean_iou(pred: Num[AnyArray, '*shape'], target: Num[AnyArray, '*shape'], classes: int, ignore: int = 255) -> float:
    """The mean of `ious` over the labels that occur in `pred` or `target`, of all pixels together; arguments as `confusion_matrix`."""
    return float(np.nanmean(ious(confusion_matrix(pred, target, classes, ignore))))


def confusion_ratio(pred: Num[AnyArray, '*shape'], target: Num[AnyArray, '*shape'], k: int, c: int) -> float:
    """`m_kc = FP_kc / TP_c` (EPS Sec. 5.1): the pixels of label k that are given label c, over the pixels of c that are given c.

    Infinity where no pixel of c is given c and some of k are; NaN where there are neither.
    """
    pred, target = np.asarray(pred), np.asarray(target)
    wrong, right = ((pred == c) & (target == label) for label in (k, c))
    return share(wrong.sum(), right.sum())


def share(part: int | np.integer, whole: int | np.integer) -> float:
    """`part / whole`; infinity where only `whole` is 0, NaN where both are."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return float(np.divide(float(part), float(whole)))


def label_edges(labels: Num[AnyArray, 'h w']) -> Bool[np.ndarray, 'h w']:
    """The pixels with another label above, below, left or right, which is where the Laplacian of some label's mask is not 0."""
    labels = np.asarray(labels)
    edges = np.zeros(labels.shape, bool)
    for a, b in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = labels[a] != labels[b]
        edges[a] |= differ
        edges[b] |= differ
    return edges


@dataclasses.dataclass(frozen=True)
class BoundaryScores:
    """How well predicted boundaries agree with the true ones; NaN where there are none to be matched.

    Attributes:
        recall: share of the true boundary pixels that are matched.
        precision: share of the predicted boundary pixels that are matched.
        f1: harmonic mean of both; 0 where both are 0.
    """
    recall: float
    precision: float
    f1: float


def boundary_counts(pred: Num[AnyArray, 'h w'], target: Num[AnyArray, 'h w'], tolerance: float, ignore: int = 255) -> Int[np.ndarray, '4']:
    """The numbers of true boundary pixels that are matched, of all true ones, of predicted ones that are matched, and of all predicted.

    Arguments and errors are those of `boundary_scores`, for one image. Counts may be summed over images and given to `boundary_f1`.
    """
    pred, target = np.asarray(pred), np.asarray(target)
    if pred.ndim != 2 or pred.shape != target.shape:
        raise ValueError(f'labels {pred.shape} and true labels {target.shape} must have one shape [h, w]')
    if (target == ignore).any() and not (target == ignore).all():  # ignored pixels take the label of the nearest other one
        target = target[tuple(scipy.ndimage.distance_transform_edt(target == ignore, return_distances=False, return_indices=True))]
    return edge_counts(label_edges(pred), label_edges(target), tolerance)


def edge_counts(found: Bool[np.ndarray, 'h w'], true: Bool[np.ndarray, 'h w'], tolerance: float) -> Int[np.ndarray, '4']:
    """The counts of `boundary_counts` of predicted and true boundary pixels, such as `voc.read_boundaries`; ValueError for two shapes."""
    if found.shape != true.shape:
        raise ValueError(f'boundaries {found.shape} and true boundaries {true.shape} must have one shape [h, w]')

    def matched(edges, others):  # how many of the edge pixels have one of the others within the tolerance
        return (scipy.ndimage.distance_transform_edt(~others)[edges] <= tolerance).sum() if others.any() else 0

    return np.array([matched(true, found), true.sum(), matched(found, true), found.sum()], np.int64)


def boundary_scores(pred: Num[AnyArray, 'h w'] | Sequence[Num[AnyArray, '_ _']],
                    target: Num[AnyArray, 'h w'] | Sequence[Num[AnyArray, '_ _']], tolerance: float = 3.0,
                    ignore: int = 255) -> BoundaryScores:
    """How well the boundaries between labels agree, whatever the labels are (EPS Sec. 5.1).

    Boundaries are `label_edges`, two pixels thick; a pixel is matched where a boundary pixel of the other map is within the tolerance.

    Args:
        pred: labels of an image, or of several, whose counts are summed.
        target: the true labels.
        tolerance: in pixels.
        ignore: label in `target` that is replaced by the nearest other one.
    Raises:
        ValueError: labels are not [h, w], or shapes differ.
    """
    pairs: Iterable[tuple[Any, Any]] = zip(pred, target, strict=True) if isinstance(pred, list | tuple) else [(pred, target)]
    return boundary_f1(sum((boundary_counts(p, t, tolerance, ignore) for p, t in pairs), np.zeros(4, np.int64)))


def boundary_f1(counts: Int[np.ndarray, '4']) -> BoundaryScores:
    """The scores that follow from `boundary_counts`, of one image or summed over several."""
    recall, precision = share(counts[0], counts[1]), share(counts[2], counts[3])
    f1 = 0.0 if recall + precision == 0 else 2 * recall * precision / (recall + precision)
    return BoundaryScores(recall, precision, f1)
