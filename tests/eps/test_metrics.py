"""Measures of labels, against counts by hand."""
import dataclasses

import numpy as np
import pytest

from stanet_jax.eps.metrics import BoundaryScores, boundary_scores, confusion_matrix, confusion_ratio, ious, label_edges, mean_iou
from tests.signatures import unchecked

TRUE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 255, 1], [2, 2, 2, 255]])
PRED = np.array([[0, 1, 1, 1], [0, 0, 1, 0], [2, 0, 1, 1], [2, 2, 2, 0]])


def test_confusion_matrix_and_mean_iou():
    np.testing.assert_array_equal(confusion_matrix(PRED, TRUE, 4), [[3, 1, 0, 0], [1, 4, 0, 0], [1, 0, 4, 0], [0, 0, 0, 0]])
    expected = [3 / 6, 4 / 6, 4 / 5]  # of 0: three hit, one of it missed, two of others taken for it
    np.testing.assert_allclose(ious(confusion_matrix(PRED, TRUE, 4)), [*expected, np.nan])
    assert mean_iou(PRED, TRUE, 4) == pytest.approx(np.mean(expected))
    assert mean_iou(TRUE, TRUE, 3) == 1


def test_mean_iou_of_many_labels_against_a_plain_count():
    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 21, (2, 5, 30, 40))
    true[:, :3] = 255
    known = true != 255
    of = [((pred == k) & (true == k)).sum() / (((pred == k) | (true == k)) & known).sum() for k in range(21)]
    assert mean_iou(pred, true, 21) == pytest.approx(np.mean(of))


def test_labels_that_are_none_are_refused():
    with unchecked(), pytest.raises(ValueError, match='one shape'):
        mean_iou(PRED[:3], TRUE, 3)
    for bad in (PRED + 1, PRED - 1):
        with pytest.raises(ValueError, match=r'must be in \[0, 3\)'):
            mean_iou(bad, TRUE, 3)


def test_confusion_ratio():
    assert confusion_ratio(PRED, TRUE, k=0, c=1) == pytest.approx(1 / 4)
    assert confusion_ratio(PRED, TRUE, k=2, c=0) == pytest.approx(1 / 3)
    assert confusion_ratio(PRED, TRUE, k=2, c=1) == 0
    assert confusion_ratio(np.ones((2, 2)), np.zeros((2, 2)), k=0, c=1) == np.inf
    assert np.isnan(confusion_ratio(np.zeros((2, 2)), np.zeros((2, 2)), k=0, c=1))


def square(side, top, left, size, label=1):
    labels = np.zeros((side, side), np.uint8)
    labels[top:top + size, left:left + size] = label
    return labels


def laplacian_edges(labels):
    """Where any label's mask has a Laplacian that is not 0, the border continued."""
    found = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        mask = np.pad((labels == label).astype(int), 1, 'edge')
        found |= (4 * mask - np.roll(mask, 1, 0) - np.roll(mask, -1, 0) - np.roll(mask, 1, 1) - np.roll(mask, -1, 1))[1:-1, 1:-1] != 0
    return found


def test_edges_are_those_of_the_laplacian():
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 4, (6, 5)), np.ones((3, 4), int))
    np.testing.assert_array_equal(label_edges(labels), laplacian_edges(labels))
    assert label_edges(square(9, 3, 3, 3)).sum() == 8 + 12  # inside all but the middle, outside the four sides


def test_boundary_scores_count_what_is_near():
    true, moved = square(30, 10, 10, 8), square(30, 10, 14, 8)  # 4 pixels to the right
    assert boundary_scores(true, true) == BoundaryScores(1, 1, 1)
    assert boundary_scores(moved, true, tolerance=4) == BoundaryScores(1, 1, 1)
    assert boundary_scores(7 * true, true) == BoundaryScores(1, 1, 1)  # whatever the label
    a, b = np.argwhere(laplacian_edges(true)), np.argwhere(laplacian_edges(moved))
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    found = boundary_scores(moved, true, tolerance=1.5)
    recall, precision = (distance.min(1) <= 1.5).mean(), (distance.min(0) <= 1.5).mean()
    assert 0 < recall < 1
    f1 = 2 * recall * precision / (recall + precision)
    assert dataclasses.astuple(found) == pytest.approx((recall, precision, f1))


def test_boundary_scores_of_nothing_and_of_many():
    nothing, true = np.zeros((12, 12), np.uint8), square(12, 3, 3, 5)
    found = boundary_scores(nothing, true)
    assert found.recall == 0 and np.isnan(found.precision)
    both = boundary_scores([true, nothing], [true, true])
    assert dataclasses.astuple(both) == pytest.approx((.5, 1, 2 / 3))
    assert np.isnan(dataclasses.astuple(boundary_scores([], []))).all()


def test_ignored_pixels_take_the_nearest_label():
    true, blurred = square(20, 5, 5, 8), square(20, 5, 5, 8)
    ring = square(20, 4, 4, 10) - square(20, 6, 6, 6)
    blurred[ring > 0] = 255
    assert boundary_scores(true, blurred, tolerance=1).f1 == 1
