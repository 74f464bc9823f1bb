"""Feature contrast: where the features of a pretrained encoder differ from what is usual in the picture.

It is ours, not the papers'. On real photographs the class activation maps of a few coarse tags say little of where people look, and
feature contrast says much (docs/real.md): the recipe `:real` and the method `heard_cam` weight one by the other. It takes neither tags nor
training; gaze was used to choose its form alone.
"""
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stanet_jax.arrays import AnyArray
from stanet_jax.scam import min_max

SIGMA, POWER, CENTRE = 0.025, 1.3, 0.35  # see `resize_and_blur` and `sharpen`


def feature_contrast(features: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b h w']:
    """The distance of each place's features from their mean over the picture, `|f(p) - mean_q f(q)|_2`."""
    x = jnp.asarray(features, jnp.float32)
    return jnp.sqrt(jnp.square(x - x.mean(axis=(1, 2), keepdims=True)).sum(axis=-1))


def resize_and_blur(maps: Float[AnyArray, 'b h w'], side: int, sigma: float) -> Float[jax.Array, 'b side side']:
    """Maps resized to side x side (cubic, antialiased where they shrink), blurred by a Gaussian and min-maxed.

    Args:
        maps: of any size and range.
        side: of the result.
        sigma: of the Gaussian, as a share of the side; what it has beyond the border is left out of the mean. 0 for none.
    """
    resized = jax.image.resize(jnp.asarray(maps), (len(maps), side, side), 'cubic')
    if sigma:
        apart = np.arange(side) - np.arange(side)[:, None]
        bell = np.exp(-(apart / (sigma * side))**2 / 2)
        bell = (bell / bell.sum(axis=1, keepdims=True)).astype(np.float32)
        resized = jnp.einsum('ij,bjk,lk->bil', bell, resized, bell, precision='highest')
    return min_max(resized)


def contrast(levels: Sequence[Float[AnyArray, 'b _ _ _']], side: int, sigma: float = SIGMA) -> Float[jax.Array, 'b side side']:
    """The product of the contrasts of an encoder's features at several strides, each resized and blurred; min-maxed again."""
    return min_max(functools.reduce(jnp.multiply, (resize_and_blur(feature_contrast(level), side, sigma) for level in levels)))


def sharpen(maps: Float[AnyArray, 'b h w'], power: float = POWER, centre: float = CENTRE) -> Float[jax.Array, 'b h w']:
    """Maps in [0, 1] to a power, times a Gaussian at the centre, where people look most; min-maxed.

    Args:
        maps: of any size.
        power: above 1 it leaves more of what is high.
        centre: sigma of the Gaussian, as a share of the height and of the width; 0 for none.
    """
    maps = jnp.power(maps, power)
    if centre:
        rows, columns = (np.exp(-((np.arange(n) + 0.5) / n - 0.5)**2 / (2 * centre**2)) for n in maps.shape[1:])
        maps = maps * np.outer(rows, columns).astype(np.float32)
    return min_max(maps)


def weigh(maps: Float[AnyArray, 'b h w'], contrasts: Float[AnyArray, 'b h w']) -> Float[jax.Array, 'b h w']:
    """Contrast, raised where a map of classes is high: `sharpen(Z((1 + map) * contrast))`; of an empty map the contrast alone."""
    return sharpen(min_max((1 + maps) * contrasts))
