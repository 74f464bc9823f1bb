"""Feature contrast against NumPy in float64."""
import functools

import jax
import numpy as np

from stanet_jax import contrast


def both(function):
    return function, jax.jit(function)


def min_max(x):
    low, high = x.min(axis=(-2, -1), keepdims=True), x.max(axis=(-2, -1), keepdims=True)
    return (x - low) / (high - low)


def plain_blur(maps, side, sigma):
    """Resized by JAX, then each row and column a weighted mean of all."""
    maps = np.float64(jax.image.resize(np.float32(maps), (len(maps), side, side), 'cubic'))
    bell = np.array([[np.exp(-((i - j) / (sigma * side))**2 / 2) for j in range(side)] for i in range(side)])
    bell /= bell.sum(1, keepdims=True)
    return min_max(np.stack([bell @ of @ bell.T for of in maps]))


def test_contrast_of_several_levels():
    rng = np.random.default_rng(6)
    levels = [rng.normal(size=(2, 12, 10, 5)), rng.normal(size=(2, 6, 5, 7))]
    contrasts = [np.array([[[np.linalg.norm(x[b, i, j] - x[b].mean((0, 1))) for j in range(x.shape[2])] for i in range(x.shape[1])]
                           for b in range(2)]) for x in levels]
    for run in both(contrast.feature_contrast):
        np.testing.assert_allclose(run(np.float32(levels[0])), contrasts[0], rtol=1e-5)
    expected = min_max(plain_blur(contrasts[0], 16, 0.1) * plain_blur(contrasts[1], 16, 0.1))
    for run in both(functools.partial(contrast.contrast, side=16, sigma=0.1)):
        np.testing.assert_allclose(run([np.float32(x) for x in levels]), expected, atol=1e-4)
    np.testing.assert_allclose(contrast.resize_and_blur(np.float32(contrasts[0]), 12, 0.0)[0, 0, 0],
                               min_max(np.float64(jax.image.resize(np.float32(contrasts[0]), (2, 12, 12), 'cubic')))[0, 0, 0], atol=1e-5)


def test_the_centre_counts_more():
    maps = np.random.default_rng(7).random((2, 4, 6))
    bell = [np.exp(-((np.arange(n) + 0.5) / n - 0.5)**2 / (2 * 0.35**2)) for n in (4, 6)]
    for run in both(functools.partial(contrast.sharpen, power=1.3, centre=0.35)):
        np.testing.assert_allclose(run(np.float32(maps)), min_max(maps**1.3 * np.outer(*bell)), atol=1e-6)
    np.testing.assert_allclose(contrast.sharpen(np.float32(maps), 1.0, 0.0), min_max(maps), atol=1e-6)


def test_a_map_of_classes_weighs_contrast():
    rng = np.random.default_rng(8)
    maps, contrasts = rng.random((2, 2, 5, 4))
    bell = [np.exp(-((np.arange(n) + 0.5) / n - 0.5)**2 / (2 * 0.35**2)) for n in (5, 4)]
    for run in both(contrast.weigh):
        np.testing.assert_allclose(run(np.float32(maps), np.float32(contrasts)),
                                   min_max(min_max((1 + maps) * contrasts)**1.3 * np.outer(*bell)), atol=1e-5)
