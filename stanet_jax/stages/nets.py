"""The classifiers S, SA, ST and S+, SA+, ST+ of a config: their modules, their inputs, their loss and their initial variables."""
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, Key
from ml_collections import ConfigDict

from stanet_jax import losses, scam
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data import augmentation
from stanet_jax.models import backbones, branch, classifiers
from stanet_jax.training import checkpoint
from stanet_jax.weights import sources

# --------------------------------------------------------------------------------------------------------- nets and their inputs


def make_classifier(config: ConfigDict, net: str, classes: int) -> classifiers.Classifier:
    """The module of the net 'A', 'S', 'SA', 'ST', 'STA' or one of `classifiers.PLUS_NETS`, with the fields of the config."""
    source, granularity = branch.parse_net(net)
    fields = (source, classes, config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm,
              compute_dtype(config.dtype), config.sa_fuse)
    return classifiers.ClassifierPlus(*fields, config.blender.to_dict()) if granularity else classifiers.Classifier(*fields)


def compute_dtype(name: str) -> DTypeLike:
    """The type to compute in: 'float32', 'bfloat16', or 'auto', which is bfloat16 on accelerators and float32 on CPUs."""
    auto = jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16
    return {'auto': auto, 'float32': jnp.float32, 'bfloat16': jnp.bfloat16}[name]


def example_batch(config: ConfigDict, net: str, classes: int, batch: int) -> dict[str, np.ndarray]:
    """A batch of `batch` examples of a net as `batches.iterate_batches` yields it, its frames, sounds and tags all zeros."""
    source, granularity = branch.parse_net(net)
    side, lead = config.data.side, (batch, config.fragments + 1) if granularity else (batch,)
    result = {'tags': np.zeros((batch, classes), np.float32), 'clip': np.zeros(batch, np.int32), 'mask': np.ones(batch, bool)}
    if branch.FRAMES[source]:
        result['frames'] = np.zeros((*lead, branch.FRAMES[source], side, side, 3), np.uint8)
    if source in branch.SOUND:
        result |= {'audio': np.zeros((*lead, 257, 98), np.float32), 'phi': np.ones(lead, np.float32)}
    return result


def net_inputs(batch: Mapping[str, AnyArray], encoder: str, key: Key[jax.Array, ''] | None = None,
               jitter: Sequence[float] = ()) -> dict[str, Any]:
    """The keyword arguments `frames`, `audio` and `phi` that a net takes of a batch, as far as the batch has them.

    Frames are normalised for the image encoder of that name. With a random key they are jittered before, see `augmentation.jitter`; all
    fragments of an example change alike.
    """
    result = {k: batch[k] for k in ('frames', 'audio', 'phi') if k in batch}
    if 'frames' in result:
        frames = result['frames']
        if key is not None:
            frames = augmentation.jitter(frames.reshape(len(frames), -1, *frames.shape[-3:]), key, jitter).reshape(frames.shape)
        result['frames'] = backbones.normalise(encoder, frames)
    return result


def tag_loss(variables: Variables, batch: Mapping[str, AnyArray], key: Key[jax.Array, ''], *, model: nn.Module,
             jitter: Sequence[float]) -> tuple[Float[jax.Array, ' b'], Variables]:
    """The multi-label soft-margin loss of each example (TPAMI Eq. 7) on jittered frames, and the new batch statistics."""
    (logits, _), updated = model.apply(variables, **net_inputs(batch, model.encoder, key, jitter), train=True, mask=batch['mask'],
                                       mutable=['batch_stats'])
    return losses.multilabel_soft_margin(logits, batch['tags']), updated.get('batch_stats', {})


class TagPrediction(NamedTuple):
    """What a classifier predicts for a batch whose tags are known.

    Attributes:
        logits: of the classes.
        cam: class activation map of the tags (TPAMI Eq. 1), in [0, 1]; None for a net without maps.
    """
    logits: Float[AnyArray, 'b c']
    cam: Float[AnyArray, 'b h w'] | None


def predict_tags(variables: Variables, batch: Mapping[str, AnyArray], *, model: nn.Module) -> TagPrediction:
    """The logits of a classifier, and its class activation map of `batch['tags']`."""
    logits, out = model.apply(variables, **net_inputs(batch, model.encoder))
    return TagPrediction(logits, scam.class_activation(out['maps'], batch['tags']) if 'maps' in out else None)


# -------------------------------------------------------------------------------------------------------- initial variables


def initial_variables(config: ConfigDict, net: str, model: nn.Module, batch: Mapping[str, AnyArray],
                      workdir: str | os.PathLike) -> Variables:
    """Variables to train a net from: drawn with `config.seed`, some of them then replaced by trained ones.

    `config.start_from[net]` is the folder of a trained net of the same structure, or {part: folder of a net that has this part}; a net
    of this run is given by its name alone, as 'S'. `config.encoder.weights` and `config.audio_encoder.weights` are folders of an
    encoder's weights, or 'pip' or 'fetched', see `sources.find`; `start_from` has precedence.

    Args:
        config: of the run.
        net: name of the net.
        model: its module.
        batch: an example, for the shapes of the inputs.
        workdir: folder of the run.
    Raises:
        InputError: weights are missing or do not fit.
    """
    variables = jax.jit(functools.partial(model.init, train=False))(
        jax.random.key(config.seed), **net_inputs(batch, config.encoder.name))
    variables = {'params': variables['params'], 'batch_stats': variables.get('batch_stats', {})}
    given = config.start_from.get(net, {})
    parts = {part: given for part in variables['params']} if isinstance(given, str) else given
    for part in variables['params']:
        if parts.get(part):
            folder = pathlib.Path(workdir) / parts[part] if parts[part] in branch.FRAMES else pathlib.Path(parts[part])
            trained = checkpoint.load_variables(folder / 'variables')
            variables = checkpoint.replace_part(variables, part, {k: v.get(part, {}) for k, v in trained.items()}, folder)
            if part == 'encoder' and net in ('SA', 'ST') and not isinstance(given, str):
                gain = 1.5 if net == 'ST' or config.sa_fuse == 'gate' else 1.0
                fused, plain = (of['params']['classifier'] for of in (variables, trained))
                variables['params']['classifier'] = begin_classifier(fused, plain, gain)
            if part == 'encoder' and net in classifiers.PLUS_NETS and not isinstance(given, str):
                variables = begin_plus(variables, trained, folder)
        elif part in ('encoder', 'audio_encoder') and config[part].weights:
            variables = checkpoint.replace_part(variables, part, encoder_weights(config[part]), config[part].weights)
    return variables


def encoder_weights(encoder: ConfigDict) -> Variables:
    """The pretrained variables of an encoder's config (`name` and `weights`): of a folder, or see `sources.find`."""
    if encoder.weights in sources.KEPT:
        return sources.find(encoder.name, encoder.weights)
    return checkpoint.load_variables(encoder.weights)


def begin_plus(variables: Variables, trained: Variables, folder: str | os.PathLike) -> Variables:
    """Initial variables of S+, SA+ or ST+ with which the net answers about as the trained S, SA or ST: its nodes are that net's maps.

    C-GCN's gates close on negative values and saturate at large ones, so the maps are halved and raised by 2, to where C-GCN tells
    classes that are present from others; its query and key begin equal, so that a place attends to similar places; the classifier
    undoes the scaling.

    Args:
        variables: of S+, SA+ or ST+, drawn at random.
        trained: of S, SA or ST.
        folder: where these are from, for error messages.
    """
    plain, bias = trained['params']['classifier'], np.zeros_like(variables['params']['classifier']['bias'])
    one = np.eye(bias.size, dtype=np.float32)[None, None]
    reduce = {'params': {'kernel': plain['kernel'] / 2, 'bias': plain['bias'] / 2 + 2}}
    variables = checkpoint.replace_part(variables, 'reduce', reduce, folder)
    if 'cgcn' in variables['params']:
        alike = {'kernel': np.sqrt(np.float32(0.3)) * one, 'bias': bias}
        variables['params']['cgcn'] = {'query': alike, 'key': alike}
    variables['params']['classifier'] = {'kernel': 4 * one, 'bias': bias - 5}
    return variables


def begin_classifier(fused: Mapping[str, AnyArray], plain: Mapping[str, AnyArray], gain: float) -> dict[str, AnyArray]:
    """Initial weights of the classifier of SA or ST with which the net answers about as the trained S.

    The first channels that this classifier takes are S's features s times a gain: `relu(sigmoid(gate) s + s)` is 1.5 s for an
    untrained gate. S's kernel over the gain is put there, zeros on the other channels.

    Args:
        fused: `kernel` and `bias` of the classifier of SA or ST.
        plain: those of S.
        gain: see above.
    """
    kernel = plain['kernel'] / np.float32(gain)
    rest = fused['kernel'].shape[2] - kernel.shape[2]
    return {**fused, 'kernel': np.pad(kernel, [(0, 0), (0, 0), (0, rest), (0, 0)]), 'bias': plain['bias']}
