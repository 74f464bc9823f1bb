"""How many frames per second are scored, compared to NumPy code in float64 that follows the definitions.

    python -m benchmarks.metrics --frames=32

Measures the five metrics of the papers' tables under the protocol `stavis`, with its preprocessing and draws, on 640x360 frames with 50
fixations and 500 negatives, for maps of that size and of half of it, and prints the medians of alternating rounds. Both get the same
maps and draws, and their scores have to agree. The target is at least 8 times as many frames per second on two cores.
"""
import argparse
import os
import statistics
import time

import jax
import numpy as np
import scipy.ndimage

from stanet_jax.evaluation import metrics, protocols, scoring
from stanet_jax.evaluation.resizing import resize_matrix

FIVE = metrics.METRICS[:5]
ROUNDS = 5
FIXATIONS, NEGATIVES, SPLITS = 50, 500, 100

# -------------------------------------------------------------------------- the definitions, one map at a time (float64 [h, w])


def min_max(x):
    """A map scaled to [0, 1]."""
    return (x - x.min()) / (x.max() - x.min())


def prepare(saliency, shape):
    """A map blurred and resized as the protocol `stavis` does."""
    saliency = scipy.ndimage.gaussian_filter(min_max(saliency), 2, truncate=3, mode='reflect')
    if saliency.shape == shape:
        return saliency
    rows, columns = (resize_matrix(size, new) for size, new in zip(saliency.shape, shape, strict=True))
    return rows @ saliency @ columns.T


def auc_judd(saliency, fixations):
    """AUC after Judd: each fixated pixel against all others."""
    values, others = saliency[fixations], saliency[~fixations]
    n, wins = len(values), 0
    for value in values:
        wins += (value > others).sum() + 0.5 * (value == others).sum()
    a, b = (values == values.min()).sum(), (others == values.min()).sum()
    lowest_fp = ((others > values.min()).sum() + b * a / (a + 1)) / len(others)
    return wins / (n * len(others)) + lowest_fp / (2 * n)


def shuffled_auc(saliency, fixations, negatives, drawn, step=0.1):
    """Shuffled AUC, the mean over random splits of the negatives; `drawn` bool [splits, negatives] says which each split has."""
    saliency = min_max(saliency)
    values, others, areas = saliency[fixations], saliency[negatives], []
    for split in drawn:
        tp, fp = [0], [0]
        for threshold in np.arange(int(1 / step + 1e-9), -1, -1) * step:
            tp.append((values >= threshold).mean())
            fp.append((others[split] >= threshold).mean())
        areas.append(np.trapezoid(tp + [1], fp + [1]))
    return np.mean(areas)


def nss(saliency, fixations):
    """Normalised scanpath saliency."""
    return ((saliency - saliency.mean()) / saliency.std(ddof=1))[fixations].mean()


def cc(saliency, density):
    """Pearson's correlation coefficient."""
    return np.corrcoef(saliency.ravel(), density.ravel())[0, 1]


def sim(saliency, density):
    """Histogram intersection of the two distributions."""
    saliency, density = min_max(saliency), min_max(density)
    return np.minimum(saliency / saliency.sum(), density / density.sum()).sum()


def kl_div(saliency, density):
    """Kullback-Leibler divergence of the density from the map."""
    saliency, density = saliency / saliency.sum(), density / density.sum()
    return (density * np.log(2**-52 + density / (saliency + 2**-52))).sum()


# ---------------------------------------------------------------------------------------------------------------- the two sides


def plain(maps, density, fixations, negatives):
    """The five scores of each frame, one frame after the other."""
    scores = []
    for k, (map_, of_density, fixated, others) in enumerate(zip(maps, density, fixations, negatives, strict=True)):
        saliency, of_density = prepare(np.float64(map_), fixated.shape), np.float64(of_density)
        drawn = metrics.draw(others.sum(), min(fixated.sum(), others.sum()), SPLITS, k)
        scores.append([auc_judd(saliency, fixated), shuffled_auc(saliency, fixated, others, drawn), nss(saliency, fixated),
                       cc(saliency, of_density), sim(saliency, of_density)])
    return np.transpose(scores)


def batched(maps, density, fixations, negatives):
    """The five scores of each frame, in batches as `scoring.score_video` computes them."""
    protocol, scores = protocols.PROTOCOLS['stavis'], []
    for start in range(0, len(maps), scoring.BATCH):
        batch = slice(start, start + scoring.BATCH)
        fixated, others = ([np.flatnonzero(x) for x in masks[batch]] for masks in (fixations, negatives))
        rows = metrics.targets(fixated, others, SPLITS, range(start, start + len(fixated)))
        prepared = protocol.prepare(maps[batch], density.shape[1:])
        scores.append(metrics.score_batch(prepared, density[batch], **rows, signed=False, metrics=FIVE))
    return np.concatenate([[x[name] for name in FIVE] for x in scores], axis=1)


def frames(n, shape, size, rng):
    """n smooth maps of `size`, densities, fixations and negatives of `shape`."""
    fixations, negatives = np.zeros((2, n, shape[0] * shape[1]), bool)
    for k in range(n):
        pixels = rng.permutation(shape[0] * shape[1])[:FIXATIONS + NEGATIVES]
        fixations[k, pixels[:FIXATIONS]], negatives[k, pixels[FIXATIONS:]] = True, True
    fixations, negatives = fixations.reshape(n, *shape), negatives.reshape(n, *shape)
    density = scipy.ndimage.gaussian_filter(np.float32(fixations), (0, 18, 18))
    maps = scipy.ndimage.gaussian_filter(rng.random((n, *size), np.float32), (0, 9, 9))
    return maps, density / density.max((1, 2), keepdims=True), fixations, negatives


def measure(size, shape, n):
    """The rates (plain, batched) in frames per second; AssertionError where the scores differ."""
    data, times = frames(n, shape, size, np.random.default_rng(0)), {plain: [], batched: []}
    batched(*data)  # compiles
    for _ in range(ROUNDS):
        results = []
        for run in times:
            start = time.perf_counter()
            results.append(run(*data))
            times[run].append((time.perf_counter() - start) / n)
        np.testing.assert_allclose(*results, atol=1e-4)
    return [1 / statistics.median(seconds) for seconds in times.values()]


def main():
    """Measures both sizes of maps and prints a table."""
    parser = argparse.ArgumentParser(description='Measures how fast saliency maps are scored.')
    parser.add_argument('--frames', type=int, default=32, help='to score in a round')
    parser.add_argument('--height', type=int, default=360)
    parser.add_argument('--width', type=int, default=640)
    args = parser.parse_args()
    shape = args.height, args.width
    print(f'{os.cpu_count()} cores, JAX {jax.__version__}, {jax.devices()[0].device_kind}; frames of {shape[1]}x{shape[0]} a second; '
          'batched / plain must be at least 8')
    print(f'{"predicted":12}{"plain":>10}{"batched":>10}{"ratio":>8}', flush=True)
    for size in (shape, (shape[0] // 2, shape[1] // 2)):
        slow, fast = measure(size, shape, args.frames)
        print(f'{f"{size[1]}x{size[0]}":12}{slow:10.1f}{fast:10.1f}{fast / slow:8.2f}', flush=True)


if __name__ == '__main__':
    main()
