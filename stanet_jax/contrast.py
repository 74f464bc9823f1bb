"""Feature contrast: where the features of a pretrained encoder differ from what is usual in the picture.

It is ours, not the papers'. On real photographs the class activation maps of a few coarse tags say little of where people look, and
feature contrast says much (docs/real.md); the recipe `:real` weights one by the other. It needs neither tags nor training, and no gaze was
used but to choose its form.
"""
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from stanet_jax.arrays import AnyArray
from stanet_jax.scam import min_max

BLUR, CENTRE = 0.02, 0.35  # sigmas, as shares of each side


def feature_contrast(features: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b h w']:
    """The distance of each place's features from their mean over the picture: `|f(p) - mean_q f(q)|_2`."""
    x = jnp.asarray(features, jnp.float32)
    return jnp.sqrt(((x - x.mean(axis=(1, 2), keepdims=True)) ** 2).sum(axis=-1))


def gaussian(size: int, sigma: float) -> Float[jax.Array, ' n']:
    """A Gaussian about the middle of `size` places, 1 there; sigma as a share of the size."""
    return jnp.exp(-((jnp.arange(size) + 0.5) / size - 0.5) ** 2 / (2 * sigma ** 2))


def blur(maps: Float[AnyArray, 'b h w'], sigma: float = BLUR) -> Float[jax.Array, 'b h w']:
    """Maps smoothed by a Gaussian, sigma as a share of each side; at the borders over what is inside."""
    def weights(size):
        distance = (jnp.arange(size)[:, None] - jnp.arange(size)) / size
        of = jnp.exp(-distance ** 2 / (2 * sigma ** 2))
        return of / of.sum(axis=1, keepdims=True)
    return jnp.einsum('yh,bhw,xw->byx', weights(maps.shape[1]), maps, weights(maps.shape[2]), precision='highest')


def contrast(levels: Sequence[Float[AnyArray, 'b _h _w _c']], shape: tuple[int, int], centre: float = CENTRE) -> Float[jax.Array, 'b h w']:
    """The contrast of pictures at several levels of an encoder: `Z(g * prod_l Z(D_l))`, in [0, 1].

    `D_l` is the smoothed `feature_contrast` of a level, `g` a Gaussian about the centre, where people look most.

    Args:
        levels: features of the same pictures.
        shape: (h, w) of the maps.
        centre: sigma of `g`, as a share of each side; 0 leaves it out.
    """
    def level(features):
        maps = jax.image.resize(feature_contrast(features), (len(features), *shape), 'bilinear')
        return min_max(blur(maps))

    product = jnp.prod(jnp.stack([level(features) for features in levels]), axis=0)
    return min_max(product * gaussian(shape[0], centre)[:, None] * gaussian(shape[1], centre) if centre else product)


def weigh(maps: Float[AnyArray, '*lead h w'], contrasts: Float[AnyArray, '*lead h w']) -> Float[jax.Array, '*lead h w']:
    """Contrast, raised where a map is high: `Z((1 + map) * contrast)`; of an empty map it is the contrast itself."""
    return min_max((1 + maps) * contrasts)
