"""Accuracies of classifiers and of the audio switch, counted by hand."""
import numpy as np

from stanet_jax.stages.accuracy import Tallies, accuracy_by_kind, accuracy_table
from stanet_jax.stages.audio_switch import BalancedDraw, agreement


def test_accuracy_by_kind():
    clips = [{'kind': 'look', 'tags': [0]}, {'kind': 'sound', 'tags': [1]}, {'kind': 'look', 'tags': [1]}]
    tallies = Tallies(np.float32([3, 0, 2]), np.float32([4, 4, 2]), np.float32([[2.5, 1.5], [3, 1], [0.5, 1.5]]))
    found = accuracy_by_kind(tallies, clips)
    assert list(found) == ['all', 'look', 'sound'] and [row['count'] for row in found.values()] == [3, 2, 1]
    np.testing.assert_allclose([row['frames'] for row in found.values()], [5 / 10, 5 / 6, 0], rtol=1e-6)
    np.testing.assert_allclose([row['clips'] for row in found.values()], [2 / 3, 1, 0], rtol=1e-6)
    assert accuracy_table({'S': found}, 'test').splitlines()[2:] == [
        'all                    3  0.500 (0.667)', 'look                   2  0.833 (1.000)', 'sound                  1  0.000 (0.000)']


def test_agreement_by_kind():
    labels = [np.float32([1, 0]), np.float32([1])]
    answers = {(0, 0): 1, (0, 1): 1, (1, 0): 1}
    assert agreement(answers, labels) == {'all': 2 / 3}
    assert agreement(answers, labels, ['look', 'sound']) == {'all': 2 / 3, 'look': 0.5, 'sound': 1.0}


def test_both_labels_are_drawn_equally_often():
    labels = [np.float32([0, 1, 0]), np.float32([0, 0, 0, 1])]
    draw, rng = BalancedDraw(labels, 10), np.random.default_rng(0)
    for index in range(10):
        for clip, frame in (draw(index), draw(index, rng)):
            assert labels[clip][frame] == index % 2
    assert [draw(index) for index in (0, 2, 4, 6, 8)] == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]  # spread over the five frames of label 0
