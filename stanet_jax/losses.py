"""Losses: short pure functions, one value for each example."""
import jax
import jax.numpy as jnp


def multilabel_soft_margin(logits, labels):
    """Multilabel soft margin loss (TPAMI Eq. 7), mean over classes.

    `-1/c sum_i [y_i log sigmoid(x_i) + (1 - y_i) log sigmoid(-x_i)]`

    Args:
        logits: [b, c], any real numbers.
        labels: [b, c], multi-hot tags in {0, 1}.
    Returns:
        [b], natural logarithm.
    Raises:
        ValueError: the shapes differ or are not two-dimensional.
    """
    if logits.ndim != 2 or logits.shape != labels.shape:
        raise ValueError(f'logits {logits.shape} and labels {labels.shape} must have one shape [b, c]')
    gains = labels * jax.nn.log_sigmoid(logits) + (1 - labels) * jax.nn.log_sigmoid(-logits)
    return -gains.mean(axis=-1)


def binary_cross_entropy(logits, target):
    """Binary cross-entropy of a map (the first term of Eq. 17), mean over its pixels.

    `-mean [y log sigmoid(x) + (1 - y) log sigmoid(-x)]`

    Args:
        logits: [b, h, w], any real numbers.
        target: [b, h, w], in [0, 1].
    Returns:
        [b], natural logarithm.
    Raises:
        ValueError: the shapes differ or are not three-dimensional.
    """
    _same_maps(logits, target)
    gains = target * jax.nn.log_sigmoid(logits) + (1 - target) * jax.nn.log_sigmoid(-logits)
    return -gains.mean(axis=(1, 2))


def kl_divergence(pred, target):
    """Kullback-Leibler divergence between maps as distributions (the second term of Eq. 17), target over prediction.

    Each map is divided by its sum; `sum q log(eps + q / (p + eps))`, `q` the target, `p` the prediction, as in `metrics.kl_div`, with
    `eps` = 2^-52. A target of zero mass gives 0.

    Args:
        pred: [b, h, w], non-negative.
        target: [b, h, w], non-negative.
    Returns:
        [b], natural logarithm.
    Raises:
        ValueError: the shapes differ or are not three-dimensional.
    """
    _same_maps(pred, target)
    eps = 2.0 ** -52

    def distribution(x):
        total = x.sum(axis=(1, 2), keepdims=True)
        return x / jnp.where(total > 0, total, 1)

    p, q = distribution(pred), distribution(target)
    return (q * jnp.log(eps + q / (p + eps))).sum(axis=(1, 2))


def pixel_cross_entropy(logits, labels, ignore=255):
    """Cross-entropy of labels, mean over the pixels that have one; 0 where none has.

    Args:
        logits: [b, h, w, c], any real numbers.
        labels: [b, h, w], integers from 0 to c - 1, or `ignore`.
    Returns:
        [b], natural logarithm.
    Raises:
        ValueError: the shapes do not fit.
    """
    if logits.ndim != 4 or logits.shape[:3] != labels.shape:
        raise ValueError(f'logits {logits.shape} and labels {labels.shape} must be [b, h, w, c] and [b, h, w]')
    known = labels != ignore
    gains = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.where(known, labels, 0)[..., None].astype(jnp.int32), axis=-1)[..., 0]
    return -jnp.where(known, gains, 0).sum(axis=(1, 2)) / jnp.maximum(known.sum(axis=(1, 2)), 1)


def _same_maps(pred, target):
    if pred.ndim != 3 or pred.shape != target.shape:
        raise ValueError(f'maps {pred.shape} and target {target.shape} must have one shape [b, h, w]')


# --------------------------------------------------------------------------------------------------------------------- EPS


def overlap(maps, saliency):
    """`|B_i and B_s| / |B_i|` (EPS Sec. 3.2): how much of a class's map lies on what is salient; `B = [M > 0.5]`. No gradient.

    Args:
        maps: [b, h, w, c], in [0, 1]; saliency: [b, h, w], in [0, 1].
    Returns:
        [b, c]; 0 where a class's map is nowhere above 0.5.
    """
    on = jax.lax.stop_gradient(maps) > 0.5
    both = (on & (saliency > 0.5)[..., None]).sum(axis=(1, 2))
    return both / jnp.maximum(on.sum(axis=(1, 2)), 1)


def eps_saliency(logits, saliency, tags, threshold=0.4, mix=0.5, selection='adaptive', background_classes=None):
    """EPS's saliency loss (Lee et al., CVPR 2021, Eq. 1 to 3): the saliency that the maps make should be the one that is given.

    `M = softmax(logits)`; `M_fg` is the sum of the tagged classes that count as foreground, `M_bg` that of the other tagged ones and of the
    background's map, which is the last (Eq. 2); the estimate `mix M_fg + (1 - mix) (1 - M_bg)` (Eq. 1) is compared to `saliency` by the
    mean squared difference (Eq. 3).

    Args:
        logits: [b, h, w, c + 1].
        saliency: [b, h, w], in [0, 1], at the maps' size.
        tags: [b, c], multi-hot.
        threshold: what a class's `overlap` has to be above to count as foreground.
        mix: lambda of Eq. 1.
        selection: which tagged classes count as foreground (Table 3): 'adaptive', those above the threshold; 'naive', all;
            'predefined', all but those of `background_classes`, bool [c].
    Returns:
        A number, and a dict of `foreground` (`M_fg`), `background` (`1 - M_bg`) and `estimate`, each [b, h, w].
    Raises:
        ValueError: the shapes do not fit, an unknown selection, or 'predefined' without its classes.
    """
    if logits.ndim != 4 or logits.shape[:3] != saliency.shape or tags.shape != (len(logits), logits.shape[3] - 1):
        raise ValueError(f'logits {logits.shape}, saliency {saliency.shape}, tags {tags.shape}: must be [b, h, w, c+1], [b, h, w], [b, c]')
    if selection not in ('adaptive', 'naive', 'predefined') or selection == 'predefined' and background_classes is None:
        raise ValueError(f'selection={selection!r}: must be adaptive, naive, or predefined with background_classes')
    maps = jax.nn.softmax(logits, axis=-1)
    chosen = {'adaptive': lambda: overlap(maps[..., :-1], saliency) > threshold, 'naive': lambda: jnp.ones(tags.shape, bool),
              'predefined': lambda: ~jnp.broadcast_to(jnp.asarray(background_classes, bool), tags.shape)}[selection]()
    tagged = tags > 0
    foreground = jnp.einsum('bhwc,bc->bhw', maps[..., :-1], (tagged & chosen).astype(maps.dtype))
    not_background = 1 - jnp.einsum('bhwc,bc->bhw', maps[..., :-1], (tagged & ~chosen).astype(maps.dtype)) - maps[..., -1]
    estimate = mix * foreground + (1 - mix) * not_background
    return jnp.mean((estimate - saliency)**2), {'foreground': foreground, 'background': not_background, 'estimate': estimate}
