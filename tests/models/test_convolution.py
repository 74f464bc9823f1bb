"""Convolutions with a backward pass of their own, against JAX's."""
import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from stanet_jax.models.convolution import Conv
from tests.variables import drawn


@pytest.mark.parametrize('kernel, strides, padding, shape, fields', [
    ((1, 1), 1, 'SAME', (2, 5, 7, 3), {}), ((4, 4), 4, 0, (2, 10, 13, 3), {}), ((4, 4), 2, 1, (2, 9, 12, 3), {}),
    ((3, 3), 1, 'SAME', (2, 5, 4, 3), {}), ((5, 5), 4, 2, (2, 14, 11, 1), {}), ((1, 3), 1, ((0, 0), (1, 1)), (2, 4, 6, 3), {}),
    ((3, 3), 1, 2, (2, 3, 3, 3), {}), ((1, 1), 2, 0, (2, 5, 6, 3), {}), ((3, 3), 1, 1, (5, 6, 3), {}),
    ((3, 3), 1, 2, (2, 7, 6, 3), {'kernel_dilation': 2}), ((3, 1), 1, 'SAME', (2, 7, 6, 3), {'kernel_dilation': 3}),
    ((3, 3), 2, 1, (2, 7, 6, 9), {'feature_group_count': 3}), ((1, 1), 1, 0, (2, 5, 4, 6), {'feature_group_count': 2}),
    ((3, 2), 1, (1, 2), (2, 7, 6, 4), {'feature_group_count': 2, 'kernel_dilation': (2, 3)}),
    ((3, 3), 1, 'SAME', (2, 5, 7, 6), {'feature_group_count': 6}), ((5, 5), 2, 'SAME', (2, 9, 8, 6), {'feature_group_count': 6}),
    ((5, 3), 1, 'SAME', (2, 7, 6, 6), {'feature_group_count': 6, 'kernel_dilation': (2, 1)})])
def test_values_and_gradients_are_those_of_nn_conv(kernel, strides, padding, shape, fields):
    x = np.float32(np.random.default_rng(0).normal(size=shape))
    ours, theirs = (conv(6, kernel, strides, padding=padding, **fields) for conv in (Conv, nn.Conv))

    def values_and_gradients(variables, x):
        def loss(conv, variables, x):
            y = conv.apply(variables, x)
            return (y ** 2).sum(), y
        return [jax.value_and_grad(functools.partial(loss, conv), (0, 1), has_aux=True)(variables, x) for conv in (ours, theirs)]

    found, expected = jax.jit(values_and_gradients)(drawn(theirs.init, x), x)
    np.testing.assert_allclose(found[0][1], expected[0][1], rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


def test_a_dilated_input_is_refused():
    with pytest.raises(ValueError, match='take nn.Conv'):
        Conv(6, (3, 3), input_dilation=2).init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
