"""`Conv`: `nn.Conv` with a backward pass that a CPU does faster, for the small nets that are trained on one."""
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


def convolve(x, kernel, strides, padding, lhs_dilation=(1,), rhs_dilation=(1,), feature_group_count=1, **general):
    """`jax.lax.conv_general_dilated` of [b, h, w, c] and [k, m, c, d] -> [b, h', w', d]; ValueError with dilation or groups.

    Patches side by side, of one place or more, are a product of matrices and written so. Else, on a CPU, the kernel's gradient is
    a product for each of its taps: as the convolution that JAX makes of it, whose window is the whole picture, it takes longer, the
    most (up to ten times) where the picture is small.
    """
    window = kernel.shape[:2]
    if {*lhs_dilation, *rhs_dilation, feature_group_count} != {1}:
        raise ValueError(f'a kernel {kernel.shape} with dilation or groups: take nn.Conv')
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    padding = tuple(map(tuple, padding))
    if tuple(strides) == window and not any(map(any, padding)):
        return product(x, kernel)
    form = functools.partial(jax.lax.conv_general_dilated, window_strides=strides, padding=padding, **general)
    return by_taps(x, kernel, form, strides, padding) if jax.default_backend() == 'cpu' else form(x, kernel)


def product(x, kernel):
    """Convolves patches side by side: [b, h, w, c], [k, m, c, d] -> [b, h // k, w // m, d]; what is over of h and w is left out."""
    (k, m, _, d), (b, h, w, c) = kernel.shape, x.shape
    h, w = h // k, w // m
    patches = x[:, :h * k, :w * m].reshape(b, h, k, w, m, c).swapaxes(2, 3)
    return patches.reshape(b, h, w, -1) @ kernel.reshape(-1, d)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def by_taps(x, kernel, form, strides, padding):
    """`form(x, kernel)`, a convolution, whose kernel's gradient is computed tap by tap."""
    return form(x, kernel)


def forward(x, kernel, form, strides, padding):
    return form(x, kernel), (x, kernel)


def backward(form, strides, padding, residuals, dy):
    (x, kernel), (_, h, w, d), (down, right) = residuals, dy.shape, strides
    dx, = jax.vjp(lambda x: form(x, kernel), x)[1](dy)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    taps = [x[:, i:i + down * (h - 1) + 1:down, j:j + right * (w - 1) + 1:right]
            for i in range(kernel.shape[0]) for j in range(kernel.shape[1])]
    return dx, jnp.stack([tap.reshape(-1, tap.shape[-1]).T @ dy.reshape(-1, d) for tap in taps]).reshape(kernel.shape)


by_taps.defvjp(forward, backward)
Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)
