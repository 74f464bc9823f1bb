"""Class activation maps and their selective fusion, as pure functions on arrays (TPAMI Sec. 3)."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Num

from stanet_jax.arrays import AnyArray


def min_max(x: Num[AnyArray, '*lead h w']) -> Float[jax.Array, '*lead h w']:
    """`Z`: scales each map to [0, 1]; a constant map becomes zeros."""
    low = x.min(axis=(-2, -1), keepdims=True)
    span = x.max(axis=(-2, -1), keepdims=True) - low
    return jnp.where(span > 0, (x - low) / jnp.where(span > 0, span, 1), 0)


def class_activation(maps: Float[AnyArray, 'b h w c'], tags: Num[AnyArray, 'b c'], centred: bool = False) -> Float[jax.Array, 'b h w']:
    """The class activation map of each example's tags (Eq. 1).

    Global average pooling and a 1x1 convolution commute, so the classifier's map of a class is the classic weighted sum of
    features. A clip with several tags gets the mean of its per-tag maps; a clip without tags gets zeros.

    Args:
        maps: the classifier's maps before pooling, one for each class.
        tags: multi-hot.
        centred: whether the mean over the classes is taken off first, which is not the papers'. With several sigmoids most features
            speak against most tags, so that every class's map is low on objects; what tells the tag from the others is what is left.
    Returns:
        Maps in [0, 1].
    """
    if centred:
        maps = maps - maps.mean(axis=-1, keepdims=True)
    cams = min_max(jnp.moveaxis(maps, -1, 1))
    tags = tags.astype(cams.dtype)
    return jnp.einsum('bchw,bc->bhw', cams, tags, precision='highest') / jnp.maximum(tags.sum(axis=1), 1)[:, None, None]


def soft_filter(confidence: Float[AnyArray, 'b s c'], tags: Num[AnyArray, 'b c']) -> Float[jax.Array, 'b s']:
    """The weight of each source (Eq. 3): its confidence in the tag where the tag is strictly its most confident class, else 0.

    In a clip with several tags, each tag has to beat the classes that are not tags; the weight is the mean over the tags.

    Args:
        confidence: softmax over the classes, for each source.
        tags: multi-hot.
    Returns:
        Weights in [0, 1].
    Raises:
        ValueError: the shapes do not fit.
    """
    if confidence.ndim != 3 or tags.shape != (confidence.shape[0], confidence.shape[2]):
        raise ValueError(f'confidence {confidence.shape} and tags {tags.shape} must be [b, s, c] and [b, c]')
    tagged = tags[:, None, :] > 0
    best_other = jnp.where(tagged, -jnp.inf, confidence).max(axis=-1, keepdims=True)
    weights = jnp.where(tagged & (confidence > best_other), confidence, 0).sum(axis=-1)
    return weights / jnp.maximum(tagged.sum(axis=-1), 1)


def scam(cams: Float[AnyArray, 'b s h w'], weights: Float[AnyArray, 'b s'], eps: float = 1e-4) -> Float[jax.Array, 'b h w']:
    """Selective class activation mapping (TPAMI Eq. 2, and Eq. 8 over more sources).

    `Z((sum_s w_s cam_s + eps) / (sum_s w_s + eps))`; where all weights are zero the map is constant, and `Z` turns it into zeros.

    Args:
        cams: the sources' class activation maps, in [0, 1].
        weights: of the sources, see `soft_filter`.
    Returns:
        Maps in [0, 1].
    Raises:
        ValueError: the shapes do not fit.
    """
    if cams.ndim != 4 or weights.shape != cams.shape[:2]:
        raise ValueError(f'cams {cams.shape} and weights {weights.shape} must be [b, s, h, w] and [b, s]')
    total = weights.sum(axis=1)[:, None, None]
    return min_max((jnp.einsum('bshw,bs->bhw', cams, weights, precision='highest') + eps) / (total + eps))


def average(cams: Float[AnyArray, 'b s h w']) -> Float[jax.Array, 'b h w']:
    """The plain average of the sources, for comparison with `scam` (Eq. 22): `Z(mean_s cam_s)`; ValueError for another rank."""
    if cams.ndim != 4:
        raise ValueError(f'cams {cams.shape} must be [b, s, h, w]')
    return min_max(cams.mean(axis=1))


def fuse_predictions(sta: Float[AnyArray, '*lead h w'], short: Float[AnyArray, '*lead h w'],
                     long: Float[AnyArray, '*lead h w']) -> Float[jax.Array, '*lead h w']:
    """The final map of the three students STA, STA+ short and STA+ long (TPAMI Eq. 21), in [0, 1].

    `Z(Z(a) Z(b) Z(c)) / 2 + Z(a + b + c) / 2`
    """
    return (min_max(min_max(sta) * min_max(short) * min_max(long)) + min_max(sta + short + long)) / 2


def fuse_product(sta: Float[AnyArray, '*lead h w'], short: Float[AnyArray, '*lead h w'],
                 long: Float[AnyArray, '*lead h w']) -> Float[jax.Array, '*lead h w']:
    """The product form of `fuse_predictions`, for comparison (TPAMI Eq. 23): `Z(Z(a) Z(b) Z(c)) / 2 * Z(a + b + c) / 2`."""
    return min_max(min_max(sta) * min_max(short) * min_max(long)) / 2 * min_max(sta + short + long) / 2


def fuse_maximum(sta: Float[AnyArray, '*lead h w'], short: Float[AnyArray, '*lead h w'],
                 long: Float[AnyArray, '*lead h w']) -> Float[jax.Array, '*lead h w']:
    """What the authors' release has in place of `fuse_predictions`: the maximum of the three students' maps at every place."""
    return jnp.maximum(jnp.maximum(sta, short), long)


def blur(maps: Float[AnyArray, '*lead h w'], sigma: float) -> Float[jax.Array, '*lead h w']:
    """Each map under a Gaussian of `sigma` pixels, cut at four sigma; beyond its border a map is mirrored. 0 leaves maps as they are."""
    if not sigma:
        return jnp.asarray(maps)
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-np.arange(-reach, reach + 1)**2 / (2 * sigma**2)).astype(np.float32)

    def along(x, axis):
        padded = jnp.pad(x, [(reach, reach) if k == axis else (0, 0) for k in range(x.ndim)], mode='symmetric')
        taps = (weight * jax.lax.slice_in_dim(padded, k, k + x.shape[axis], axis=axis) for k, weight in enumerate(kernel / kernel.sum()))
        return functools.reduce(jnp.add, taps)
    return along(along(maps, maps.ndim - 2), maps.ndim - 1)


def cut(maps: Num[AnyArray, '*lead h w'], factor: float) -> Float[jax.Array, '*lead h w']:
    """Sets what is below `factor` times a map's mean to 0 and scales the rest to [0, 1], as the release does with pseudo-fixations.

    A `factor` of 0 only scales.
    """
    return min_max(jnp.where(maps < factor * maps.mean(axis=(-2, -1), keepdims=True), 0, maps))


def smooth(maps: Float[AnyArray, 't h w'], valid: Bool[AnyArray, ' t'], reach: int = 2) -> Float[jax.Array, 't h w']:
    """The mean of each map over the frames `t - reach ... t + reach`; at a clip's ends, over those frames that exist.

    The authors' release does so, the papers do not name it.

    Args:
        maps: of the frames of one clip.
        valid: False at frames that only pad the clip to a fixed length.
    Returns:
        Smoothed maps, zeros at frames that are not valid.
    """
    valid = valid.astype(maps.dtype)
    near = jnp.abs(jnp.arange(len(maps))[:, None] - jnp.arange(len(maps))) <= reach
    weights = near * valid[:, None] * valid
    return jnp.einsum('tu,uhw->thw', weights / jnp.maximum(weights.sum(1, keepdims=True), 1), maps, precision='highest')


def tight_box(map: Float[AnyArray, 'h w'], factor: float = 2.0) -> Int32[jax.Array, '4']:
    """The tightest box around all pixels strictly above `factor` times the map's mean (TPAMI Sec. 3.2).

    Returns:
        (y0, x0, y1, x1) in pixels, end-exclusive; the whole frame where no pixel is above.
    Raises:
        ValueError: the map is not two-dimensional.
    """
    if map.ndim != 2:
        raise ValueError(f'map {map.shape} must be [h, w]')
    above = map > factor * map.mean()

    def extent(hit):
        start, end = jnp.argmax(hit), hit.size - jnp.argmax(hit[::-1])
        return jnp.where(hit.any(), start, 0), jnp.where(hit.any(), end, hit.size)

    (y0, y1), (x0, x1) = extent(above.any(axis=1)), extent(above.any(axis=0))
    return jnp.stack([y0, x0, y1, x1]).astype(jnp.int32)


def widen_box(box: Int[AnyArray, '4'], shape: tuple[int, int], least: float = 1 / 8) -> Int32[jax.Array, '4']:
    """Widens a box about its centre, within the frame, so that each side is at least `least` of the frame's side.

    The papers have no such limit.

    Args:
        box: (y0, x0, y1, x1) in pixels, end-exclusive.
        shape: (h, w) of the frame.
        least: smallest side of the box, as a share of the frame's.
    Returns:
        The wider box, in the same order.
    """
    box, sides = jnp.asarray(box), jnp.array(shape)
    size = jnp.maximum(box[2:] - box[:2], jnp.ceil(sides * least).astype(jnp.int32))
    start = jnp.clip((box[:2] + box[2:] - size) // 2, 0, sides - size)
    return jnp.concatenate([start, start + size]).astype(jnp.int32)


def crop(image: Float[AnyArray, 'h w ...'], box: Num[AnyArray, '4'], shape: tuple[int, int]) -> Float[jax.Array, 'h2 w2 ...']:
    """Cuts a box out of an image and resizes it bilinearly.

    Args:
        image: one image.
        box: (y0, x0, y1, x1) in pixels, which need not be whole; may be traced.
        shape: (h2, w2) of the result.
    """
    box = jnp.asarray(box, jnp.float32)
    scale = jnp.array(shape, jnp.float32) / (box[2:] - box[:2])
    return jax.image.scale_and_translate(image, (*shape, *image.shape[2:]), (0, 1), scale, -box[:2] * scale, 'linear')


def paste(map: Float[AnyArray, 'h2 w2'], box: Num[AnyArray, '4'], shape: tuple[int, int]) -> Float[jax.Array, 'h w']:
    """The inverse of `crop`: resizes a map to the box and places it in a frame of zeros.

    Args:
        map: of the box alone.
        box: (y0, x0, y1, x1) in pixels of the frame; may be traced.
        shape: (h, w) of the frame.
    """
    box = jnp.asarray(box, jnp.float32)
    scale = (box[2:] - box[:2]) / jnp.array(map.shape, jnp.float32)
    return jax.image.scale_and_translate(map, shape, (0, 1), scale, box[:2], 'linear')
