"""The fixations and negatives of frames as arrays for the metrics, made on the host."""
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

FEWEST = 31  # places for fixations and negatives; others are one less than a power of two, so that few sizes are compiled


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
    """The fixations and negatives of b frames as arguments of `metrics.score_batch`.

    Args:
        fixated: the flat indices of each frame's fixated pixels.
        negatives: those of each frame's negatives.
        splits: see `metrics.shuffled_auc`.
        seeds: of each frame's draws, see `draw`; by default 0 to b - 1.
    Returns:
        A dict of `points` int32 [b, k] and `negatives` int32 [b, m], padded with -1 (see `FEWEST`), and `weights` float64 [b, m], how
        often a negative is drawn: the weights of a frame that has both sum to 1.
    """
    weights = []
    for points, others, seed in zip(fixated, negatives, range(len(fixated)) if seeds is None else seeds, strict=True):
        n = min(len(points), len(others))
        weights.append(draw(len(others), n, splits, seed).sum(0) / (splits * max(n, 1)))
    return {'points': _pad(fixated, -1, np.int32), 'negatives': _pad(negatives, -1, np.int32), 'weights': _pad(weights, 0, np.float64)}


def counts(fixated: Sequence[Int[np.ndarray, ' _']], negatives: Sequence[Int[np.ndarray, ' hw']], **_: Any) -> dict[str, np.ndarray]:
    """The fixations and negatives of b frames as arguments of `metrics.score_counts`.

    Args:
        fixated: the flat indices of each frame's fixated pixels, a pixel as often as it is fixated.
        negatives: how often each pixel is a negative, for each frame.
    Returns:
        A dict of `points` int32 [b, k], what is given as `fixated`, padded with -1, and of `negatives` float32 [b, hw].
    """
    return {'points': _pad(fixated, -1, np.int32), 'negatives': np.asarray(negatives, np.float32)}


def _pad(rows, fill, dtype):
    longest = max([FEWEST, *map(len, rows)])
    padded = np.full((len(rows), (1 << longest.bit_length()) - 1), fill, dtype)
    for place, row in zip(padded, rows, strict=True):
        place[:len(row)] = row
    return padded
