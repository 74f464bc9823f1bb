"""Bicubic resizing of maps as MATLAB does it."""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from stanet_jax.arrays import AnyArray

FEW = 8  # taps that are summed up one by one; of more, as where a map shrinks, a product with the matrix


@functools.lru_cache(256)
def resize_matrix(size: int, new: int) -> Float[np.ndarray, 'new size']:
    """The weights of MATLAB's `imresize` along one axis: bicubic (a = -0.5), widened when shrinking, symmetric border."""
    scale = new / size
    shrink = min(scale, 1)
    centre = (np.arange(new) + 0.5) / scale - 0.5
    taps = (np.floor(centre - 2 / shrink)[:, None] + np.arange(math.ceil(4 / shrink) + 2)).astype(int)
    x = np.abs((centre[:, None] - taps) * shrink)
    weights = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))
    weights /= weights.sum(1, keepdims=True)
    taps = taps % (2 * size)
    matrix = np.zeros((new, size))
    np.add.at(matrix, (np.arange(new)[:, None], np.minimum(taps, 2 * size - 1 - taps)), weights)
    matrix.flags.writeable = False  # it is shared
    return matrix


@functools.lru_cache(256)
def resize_taps(size: int, new: int) -> tuple[Int[np.ndarray, 'new t'], Float[np.ndarray, 'new t']]:
    """The rows of `resize_matrix` without most of their zeros: for each new place the t old ones that it is of, and their weights."""
    matrix = resize_matrix(size, new)
    taps = np.argsort(matrix == 0, axis=1, kind='stable')[:, :(matrix != 0).sum(axis=1).max()]
    weights = np.take_along_axis(matrix, taps, axis=1)
    taps.flags.writeable = weights.flags.writeable = False  # they are shared
    return taps, weights


def resize(maps: Float[AnyArray, '*lead h w'], shape: tuple[int, int]) -> Float[jax.Array, '*lead h2 w2']:
    """Maps resized to `shape` (h, w) as by MATLAB's `imresize`; untouched where that is their size."""
    resized = jnp.asarray(maps)
    for axis, new in zip((-2, -1), shape, strict=True):
        if resized.shape[axis] != new:
            resized = _resize_axis(resized, axis, new)
    return resized


def _resize_axis(maps, axis, new):
    places, weights = resize_taps(maps.shape[axis], new)
    weights = weights.astype(maps.dtype)
    if len(weights.T) > FEW:
        matrix = resize_matrix(maps.shape[axis], new).astype(maps.dtype)
        return jnp.moveaxis(jnp.einsum('ij,...j->...i', matrix, jnp.moveaxis(maps, axis, -1), precision='highest'), -1, axis)
    across = np.expand_dims(weights.T, -1) if axis == -2 else weights.T  # a row for each tap
    return sum(jnp.take(maps, tap, axis) * weight for tap, weight in zip(places.T, across, strict=True))
