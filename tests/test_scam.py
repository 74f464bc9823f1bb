"""Class activation maps against NumPy."""
import jax
import numpy as np
import pytest

from stanet_jax import scam


def test_min_max_of_each_map_and_of_a_constant_one():
    maps = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    maps[1, 1] = 7.3
    low, high = maps.min((2, 3), keepdims=True), maps.max((2, 3), keepdims=True)
    expected = (maps - low) / np.where(high > low, high - low, 1)
    np.testing.assert_allclose(jax.jit(scam.min_max)(maps), expected, atol=1e-6)
    assert not np.any(scam.min_max(maps)[1, 1])


def test_class_activation_is_the_mean_over_tags():
    rng = np.random.default_rng(1)
    maps, tags = rng.normal(size=(3, 4, 5, 6)), np.zeros((3, 6))
    tags[0, 2] = tags[1, [0, 5]] = 1  # one tag, two tags, none

    def z(x):
        return (x - x.min()) / (x.max() - x.min())
    expected = [z(maps[0, ..., 2]), (z(maps[1, ..., 0]) + z(maps[1, ..., 5])) / 2, np.zeros((4, 5))]
    np.testing.assert_allclose(jax.jit(scam.class_activation)(maps, tags), expected, atol=1e-6)


def test_soft_filter_is_equation_3():
    confidence = np.float32([[[.6, .3, .1], [.3, .6, .1], [.45, .45, .1]], [[.2, .5, .3], [.1, .2, .7], [.4, .2, .4]]])
    tags = np.float32([[1, 0, 0], [0, 1, 1]])
    expected = [[.6, 0, 0], [(.5 + .3) / 2, (.2 + .7) / 2, 0]]  # equal is not strictly better; several tags beat the others each
    np.testing.assert_allclose(jax.jit(scam.soft_filter)(confidence, tags), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r'\[b, s, c\]'):
        scam.soft_filter(confidence, tags[:, :2])


@pytest.mark.parametrize('sources', [1, 3, 11])
def test_scam_is_equation_2(sources):
    rng = np.random.default_rng(sources)
    cams, weights = rng.uniform(size=(4, sources, 6, 5)), rng.uniform(size=(4, sources))
    weights[0] = 0
    fused = ((cams * weights[:, :, None, None]).sum(1) + 1e-4) / (weights.sum(1)[:, None, None] + 1e-4)
    low, high = fused.min((1, 2), keepdims=True), fused.max((1, 2), keepdims=True)
    expected = (fused - low) / np.where(high > low, high - low, 1)
    np.testing.assert_allclose(jax.jit(scam.scam)(np.float32(cams), np.float32(weights)), expected, atol=2e-6)
    assert not expected[0].any()
    with pytest.raises(ValueError, match=r'\[b, s, h, w\]'):
        scam.scam(cams, weights[:2])
