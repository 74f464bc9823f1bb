"""How well labels agree with the true ones (EPS Sec. 4 and 5.1), in NumPy."""
import numpy as np
import scipy.ndimage

# ------------------------------------------------------------------------------------------------------------------- labels


def confusion_matrix(pred, target, classes, ignore=255):
    """How many pixels of each true label (rows) were given each label (columns).

    Args:
        pred, target: integers, any one shape; labels from 0 to classes - 1, in `target` also `ignore`: such pixels do not count.
        classes: how many labels, background included.
    Returns:
        int64 [classes, classes]
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


def ious(confusion):
    """Intersection over union of each label, `TP / (TP + FP + FN)`, of a `confusion_matrix`; NaN for one that is nowhere."""
    hit = np.diag(confusion).astype(float)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)


def mean_iou(pred, target, classes, ignore=255):
    """The mean of `ious` over the labels that are in `pred` or `target` (over all pixels at once); see `confusion_matrix`. A float."""
    return float(np.nanmean(ious(confusion_matrix(pred, target, classes, ignore))))


def confusion_ratio(pred, target, k, c):
    """`m_kc = FP_kc / TP_c` (EPS Sec. 5.1): pixels of label k that are taken for c, over pixels of c that are found; any one shape.

    A float; infinity where none of c is found and some of k are taken for it, NaN where neither.
    """
    pred, target = np.asarray(pred), np.asarray(target)
    wrong, right = ((pred == c) & (target == of) for of in (k, c))
    return share(wrong.sum(), right.sum())


def share(part, whole):
    with np.errstate(divide='ignore', invalid='ignore'):
        return float(np.divide(float(part), float(whole)))


def label_edges(labels):
    """Where the Laplacian of a label's mask is not 0: pixels that have another label above, below, left or right. [h, w] -> bool."""
    labels = np.asarray(labels)
    found = np.zeros(labels.shape, bool)
    for a, b in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = labels[a] != labels[b]
        found[a] |= differ
        found[b] |= differ
    return found


def boundary_counts(pred, target, tolerance, ignore=255):
    """What `boundary_scores` sums over images: true edge pixels that are met, true ones, predicted ones that are met, predicted ones."""
    pred, target = np.asarray(pred), np.asarray(target)
    if pred.ndim != 2 or pred.shape != target.shape:
        raise ValueError(f'labels {pred.shape} and true labels {target.shape} must have one shape [h, w]')
    if (target == ignore).any() and not (target == ignore).all():  # the ignored take the label of the nearest that is not
        target = target[tuple(scipy.ndimage.distance_transform_edt(target == ignore, return_distances=False, return_indices=True))]
    found, true = label_edges(pred), label_edges(target)

    def near(these, those):  # how many of these have one of those within the tolerance
        return (scipy.ndimage.distance_transform_edt(~those)[these] <= tolerance).sum() if those.any() else 0

    return np.array([near(true, found), true.sum(), near(found, true), found.sum()], np.int64)


def boundary_scores(pred, target, tolerance=3.0, ignore=255):
    """How well the boundaries between labels are met, whatever the labels are (EPS Sec. 5.1).

    Boundaries are `label_edges`, two pixels thick; one of them is met where one of the other's is within the tolerance.

    Args:
        pred, target: labels [h, w]; or lists of them, image by image, whose counts are summed.
        tolerance: in pixels.
        ignore: label in `target` that stands for the nearest other one.
    Returns:
        `recall` (the share of true boundary pixels that are met), `precision` (of predicted ones) and their `f1`: a dict of floats; NaN
        where there is nothing to meet or to be right.
    Raises:
        ValueError: not [h, w], or shapes that differ.
    """
    pairs = zip(pred, target, strict=True) if isinstance(pred, list | tuple) else [(pred, target)]
    return boundary_f1(sum((boundary_counts(p, t, tolerance, ignore) for p, t in pairs), np.zeros(4, np.int64)))


def boundary_f1(counts):
    """`boundary_counts`, summed -> as `boundary_scores`."""
    recall, precision = share(counts[0], counts[1]), share(counts[2], counts[3])
    f1 = 0.0 if recall + precision == 0 else 2 * recall * precision / (recall + precision)
    return {'recall': recall, 'precision': precision, 'f1': f1}
