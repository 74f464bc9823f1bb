"""The losses against NumPy in float64."""
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from stanet_jax import losses
from tests.signatures import unchecked


class MultilabelSoftMargin(chex.TestCase):

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(0, 1, 2)
    def test_is_equation_7(self, seed):
        rng = np.random.default_rng(seed)
        logits, labels = rng.normal(0, 5, (6, 28)), rng.integers(0, 2, (6, 28))
        p = 1 / (1 + np.exp(-logits))
        expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(1)
        result = self.variant(losses.multilabel_soft_margin)(jnp.float32(logits), jnp.float32(labels))
        chex.assert_shape(result, (6,))
        np.testing.assert_allclose(result, expected, rtol=2e-5)

    def test_is_finite_at_large_logits(self):
        result = losses.multilabel_soft_margin(jnp.array([[1e4, -1e4]]), jnp.array([[0., 1.]]))
        np.testing.assert_allclose(result, [1e4])


def test_softmax_cross_entropy():
    rng = np.random.default_rng(6)
    logits, labels = rng.normal(0, 5, (5, 9)), rng.integers(0, 2, (5, 9))
    labels[0], labels[1] = 0, np.eye(9)[4]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = [-sum(np.log(p[i, k]) for k in np.flatnonzero(row)) / max(row.sum(), 1) for i, row in enumerate(labels)]
    np.testing.assert_allclose(jax.jit(losses.softmax_cross_entropy)(np.float32(logits), np.float32(labels)), expected, rtol=2e-5)
    with unchecked(), pytest.raises(ValueError, match='one shape'):
        losses.softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros((2, 4)))


def test_other_shapes_are_refused():
    with unchecked(), pytest.raises(ValueError, match='one shape'):
        losses.multilabel_soft_margin(jnp.zeros((2, 3)), jnp.zeros((2, 4)))
    with unchecked(), pytest.raises(ValueError, match='one shape'):
        losses.multilabel_soft_margin(jnp.zeros(3), jnp.zeros(3))


class MapLosses(chex.TestCase):
    """Both terms of Eq. 17."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_binary_cross_entropy(self):
        rng = np.random.default_rng(3)
        logits, target = rng.normal(0, 3, (4, 7, 9)), rng.uniform(size=(4, 7, 9))
        p = 1 / (1 + np.exp(-logits))
        expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean((1, 2))
        np.testing.assert_allclose(self.variant(losses.binary_cross_entropy)(logits, target), expected, rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    def test_kl_divergence(self):
        rng = np.random.default_rng(4)
        pred, target = rng.uniform(.01, 1, (4, 7, 9)), rng.uniform(size=(4, 7, 9))
        target[0, :3], target[3] = 0, 0
        p = pred / pred.sum((1, 2), keepdims=True)
        q = target / np.maximum(target.sum((1, 2), keepdims=True), 1e-300)
        expected = (q * np.log(np.where(q > 0, q, 1) / p)).sum((1, 2))
        found = self.variant(losses.kl_divergence)(pred, target)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert found[3] == 0

    def test_shapes(self):
        for loss in (losses.binary_cross_entropy, losses.kl_divergence):
            with unchecked(), pytest.raises(ValueError, match='one shape'):
                loss(np.zeros((2, 3, 4)), np.zeros((2, 4, 3)))
