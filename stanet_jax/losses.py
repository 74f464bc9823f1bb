"""Losses: short pure functions, one value for each example."""
import jax


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
