"""`Conv`: `nn.Conv` with a faster backward pass on CPUs."""
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from stanet_jax.arrays import AnyArray

Pair = tuple[int, int]


def convolve(x: Float[AnyArray, 'b h w c'], kernel: Float[AnyArray, 'k m g d'], strides: Sequence[int],
             padding: str | Sequence[Pair], lhs_dilation: Sequence[int] = (1, 1), rhs_dilation: Sequence[int] = (1, 1),
             feature_group_count: int = 1, **general: Any) -> Float[AnyArray, 'b h2 w2 d']:
    """`jax.lax.conv_general_dilated` of images and a kernel over g = c / `feature_group_count` channels.

    Convolutions whose patches lie side by side (the stride is the kernel's size, without padding or dilation) are computed as one matrix
    product. Of the others, on a CPU, the kernel's gradient is computed as one matrix product for each tap. JAX computes it as a
    convolution whose window is the whole image, which takes longer on a CPU: up to ten times where images are small, and up to hundreds
    of times where there are groups. Depthwise convolutions, of one channel to a group, are computed as a sum over their taps, which XLA
    fuses into one loop; its own grouped convolution takes a CPU many times as long.

    Raises:
        ValueError: the input is dilated.
    """
    window = tuple((n - 1) * dilation + 1 for n, dilation in zip(kernel.shape[:2], rhs_dilation, strict=True))
    if {*lhs_dilation} != {1}:
        raise ValueError(f'a kernel {kernel.shape} on a dilated input: take nn.Conv')
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    padding, strides = tuple((before, after) for before, after in padding), tuple(strides)
    if strides == window == kernel.shape[:2] and not any(map(any, padding)) and feature_group_count == 1:
        return product(x, kernel, general.get('precision'))
    form: Callable[..., jax.Array] = functools.partial(
        jax.lax.conv_general_dilated, window_strides=strides, padding=padding, rhs_dilation=rhs_dilation,
        feature_group_count=feature_group_count, **general)
    if jax.default_backend() != 'cpu':
        return form(x, kernel)
    if feature_group_count == x.shape[-1] == kernel.shape[-1]:
        return depthwise(x, kernel, strides, padding, tuple(rhs_dilation))
    return by_taps(x, kernel, form, strides, padding, tuple(rhs_dilation), feature_group_count)


def product(x: Float[AnyArray, 'b h w c'], kernel: Float[AnyArray, 'k m c d'],
            precision: jax.lax.PrecisionLike = None) -> Float[AnyArray, 'b h//k w//m d']:
    """Convolves patches that lie side by side, as a matrix product; rows and columns beyond the last whole patch are dropped."""
    (k, m, _, d), (b, h, w, c) = kernel.shape, x.shape
    h, w = h // k, w // m
    patches = x[:, :h * k, :w * m].reshape(b, h, k, w, m, c).swapaxes(2, 3)
    return jnp.matmul(patches.reshape(b, h, w, -1), kernel.reshape(-1, d), precision=precision)


def depthwise(x: Float[AnyArray, 'b h w c'], kernel: Float[AnyArray, 'k m 1 c'], strides: Sequence[int], padding: Sequence[Pair],
              dilation: Sequence[int]) -> Float[jax.Array, 'b h2 w2 c']:
    """Convolves every channel with a kernel of its own, as a sum over the kernel's taps.

    Args:
        strides: of the window.
        padding: (before, after) of each axis.
        dilation: of the kernel.
    """
    x, (k, m) = jnp.pad(x, ((0, 0), *padding, (0, 0))), kernel.shape[:2]
    h, w = ((x.shape[axis + 1] - (n - 1) * dilation[axis] - 1) // strides[axis] + 1 for axis, n in enumerate((k, m)))

    def tap(i: int, j: int) -> jax.Array:
        rows = slice(i * dilation[0], i * dilation[0] + strides[0] * (h - 1) + 1, strides[0])
        columns = slice(j * dilation[1], j * dilation[1] + strides[1] * (w - 1) + 1, strides[1])
        return x[:, rows, columns] * kernel[i, j, 0]

    return sum((tap(i, j) for i in range(k) for j in range(m) if i or j), tap(0, 0))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5, 6))
def by_taps(x: Float[AnyArray, 'b h w c'], kernel: Float[AnyArray, 'k m g d'], form: Callable, strides: Pair, padding: tuple[Pair, Pair],
            dilation: Pair, groups: int) -> Float[jax.Array, 'b h2 w2 d']:
    """The convolution `form(x, kernel)`, with the kernel's gradient computed tap by tap.

    Args:
        form: `(x, kernel) -> y`, a convolution with the fields that follow.
        strides: of the window.
        padding: (before, after) of each axis.
        dilation: of the kernel.
        groups: of channels.
    """
    return form(x, kernel)


def _forward(x, kernel, form, *fields):
    return form(x, kernel), (x, kernel)


def _backward(form, strides, padding, dilation, groups, residuals, dy):
    (x, kernel), (_, h, w, d) = residuals, dy.shape
    dx, = jax.vjp(lambda x: form(x, kernel), x)[1](dy)
    x, dy = jnp.pad(x, ((0, 0), *padding, (0, 0))), dy.reshape(-1, groups, d // groups)

    def gradient(first):  # of the kernel's row whose windows begin in this row of x: [m, c / groups, d]
        rows = jax.lax.dynamic_slice_in_dim(x, first, strides[0] * (h - 1) + 1, axis=1)[:, ::strides[0]]
        taps = [rows[:, :, j:j + strides[1] * (w - 1) + 1:strides[1]] for j in range(0, kernel.shape[1] * dilation[1], dilation[1])]
        return jnp.stack([jnp.einsum('ngc,ngd->cgd', tap.reshape(-1, groups, tap.shape[-1] // groups), dy).reshape(-1, d) for tap in taps])

    firsts = jnp.arange(len(kernel)) * dilation[0]
    return dx, jax.lax.map(gradient, firsts).reshape(kernel.shape)  # one after the other, as every tap is a copy of the input


by_taps.defvjp(_forward, _backward)
Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)
