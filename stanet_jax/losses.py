"""Losses: short pure functions that give one value for each example."""
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer, Num

from stanet_jax.arrays import AnyArray


def multilabel_soft_margin(logits: Float[AnyArray, 'b c'], labels: Num[AnyArray, 'b c']) -> Float[jax.Array, ' b']:
    """Multilabel soft margin loss (TPAMI Eq. 7), mean over classes.

    `-1/c sum_i [y_i log sigmoid(x_i) + (1 - y_i) log sigmoid(-x_i)]`

    Args:
        logits: before the sigmoid.
        labels: multi-hot tags in {0, 1}.
    Returns:
        The loss of each example, in nats.
    Raises:
        ValueError: the shapes differ or are not two-dimensional.
    """
    _same_labels(logits, labels)
    gains = labels * jax.nn.log_sigmoid(logits) + (1 - labels) * jax.nn.log_sigmoid(-logits)
    return -gains.mean(axis=-1)


def softmax_cross_entropy(logits: Float[AnyArray, 'b c'], labels: Num[AnyArray, 'b c']) -> Float[jax.Array, ' b']:
    """Cross-entropy of tags under a softmax over the classes (Loss1 of CVPR Fig. 6); of several tags, each has an equal share.

    `-sum_i y_i / |y| log softmax(x)_i`

    Args:
        logits: before the softmax.
        labels: multi-hot tags in {0, 1}; an example without tags has loss 0.
    Returns:
        The loss of each example, in nats.
    Raises:
        ValueError: the shapes differ or are not two-dimensional.
    """
    _same_labels(logits, labels)
    shares = labels / jnp.maximum(labels.sum(axis=-1, keepdims=True), 1)
    return -(shares * jax.nn.log_softmax(logits)).sum(axis=-1)


def binary_cross_entropy(logits: Float[AnyArray, 'b h w'], target: Float[AnyArray, 'b h w']) -> Float[jax.Array, ' b']:
    """Binary cross-entropy of a map (the first term of Eq. 17), mean over its pixels.

    `-mean [y log sigmoid(x) + (1 - y) log sigmoid(-x)]`

    Args:
        logits: of the predicted map, before the sigmoid.
        target: in [0, 1].
    Returns:
        The loss of each example, in nats.
    Raises:
        ValueError: the shapes differ or are not three-dimensional.
    """
    _same_maps(logits, target)
    gains = target * jax.nn.log_sigmoid(logits) + (1 - target) * jax.nn.log_sigmoid(-logits)
    return -gains.mean(axis=(1, 2))


def kl_divergence(pred: Float[AnyArray, 'b h w'], target: Float[AnyArray, 'b h w']) -> Float[jax.Array, ' b']:
    """Kullback-Leibler divergence of the target from the prediction, both as distributions (the second term of Eq. 17).

    Each map is divided by its sum; the divergence is `sum q log(eps + q / (p + eps))`, with `q` the target, `p` the prediction and
    `eps` = 2^-52, as in `evaluation.metrics.kl_div`. A target of zero mass gives 0.

    Args:
        pred: non-negative.
        target: non-negative.
    Returns:
        The loss of each example, in nats.
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


def pixel_cross_entropy(logits: Float[AnyArray, 'b h w c'], labels: Integer[AnyArray, 'b h w'],
                        ignore: int = 255) -> Float[jax.Array, ' b']:
    """Cross-entropy of labels, mean over the labelled pixels of each image; 0 for an image without any.

    Args:
        logits: before the softmax over classes.
        labels: from 0 to c - 1, or `ignore` at pixels without a label.
        ignore: the value that marks pixels without a label.
    Returns:
        The loss of each example, in nats.
    Raises:
        ValueError: the shapes do not fit.
    """
    if logits.ndim != 4 or logits.shape[:3] != labels.shape:
        raise ValueError(f'logits {logits.shape} and labels {labels.shape} must be [b, h, w, c] and [b, h, w]')
    known = labels != ignore
    gains = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.where(known, labels, 0)[..., None].astype(jnp.int32), axis=-1)[..., 0]
    return -jnp.where(known, gains, 0).sum(axis=(1, 2)) / jnp.maximum(known.sum(axis=(1, 2)), 1)


def _same_labels(logits, labels):
    if logits.ndim != 2 or logits.shape != labels.shape:
        raise ValueError(f'logits {logits.shape} and labels {labels.shape} must have one shape [b, c]')


def _same_maps(pred, target):
    if pred.ndim != 3 or pred.shape != target.shape:
        raise ValueError(f'maps {pred.shape} and target {target.shape} must have one shape [b, h, w]')


# --------------------------------------------------------------------------------------------------------------------- EPS


def overlap(maps: Float[AnyArray, 'b h w c'], saliency: Float[AnyArray, 'b h w']) -> Float[jax.Array, 'b c']:
    """The share of each class's map that lies on salient pixels: `|B_i and B_s| / |B_i|` with `B = [M > 0.5]` (EPS Sec. 3.2).

    No gradient passes through it.

    Args:
        maps: in [0, 1], one for each class.
        saliency: in [0, 1].
    Returns:
        Shares in [0, 1]; 0 where a class's map is nowhere above 0.5.
    """
    on = jax.lax.stop_gradient(maps) > 0.5
    both = (on & (saliency > 0.5)[..., None]).sum(axis=(1, 2))
    return both / jnp.maximum(on.sum(axis=(1, 2)), 1)


def eps_saliency(logits: Float[AnyArray, 'b h w k'], saliency: Float[AnyArray, 'b h w'], tags: Num[AnyArray, 'b k-1'],
                 threshold: float = 0.4, mix: float = 0.5, selection: str = 'adaptive',
                 background_classes: Bool[AnyArray, ' k-1'] | Sequence[bool] | None = None,
                 ) -> tuple[Float[jax.Array, ''], dict[str, Float[jax.Array, 'b h w']]]:
    """EPS's saliency loss (Lee et al., CVPR 2021, Eq. 1 to 3), which fits the saliency estimated from the maps to the given one.

    `M = softmax(logits)`; `M_fg` is the sum of the tagged classes' maps that count as foreground, `M_bg` the sum of the other tagged
    classes' maps and the background's (Eq. 2). The estimate `mix M_fg + (1 - mix) (1 - M_bg)` (Eq. 1) is compared to `saliency` by the
    mean squared difference (Eq. 3).

    Args:
        logits: before the softmax, a map for each of the c = k - 1 classes and, last, one for the background.
        saliency: in [0, 1], at the maps' size.
        tags: multi-hot.
        threshold: a class counts as foreground where its `overlap` is above this.
        mix: lambda of Eq. 1.
        selection: which tagged classes count as foreground (Table 3): 'adaptive', those above the threshold; 'naive', all;
            'predefined', all except `background_classes`.
        background_classes: True at classes that 'predefined' counts as background.
    Returns:
        The loss, one number for the batch, and a dict of the maps `foreground` (`M_fg`), `background` (`1 - M_bg`) and `estimate`.
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
    foreground, others = (jnp.einsum('bhwc,bc->bhw', maps[..., :-1], some.astype(maps.dtype), precision='highest')
                          for some in (tagged & chosen, tagged & ~chosen))
    not_background = 1 - others - maps[..., -1]
    estimate = mix * foreground + (1 - mix) * not_background
    return jnp.mean((estimate - saliency)**2), {'foreground': foreground, 'background': not_background, 'estimate': estimate}
