"""`Conv`: `nn.Conv` with a backward pass that a CPU does faster."""
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


def convolve(x, kernel, strides, padding, lhs_dilation=(1, 1), rhs_dilation=(1, 1), feature_group_count=1, **general):
    """`jax.lax.conv_general_dilated` of [b, h, w, c] and [k, m, c / groups, d] -> [b, h', w', d]; ValueError where the input is dilated.

    Patches side by side, of one place or more, are a product of matrices and written so. Else, on a CPU, the kernel's gradient is
    a product for each of its taps: as the convolution that JAX makes of it, whose window is the whole picture, it takes longer, the
    most where the picture is small (up to ten times) or where there are groups (up to hundreds of times).
    """
    window = tuple((n - 1) * dilation + 1 for n, dilation in zip(kernel.shape[:2], rhs_dilation, strict=True))
    if {*lhs_dilation} != {1}:
        raise ValueError(f'a kernel {kernel.shape} on a dilated input: take nn.Conv')
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    padding, strides = tuple(map(tuple, padding)), tuple(strides)
    if strides == window == kernel.shape[:2] and not any(map(any, padding)) and feature_group_count == 1:
        return product(x, kernel)
    form = functools.partial(jax.lax.conv_general_dilated, window_strides=strides, padding=padding, rhs_dilation=rhs_dilation,
                             feature_group_count=feature_group_count, **general)
    if jax.default_backend() != 'cpu':
        return form(x, kernel)
    return by_taps(x, kernel, form, strides, padding, tuple(rhs_dilation), feature_group_count)


def product(x, kernel):
    """Convolves patches side by side: [b, h, w, c], [k, m, c, d] -> [b, h // k, w // m, d]; what is over of h and w is left out."""
    (k, m, _, d), (b, h, w, c) = kernel.shape, x.shape
    h, w = h // k, w // m
    patches = x[:, :h * k, :w * m].reshape(b, h, k, w, m, c).swapaxes(2, 3)
    return patches.reshape(b, h, w, -1) @ kernel.reshape(-1, d)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5, 6))
def by_taps(x, kernel, form, strides, padding, dilation, groups):
    """`form(x, kernel)`, a convolution, whose kernel's gradient is computed tap by tap."""
    return form(x, kernel)


def forward(x, kernel, form, *others):
    return form(x, kernel), (x, kernel)


def backward(form, strides, padding, dilation, groups, residuals, dy):
    (x, kernel), (_, h, w, d) = residuals, dy.shape
    dx, = jax.vjp(lambda x: form(x, kernel), x)[1](dy)
    x, dy = jnp.pad(x, ((0, 0), *padding, (0, 0))), dy.reshape(-1, groups, d // groups)

    def gradient(first):  # of the kernel's row whose windows begin in this row of x: [m, c / groups, d]
        rows = jax.lax.dynamic_slice_in_dim(x, first, strides[0] * (h - 1) + 1, axis=1)[:, ::strides[0]]
        taps = [rows[:, :, j:j + strides[1] * (w - 1) + 1:strides[1]] for j in range(0, kernel.shape[1] * dilation[1], dilation[1])]
        return jnp.stack([jnp.einsum('ngc,ngd->cgd', tap.reshape(-1, groups, tap.shape[-1] // groups), dy).reshape(-1, d) for tap in taps])

    firsts = jnp.arange(len(kernel)) * dilation[0]
    return dx, jax.lax.map(gradient, firsts).reshape(kernel.shape)  # one after the other, as every tap is a copy of the input


by_taps.defvjp(forward, backward)
Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)
