"""The nets EPS and DeepLab of a config, their losses, and the labels that they give."""
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from ml_collections import ConfigDict

from stanet_jax import losses
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.models import backbones, segmentation
from stanet_jax.stages.nets import compute_dtype, net_inputs
from stanet_jax.training.checks import require

SELECTIONS = ('adaptive', 'naive', 'predefined', 'none')  # 'none': without saliency; its class activation maps are the baseline


def make_net(config: ConfigDict, net: str, classes: int) -> segmentation.EPS | segmentation.DeepLab:
    """The net 'EPS' or 'DeepLab' with the fields of the config; `classes` are without the background."""
    fields = {'classes': classes, 'encoder': config.encoder.name, 'batch_norm': config.batch_norm,
              'dtype': compute_dtype(config.dtype)}
    return segmentation.EPS(**fields) if net == 'EPS' else segmentation.DeepLab(**fields, rates=tuple(config.rates), width=config.width)


def eps_loss(variables: Variables, batch: Mapping[str, AnyArray], key: jax.Array, *, model: nn.Module, jitter: Sequence[float],
             selection: str, **fields: Any) -> tuple[Float[jax.Array, ' b'], Variables]:
    """`L_cls + L_sal` of each example (EPS Sec. 3.3), and the new batch statistics.

    Args:
        variables: of the net.
        batch: `frames`, `valid`, `tags` and `mask`, and unless the selection is 'none' `saliency`; see `images.ImageExamples`.
        key: of the random jitter and dropout.
        model: the net EPS.
        jitter: strengths, see `augmentation.jitter`.
        selection: one of `SELECTIONS`; 'none' leaves `L_sal` out.
        fields: other arguments of `losses.eps_saliency`.
    """
    maps, updated = apply_in_training(variables, batch, key, model, jitter)
    result = losses.multilabel_soft_margin(maps[..., :-1].mean(axis=(1, 2)), batch['tags'])
    if selection != 'none':
        saliency = jax.image.resize(batch['saliency'].astype(jnp.float32) / 255, maps.shape[:3], 'nearest')

        def saliency_loss(maps, saliency, tags):
            return losses.eps_saliency(maps[None], saliency[None], tags[None], selection=selection, **fields)[0]

        result += jax.vmap(saliency_loss)(maps, saliency, batch['tags'])
    return result, updated


def deeplab_loss(variables: Variables, batch: Mapping[str, AnyArray], key: jax.Array, *, model: nn.Module,
                 jitter: Sequence[float]) -> tuple[Float[jax.Array, ' b'], Variables]:
    """The cross-entropy of each example with its labels `target`, at the image's size, and the new batch statistics; see `eps_loss`."""
    logits, updated = apply_in_training(variables, batch, key, model, jitter)
    return losses.pixel_cross_entropy(segmentation.resized(logits, batch['target'].shape[1:]), batch['target']), updated


def apply_in_training(variables: Variables, batch: Mapping[str, AnyArray], key: jax.Array, model: nn.Module,
                      jitter: Sequence[float]) -> tuple[Float[jax.Array, 'b h w c'], Variables]:
    """The maps of a net for a batch in training, with jitter and dropout, and the new batch statistics.

    What lies outside of the images is 0, whatever the jitter.
    """
    frames = net_inputs(batch, model.encoder, key, jitter)['frames'] * batch['valid'][..., None]
    out, updated = model.apply(variables, frames, train=True, mask=batch['mask'], mutable=['batch_stats'], rngs={'dropout': key})
    return out, updated.get('batch_stats', {})


def rescaled(frames: Num[AnyArray, 'b h w 3'], valid: Bool[AnyArray, 'b h w'],
             shape: Sequence[int]) -> tuple[Float[jax.Array, 'b h2 w2 3'], Bool[jax.Array, 'b h2 w2']]:
    """Images on a canvas resized as each would be alone: bicubically, as Pillow does it, to whole numbers from 0 to 255.

    Args:
        frames: the images, from 0 to 255.
        valid: False outside of an image, where whatever `frames` holds has no influence.
        shape: (h2, w2) of the new canvas.
    Returns:
        The resized images, 0 outside, and where they are.
    """
    x, inside = jnp.where(valid[..., None], frames, 0).astype(jnp.float32), jnp.asarray(valid)
    for axis in (2, 1):  # Pillow rounds after either
        to = (*x.shape[:axis], shape[axis - 1], *x.shape[axis + 1:])
        share = jax.image.resize(inside.astype(jnp.float32), to[:3], 'cubic')  # of a new pixel's weights, that lies on the image
        inside = jax.image.resize(inside, to[:3], 'nearest')
        x = jax.image.resize(x, to, 'cubic') / jnp.where(inside, share, 1)[..., None]
        x = jnp.where(inside[..., None], jnp.clip(jnp.round(x), 0, 255), 0)
    return x, inside


def multi_scale_maps(variables: Variables, frames: UInt8[AnyArray, 'b h w 3'], valid: Bool[AnyArray, 'b h w'], *, model: nn.Module,
                     scales: Sequence[float], activation: str) -> Float[jax.Array, 'b h w c']:
    """The sum of a net's maps for images at several scales, each as it is and mirrored, all resized to the images' size.

    Images are resized bicubically and maps bilinearly, as in the release of EPS.

    Args:
        variables: of the net.
        frames: the images, in RGB.
        valid: False outside of the image, where the net sees 0.
        model: EPS or DeepLab, whose maps are those of all classes and of the background.
        scales: factors of the images' height and width.
        activation: of the maps: 'softmax', or 'relu' for class activation maps.
    """
    activate: Callable[[Any], jax.Array] = {'softmax': jax.nn.softmax, 'relu': jax.nn.relu}[activation]
    total: Any = 0
    for scale in scales:
        scaled, inside = rescaled(frames, valid, [max(1, round(scale * n)) for n in frames.shape[1:3]])
        scaled = backbones.normalise(model.encoder, scaled) * inside[..., None]
        for flip in (lambda x: x, lambda x: x[:, :, ::-1]):
            total += segmentation.resized(flip(activate(model.apply(variables, flip(scaled)))), frames.shape[1:3])
    return total


def pseudo_scores(maps: Float[AnyArray, 'b h w c'], tags: Num[AnyArray, 'b c'], valid: Bool[AnyArray, 'b h w'],
                  background: float = 0.2) -> Float[jax.Array, 'b h w k']:
    """The scores of the k = c + 1 labels by EPS's maps and the tags, whose argmax is the pseudo-mask; the background's come first.

    A tagged class's score is its map over the map's maximum, the background's is the same everywhere.

    Args:
        maps: of the classes, without the background; non-negative.
        tags: multi-hot.
        valid: False outside of the image.
        background: score of the background.
    """
    maps = jnp.where(valid[..., None], maps, 0)
    scores = maps / jnp.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-5) * tags[:, None, None]
    return jnp.concatenate([jnp.full((*scores.shape[:3], 1), background), scores], axis=-1)


def predict_scores(variables: Variables, batch: Mapping[str, AnyArray], *, model: nn.Module,
                   config: ConfigDict) -> Float[jax.Array, 'b h w k']:
    """The scores of the labels of images, background first: DeepLab's probabilities, or EPS's `pseudo_scores` by the images' tags.

    Args:
        variables: of the net.
        batch: `frames` and `valid`, and for EPS `tags`; see `masks.iterate_canvases`.
        model: the net.
        config: with `nets`, its name, and `masks`.
    """
    cam, scales = config.get('selection') == 'none', config.masks.scales
    maps = multi_scale_maps(variables, batch['frames'], batch['valid'], model=model, scales=scales, activation='relu' if cam else 'softmax')
    if config.nets[0] == 'DeepLab':
        return maps / (2 * len(scales))
    return pseudo_scores(maps[..., :-1], batch['tags'], batch['valid'], config.masks.background)


def predict_labels(variables: Variables, batch: Mapping[str, AnyArray], *, model: nn.Module,
                   config: ConfigDict) -> UInt8[jax.Array, 'b h w']:
    """The labels of images: the best of `predict_scores`, whose arguments it takes."""
    return predict_scores(variables, batch, model=model, config=config).argmax(axis=-1).astype(jnp.uint8)


def make_loss_fn(config: ConfigDict, net: str, model: nn.Module,
                 categories: Sequence[str]) -> Callable[..., tuple[Float[jax.Array, ' b'], Variables]]:
    """The loss function of a net 'EPS' or 'DeepLab', as `loop.update` takes it; `categories` are the names of the set's classes.

    Raises:
        InputError: `config.background_classes` names a class that the set does not have.
    """
    fields: dict[str, Any] = {'model': model, 'jitter': tuple(config.jitter)}
    if net == 'DeepLab':
        return functools.partial(deeplab_loss, **fields)
    unknown = sorted(set(config.background_classes) - set(categories))
    require('background_classes', config.background_classes, not unknown, f'the set has no class {", ".join(unknown)}')
    return functools.partial(eps_loss, **fields, selection=config.selection, threshold=config.threshold, mix=config.mix,
                             background_classes=np.isin(categories, config.background_classes))
