"""Class activation maps and their selective fusion, as pure functions on arrays (TPAMI Sec. 3)."""
import jax
import jax.numpy as jnp


def min_max(x):
    """`Z`: each map of x [..., h, w] scaled to [0, 1]; a constant map gives zeros."""
    low = x.min(axis=(-2, -1), keepdims=True)
    span = x.max(axis=(-2, -1), keepdims=True) - low
    return jnp.where(span > 0, (x - low) / jnp.where(span > 0, span, 1), 0)


def class_activation(maps, tags):
    """The class activation map of each example's tags (Eq. 1).

    Global average pooling and a 1x1 convolution commute, so the classifier's map of a class is the classic weighted sum of
    features. A clip with several tags gets the mean of its per-tag maps; one without any gets zeros.

    Args:
        maps: [b, h, w, c], the classifier's maps before pooling.
        tags: [b, c], multi-hot.
    Returns:
        [b, h, w] in [0, 1].
    """
    cams = min_max(jnp.moveaxis(maps, -1, 1))
    tags = tags.astype(cams.dtype)
    return jnp.einsum('bchw,bc->bhw', cams, tags) / jnp.maximum(tags.sum(axis=1), 1)[:, None, None]


def soft_filter(confidence, tags):
    """The weight of each source (Eq. 3): its confidence at the tag where the tag is strictly its best class, else 0.

    Of a clip with several tags, each tag has to beat the classes that are not tags; the weight is the mean over the tags.

    Args:
        confidence: [b, s, c], softmax over the classes, for each source.
        tags: [b, c], multi-hot.
    Returns:
        [b, s]
    """
    if confidence.ndim != 3 or tags.shape != (confidence.shape[0], confidence.shape[2]):
        raise ValueError(f'confidence {confidence.shape} and tags {tags.shape} must be [b, s, c] and [b, c]')
    tagged = tags[:, None, :] > 0
    best_other = jnp.where(tagged, -jnp.inf, confidence).max(axis=-1, keepdims=True)
    weights = jnp.where(tagged & (confidence > best_other), confidence, 0).sum(axis=-1)
    return weights / jnp.maximum(tagged.sum(axis=-1), 1)


def scam(cams, weights, eps=1e-4):
    """Selective class activation mapping (Eq. 2, and Eq. 8 over more sources).

    `Z((sum_s w_s cam_s + eps) / (sum_s w_s + eps))`; with all weights zero the map is constant, and `Z` makes it zeros.

    Args:
        cams: [b, s, h, w], each in [0, 1].
        weights: [b, s], see `soft_filter`.
    Returns:
        [b, h, w] in [0, 1].
    """
    if cams.ndim != 4 or weights.shape != cams.shape[:2]:
        raise ValueError(f'cams {cams.shape} and weights {weights.shape} must be [b, s, h, w] and [b, s]')
    total = weights.sum(axis=1)[:, None, None]
    return min_max((jnp.einsum('bshw,bs->bhw', cams, weights) + eps) / (total + eps))


def average(cams):
    """The plain average of the sources, kept for comparison (Eq. 22): `Z(mean_s cam_s)`, [b, s, h, w] -> [b, h, w]."""
    if cams.ndim != 4:
        raise ValueError(f'cams {cams.shape} must be [b, s, h, w]')
    return min_max(cams.mean(axis=1))


def fuse_predictions(sta, short, long):
    """The final map of three students (TPAMI Eq. 21): `Z(Z(a) Z(b) Z(c)) / 2 + Z(a + b + c) / 2`.

    Args:
        sta, short, long: [..., h, w], the maps of STA, STA+ short and STA+ long.
    Returns:
        [..., h, w] in [0, 1].
    """
    return (min_max(min_max(sta) * min_max(short) * min_max(long)) + min_max(sta + short + long)) / 2


def fuse_product(sta, short, long):
    """The product form, kept for comparison (TPAMI Eq. 23): `Z(Z(a) Z(b) Z(c)) / 2 * Z(a + b + c) / 2`; as `fuse_predictions`."""
    return min_max(min_max(sta) * min_max(short) * min_max(long)) / 2 * min_max(sta + short + long) / 2


def smooth(maps, valid, reach=2):
    """The mean of each map over the frames `t - reach ... t + reach` (Sec. 3.2); at a clip's ends over those that there are.

    Args:
        maps: [t, h, w], a clip's.
        valid: [t], False at what only pads the clip to a length.
    Returns:
        [t, h, w]; zeros where not valid.
    """
    valid = valid.astype(maps.dtype)
    near = jnp.abs(jnp.arange(len(maps))[:, None] - jnp.arange(len(maps))) <= reach
    weights = near * valid[:, None] * valid
    return jnp.einsum('tu,uhw->thw', weights / jnp.maximum(weights.sum(1, keepdims=True), 1), maps, precision='highest')


def tight_box(map, factor=2.0):
    """The tightest box around all pixels strictly above `factor` times the map's mean (Sec. 3.2).

    Args:
        map: [h, w].
    Returns:
        int32 [4], `(y0, x0, y1, x1)`, end-exclusive; the whole frame where no pixel is above.
    """
    if map.ndim != 2:
        raise ValueError(f'map {map.shape} must be [h, w]')
    above = map > factor * map.mean()

    def extent(hit):
        start, end = jnp.argmax(hit), hit.size - jnp.argmax(hit[::-1])
        return jnp.where(hit.any(), start, 0), jnp.where(hit.any(), end, hit.size)

    (y0, y1), (x0, x1) = extent(above.any(axis=1)), extent(above.any(axis=0))
    return jnp.stack([y0, x0, y1, x1]).astype(jnp.int32)


def widen_box(box, shape, least=1 / 8):
    """The box, around its centre and within the frame, with no side under `least` of the frame's `shape` (h, w); int32 [4]."""
    box, sides = jnp.asarray(box), jnp.array(shape)
    size = jnp.maximum(box[2:] - box[:2], jnp.ceil(sides * least).astype(jnp.int32))
    start = jnp.clip((box[:2] + box[2:] - size) // 2, 0, sides - size)
    return jnp.concatenate([start, start + size]).astype(jnp.int32)


def crop(image, box, shape):
    """Cuts `box` (y0, x0, y1, x1), which may be traced, out of image [h, w, ...] and resizes it to `shape` (h', w'), bilinear."""
    box = jnp.asarray(box, jnp.float32)
    scale = jnp.array(shape, jnp.float32) / (box[2:] - box[:2])
    return jax.image.scale_and_translate(image, (*shape, *image.shape[2:]), (0, 1), scale, -box[:2] * scale, 'linear')


def paste(map, box, shape):
    """The inverse of `crop`: map [h', w'], resized to `box`, in a zero frame of `shape` (h, w)."""
    box = jnp.asarray(box, jnp.float32)
    scale = (box[2:] - box[:2]) / jnp.array(map.shape, jnp.float32)
    return jax.image.scale_and_translate(map, shape, (0, 1), scale, box[:2], 'linear')
