"""Class activation maps and their selective fusion, as pure functions on arrays (TPAMI Sec. 3)."""
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
