"""Maps without training, as pure functions: what an encoder of ImageNet sees, weighted by what YAMNet hears."""
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from stanet_jax import scam
from stanet_jax.arrays import AnyArray


def loudest_sounds(heard: Float[AnyArray, 'b sounds'], table: Bool[AnyArray, 'sounds classes']) -> Float[jax.Array, 'b classes']:
    """The probability of the loudest of the sounds that each image class makes; 0 for a class that makes none.

    Args:
        heard: probabilities of the sound classes.
        table: which image classes make a sound.
    """
    return jnp.where(table, heard[:, :, None], 0).max(axis=1)


def heard_weights(probabilities: Float[AnyArray, 'b classes'], heard: Float[AnyArray, 'b sounds'],
                  table: Bool[AnyArray, 'sounds classes'], gain: float, threshold: float) -> Float[jax.Array, 'b classes']:
    """The weights of image classes: each one's probability, times `1 + gain * (the loudest of its sounds)`.

    Classes that are neither seen nor heard above the threshold are left out, as the soft filter does (Eq. 3): they have the weight 0.

    Args:
        probabilities: of the image classes.
        heard: probabilities of the sound classes; zeros where there is no sound.
        table: which image classes make a sound.
        gain: how much more a class counts that is heard for certain.
        threshold: of both probabilities.
    """
    loudest = loudest_sounds(heard, table)
    kept = jnp.maximum(probabilities, loudest) > threshold
    return jnp.where(kept, probabilities * (1 + gain * loudest), 0)


def heard_cam(features: Float[AnyArray, 'b h w c'], kernel: Float[AnyArray, 'c classes'],
              weights: Float[AnyArray, 'b classes']) -> Float[jax.Array, 'b h w']:
    """The class activation map of weighted classes, min-maxed.

    Global average pooling and a linear head commute (Eq. 1), and so do the head and the sum over classes: it is one map of the weighted
    mean of the classes' kernels. Without any weight it is zeros.

    Args:
        features: those that are pooled for the head.
        kernel: of the head.
        weights: of the classes.
    """
    total = weights.sum(axis=1, keepdims=True)
    mean = jnp.einsum('bk,ck->bc', weights / jnp.where(total > 0, total, 1), kernel, precision='highest')
    return scam.min_max(jnp.einsum('bhwc,bc->bhw', features, mean, precision='highest'))


def combine(cam: Float[AnyArray, 'b h w'], base: Float[AnyArray, 'b h w'], weight: Float[AnyArray, ' b']) -> Float[jax.Array, 'b h w']:
    """The map of classes laid over one that knows none, `(1 + weight * cam) * base`, min-maxed.

    Args:
        cam: the map of classes.
        base: the other.
        weight: of the map of classes, the sum of its classes' weights; 0 where no class is left, and then the other map stays.
    """
    return scam.min_max((1 + weight[:, None, None] * cam) * base)


def mean_over_time(maps: Float[AnyArray, 'n h w'], weights: Float[AnyArray, 'b n']) -> Float[jax.Array, 'b h w']:
    """The weighted means of n maps, for each of b moments."""
    return jnp.einsum('bn,nhw->bhw', weights, maps, precision='highest')
