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


def _same_maps(pred, target):
    if pred.ndim != 3 or pred.shape != target.shape:
        raise ValueError(f'maps {pred.shape} and target {target.shape} must have one shape [b, h, w]')
