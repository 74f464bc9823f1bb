"""Maps without training, as pure functions: what an encoder of ImageNet sees, weighted by what YAMNet hears."""
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from stanet_jax import scam
from stanet_jax.arrays import AnyArray

COMBINATIONS = ('alone', 'times', 'beside')  # of the map of classes and what it is laid over


def feature_sum(features: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b h w']:
    """The plain sum of an encoder's features over their channels, min-maxed."""
    return scam.min_max(features.sum(axis=-1))


def contrast(features: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b h w']:
    """How far the features of each place are from their mean over the picture: the Euclidean distance over the channels."""
    return jnp.sqrt(jnp.square(features - features.mean(axis=(1, 2), keepdims=True)).sum(axis=-1))


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
    return scam.min_max(resized)


def feature_contrast(features: Sequence[Float[AnyArray, 'b _ _ _']], side: int, sigma: float) -> Float[jax.Array, 'b side side']:
    """The product of the contrasts of an encoder's features of several strides, each resized and blurred, min-maxed again."""
    found = functools.reduce(jnp.multiply, (resize_and_blur(contrast(level), side, sigma) for level in features))
    return scam.min_max(found)


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


def combine(cam: Float[AnyArray, 'b h w'], base: Float[AnyArray, 'b h w'], weight: Float[AnyArray, ' b'], how: str,
            share: float = 1.0) -> Float[jax.Array, 'b h w']:
    """The map of classes with one that knows none, min-maxed.

    Args:
        cam: the map of classes.
        base: the other.
        weight: of the map of classes, the sum of its classes' weights; 0 where no class is left, and then the other map stays.
        how: 'times', `(share + weight * cam) * base`; 'beside', `share * base + weight * cam`; or 'alone', `cam`.
        share: see `how`.
    Raises:
        ValueError: another word.
    """
    if how not in COMBINATIONS:
        raise ValueError(f'Unknown combination {how!r}. Choose one of: {", ".join(COMBINATIONS)}.')
    weight = weight[:, None, None]
    found = {'alone': cam, 'times': (share + weight * cam) * base, 'beside': share * base + weight * cam}[how]
    return scam.min_max(jnp.where(weight > 0, found, base))


def sharpen(maps: Float[AnyArray, 'b h w'], power: float, sigma: float) -> Float[jax.Array, 'b h w']:
    """Maps in [0, 1] to a power, times a Gaussian at the centre, min-maxed.

    Args:
        maps: of any size.
        power: above 1 it leaves more of what is high.
        sigma: of the Gaussian, as a share of the height and of the width; 0 for none.
    """
    maps = jnp.power(maps, power)
    if sigma:
        rows, columns = (np.exp(-((np.arange(n) + 0.5) / n - 0.5)**2 / (2 * sigma**2)) for n in maps.shape[1:])
        maps = maps * np.outer(rows, columns).astype(np.float32)
    return scam.min_max(maps)


def mean_over_time(maps: Float[AnyArray, 'n h w'], weights: Float[AnyArray, 'b n']) -> Float[jax.Array, 'b h w']:
    """The weighted means of n maps, for each of b moments."""
    return jnp.einsum('bn,nhw->bhw', weights, maps, precision='highest')
