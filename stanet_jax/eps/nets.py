"""EPS and DeepLab as a config has them: how they are made, their losses, the labels that they give."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import losses
from stanet_jax.data import augmentation
from stanet_jax.models import segmentation
from stanet_jax.stages.nets import compute_dtype, net_inputs
from stanet_jax.training.checks import require

SELECTIONS = ('adaptive', 'naive', 'predefined', 'none')  # 'none': tags alone, whose class activation maps are the baseline


# --------------------------------------------------------------------------------------------------------------------- nets


def make_net(config, net, classes):
    """EPS or DeepLab, as the config has it."""
    fields = {'classes': classes, 'encoder': config.encoder.name, 'batch_norm': config.batch_norm,
              'dtype': compute_dtype(config.dtype)}
    return segmentation.EPS(**fields) if net == 'EPS' else segmentation.DeepLab(**fields, rates=tuple(config.rates), width=config.width)


def eps_loss(variables, batch, key, *, model, jitter, selection, **fields):
    """`L_cls + L_sal` of each example [b] (EPS Sec. 3.3), and the new batch statistics; `fields` are of `losses.eps_saliency`."""
    maps, updated = apply_in_training(variables, batch, key, model, jitter)
    result = losses.multilabel_soft_margin(maps[..., :-1].mean(axis=(1, 2)), batch['tags'])
    if selection != 'none':
        saliency = jax.image.resize(batch['saliency'].astype(jnp.float32) / 255, maps.shape[:3], 'nearest')

        def one(maps, saliency, tags):
            return losses.eps_saliency(maps[None], saliency[None], tags[None], selection=selection, **fields)[0]

        result += jax.vmap(one)(maps, saliency, batch['tags'])
    return result, updated


def deeplab_loss(variables, batch, key, *, model, jitter):
    """Cross-entropy with the labels of each example [b], at the image's size, and the new batch statistics."""
    logits, updated = apply_in_training(variables, batch, key, model, jitter)
    return losses.pixel_cross_entropy(segmentation.resized(logits, batch['target'].shape[1:]), batch['target']), updated


def apply_in_training(variables, batch, key, model, jitter):
    """What a net makes of a batch in training, and the new batch statistics."""
    out, updated = model.apply(variables, **net_inputs(batch, key, jitter), train=True, mask=batch['mask'],
                               mutable=['batch_stats'], rngs={'dropout': key})
    return out, updated.get('batch_stats', {})


def multi_scale_maps(variables, frames, *, model, scales, activation):
    """A net's maps of images at several scales and mirrored, summed.

    Args:
        frames: uint8 [b, h, w, 3].
        scales: of the images.
        activation: 'softmax', or 'relu' for class activation maps.
    Returns:
        [b, h, w, C + 1], each scale's maps resized to the images.
    """
    act, x = {'softmax': jax.nn.softmax, 'relu': jax.nn.relu}[activation], augmentation.normalise(frames)
    total = 0
    for scale in scales:
        scaled = segmentation.resized(x, [max(1, round(scale * n)) for n in frames.shape[1:3]])
        for turn in (lambda x: x, lambda x: x[:, :, ::-1]):
            total += segmentation.resized(turn(act(model.apply(variables, turn(scaled)))), frames.shape[1:3])
    return total


def pseudo_labels(maps, tags, valid, background=0.2):
    """Labels out of EPS's maps and the tags: each tagged class over its maximum, the background a constant, the largest wins.

    Args:
        maps: [b, h, w, c], non-negative, without the background's; tags: [b, c].
        valid: bool [b, h, w], False outside of the image.
        background: the score that a class must be above.
    Returns:
        uint8 [b, h, w], 0 for the background.
    """
    maps = jnp.where(valid[..., None], maps, 0)
    scores = maps / jnp.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-5) * tags[:, None, None]
    scores = jnp.concatenate([jnp.full((*scores.shape[:3], 1), background), scores], axis=-1)
    return scores.argmax(axis=-1).astype(jnp.uint8)


def predict_labels(variables, batch, *, model, config):
    """The labels uint8 [b, h, w] that a net gives images, with EPS by their tags; `batch`: `frames`, `tags` and `valid`."""
    cam = config.get('selection') == 'none'
    maps = multi_scale_maps(variables, batch['frames'], model=model, scales=config.masks.scales, activation='relu' if cam else 'softmax')
    if config.nets[0] == 'DeepLab':
        return maps.argmax(axis=-1).astype(jnp.uint8)
    return pseudo_labels(maps[..., :-1], batch['tags'], batch['valid'], config.masks.background)


def make_loss_fn(config, net, model, categories):
    """The loss function of a net, as `loop.update` takes it."""
    fields = {'model': model, 'jitter': tuple(config.jitter)}
    if net == 'DeepLab':
        return functools.partial(deeplab_loss, **fields)
    unknown = sorted(set(config.background_classes) - set(categories))
    require('background_classes', config.background_classes, not unknown, f'the set has no class {", ".join(unknown)}')
    return functools.partial(eps_loss, **fields, selection=config.selection, threshold=config.threshold, mix=config.mix,
                             background_classes=np.isin(categories, config.background_classes))
