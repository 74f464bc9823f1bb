"""The classifiers S, SA, ST and S+, SA+, ST+ of a config: their modules, their inputs, their loss and their initial variables."""
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Key
from ml_collections import ConfigDict

from stanet_jax import losses, scam
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.compilation import optimise
from stanet_jax.data import augmentation
from stanet_jax.data.features import LEVELS
from stanet_jax.media.sound import FRONT_ENDS
from stanet_jax.models import backbones, branch, classifiers, students
from stanet_jax.training import checkpoint
from stanet_jax.weights import sources

# --------------------------------------------------------------------------------------------------------- nets and their inputs


def make_classifier(config: ConfigDict, net: str, classes: int) -> classifiers.Classifier:
    """The module of the net 'A', 'S', 'SA', 'ST', 'STA' or one of `classifiers.PLUS_NETS`, with the fields of the config."""
    source, granularity = branch.parse_net(net)
    fields = (source, classes, config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm,
              compute_dtype(config.dtype), config.sa_fuse, config.get('refine', False), config.get('remat', False))
    if not granularity:
        return classifiers.Classifier(*fields)
    return classifiers.ClassifierPlus(*fields, flax.core.freeze(config.blender.to_dict()))


def compute_dtype(name: str) -> DTypeLike:
    """The type to compute in: 'float32', 'bfloat16', or 'auto', which is bfloat16 on accelerators and float32 on CPUs."""
    auto = jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16
    return {'auto': auto, 'float32': jnp.float32, 'bfloat16': jnp.bfloat16}[name]


def example_batch(config: ConfigDict, net: str, classes: int, batch: int) -> dict[str, np.ndarray]:
    """A batch of `batch` examples of a net as `batches.iterate_batches` yields it, its frames, sounds and tags all zeros."""
    source, granularity = branch.parse_net(net)
    side, lead = config.data.side, (batch, config.fragments + 1) if granularity else (batch,)
    frames, pictures = branch.FRAMES[source], (side, side, 3)
    result = {'tags': np.zeros((batch, classes), np.float32), 'clip': np.zeros(batch, np.int32), 'mask': np.ones(batch, bool)}
    if frames and config.encoder.get('frozen'):
        shapes = feature_shapes(config.encoder, np.zeros((1, *pictures), np.uint8))
        result |= {level: np.zeros((*lead, frames if level == 'C5' else 1, *shapes[level]), np.float16) for level in levels_of(net)}
    elif frames:
        result['frames'] = np.zeros((*lead, frames, *pictures), np.uint8)
    if source in branch.SOUND:
        sound, result['phi'] = np.zeros((1, *FRONT_ENDS[front_end(config)].shape), np.float32), np.ones(lead, np.float32)
        if config.audio_encoder.get('frozen'):
            result['embedding'] = np.zeros((*lead, *feature_shapes(config.audio_encoder, sound)['embedding']), np.float16)
        else:
            result['audio'] = np.zeros((*lead, *sound.shape[1:]), np.float32)
    return result


def levels_of(net: str) -> tuple[str, ...]:
    """Which features of frames a net takes; of all but C5, those of the target frame alone."""
    return ('C3', 'C4', 'C5') if net == 'STA' else ('C5',)


def front_end(config: ConfigDict) -> str:
    """Which of `sound.FRONT_ENDS` makes what the audio encoder of a config hears."""
    return config.audio_encoder.get('hears') or backbones.hears(config.audio_encoder.name)


def feature_shapes(encoder: ConfigDict, x: np.ndarray) -> dict[str, tuple[int, ...]]:
    """The shapes of what an encoder gives of one picture, uint8 [1, h, w, 3], or of one sound, [1, f, t], by name."""
    model = backbones.create(encoder.name)
    found = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], jnp.float32(x))
    return {name: of.shape[1:] for name, of in found.items()}


def net_inputs(batch: Mapping[str, AnyArray], encoder: str, key: Key[jax.Array, ''] | None = None,
               jitter: Sequence[float] = ()) -> dict[str, Any]:
    """The keyword arguments `frames`, `audio` and `phi` that a net takes of a batch, as far as the batch has them.

    Features of frozen encoders stand in the place of frames and sounds.

    Frames are normalised for the image encoder of that name. With a random key they are jittered before, see `augmentation.jitter`; all
    fragments of an example change alike.
    """
    result: dict[str, Any] = {k: batch[k] for k in ('frames', 'audio', 'phi') if k in batch}
    if 'frames' in result:
        frames = result['frames']
        if key is not None:
            frames = augmentation.jitter(frames.reshape(len(frames), -1, *frames.shape[-3:]), key, jitter).reshape(frames.shape)
        result['frames'] = backbones.normalise(encoder, frames)
    if 'C5' in batch:
        result['frames'] = {level: batch[level] for level in LEVELS if level in batch}
    if 'embedding' in batch:
        result['audio'] = {'embedding': batch['embedding']}
    return result


def those_that_count(mask: Bool[AnyArray, ' b']) -> Bool[AnyArray, ' b']:
    """The examples that batch statistics are of: all of a batch in which none counts, as those of no example are not numbers."""
    return mask | ~mask.any()


TAG_LOSSES = {'soft_margin': losses.multilabel_soft_margin, 'softmax': losses.softmax_cross_entropy}  # TPAMI Eq. 7; CVPR


def tag_loss(variables: Variables, batch: Mapping[str, AnyArray], key: Key[jax.Array, ''], *, model: nn.Module, jitter: Sequence[float],
             loss: str = 'soft_margin', node_loss: float = 0.0, before_loss: float = 0.0) -> tuple[Float[jax.Array, ' b'], Variables]:
    """The loss of each example on jittered frames, and the new batch statistics.

    Args:
        variables: of the net.
        batch: of examples.
        key: of the step.
        model: the net.
        jitter: see `augmentation.jitter`.
        loss: of the target, a key of `TAG_LOSSES`.
        node_loss: of S+, SA+ and ST+, the weight of the same loss of each other node, with the target's tags.
        before_loss: of these nets, its weight on each node before the reasoning.
    """
    every: dict[str, Any] = {'every_node': True} if node_loss or before_loss else {}
    (logits, out), updated = model.apply(variables, **net_inputs(batch, model.encoder, key, jitter), train=True,
                                         mask=those_that_count(batch['mask']), mutable=['batch_stats'], **every)
    of_tags = functools.partial(TAG_LOSSES[loss], labels=batch['tags'])
    total = of_tags(logits)
    if every:
        of_nodes = jax.vmap(of_tags, in_axes=1, out_axes=1)
        total += node_loss * of_nodes(out['nodes'][:, 1:]).sum(axis=1) + before_loss * of_nodes(out['before']).sum(axis=1)
    return total, updated.get('batch_stats', {})


def make_tag_loss(config: ConfigDict, net: str, model: nn.Module) -> Callable[..., Any]:
    """`tag_loss` of a net with the fields of the config."""
    plus = {field: config[field] for field in ('node_loss', 'before_loss')} if branch.parse_net(net).granularity else {}
    return functools.partial(tag_loss, model=model, jitter=tuple(config.jitter), loss=config.loss, **plus)


class TagPrediction(NamedTuple):
    """What a classifier predicts for a batch whose tags are known.

    Attributes:
        logits: of the classes.
        cam: class activation map of the tags (TPAMI Eq. 1), in [0, 1]; None for a net without maps.
    """
    logits: Float[AnyArray, 'b c']
    cam: Float[AnyArray, 'b h w'] | None


def predict_tags(variables: Variables, batch: Mapping[str, AnyArray], *, model: Any, centred: bool = False) -> TagPrediction:
    """The logits of a classifier, and its class activation map of `batch['tags']`, `centred` or not, see `scam.class_activation`."""
    logits, out = model.apply(variables, **net_inputs(batch, model.encoder))
    return TagPrediction(logits, scam.class_activation(out['maps'], batch['tags'], centred) if 'maps' in out else None)


# -------------------------------------------------------------------------------------------------------- initial variables


def initial_variables(config: ConfigDict, net: str, model: nn.Module, batch: Mapping[str, AnyArray],
                      workdir: str | os.PathLike) -> Variables:
    """Variables to train a net from: drawn with `config.seed`, some of them then replaced by trained ones.

    `config.start_from[net]` is the folder of a trained net of the same structure, or {part: folder of a net that has this part}; a net
    of this run is given by its name alone, as 'S'. A `classifier` begins so that the net answers as the given one, see `begin_classifier`
    and `begin_plus`. `config.encoder.weights` and `config.audio_encoder.weights` are folders of an encoder's weights, or 'pip' or
    'fetched', see `sources.find`; `start_from` has precedence.

    Args:
        config: of the run.
        net: name of the net.
        model: its module.
        batch: an example, for the shapes of the inputs.
        workdir: folder of the run.
    Raises:
        InputError: weights are missing or do not fit.
    """
    size: dict[str, Any] = {'size': (config.data.side,) * 2} if isinstance(model, students.STA | students.STAPlus) else {}
    init, key = functools.partial(model.init, train=False, **size), jax.random.key(config.seed)
    inputs, given = net_inputs(batch, config.encoder.name), config.start_from.get(net, {})
    shapes = jax.eval_shape(init, key, **inputs)
    runs = dict.fromkeys(shapes['params'], given) if isinstance(given, str) else given
    folders = {part: pathlib.Path(workdir) / of if of in branch.FRAMES else pathlib.Path(of) for part, of in runs.items()
               if of and part in shapes['params']}
    plain = None if isinstance(given, str) else folders.pop('classifier', None)  # whose answers the net begins with
    pretrained = {part: config[part] for part in ('encoder', 'audio_encoder')
                  if part in shapes['params'] and part not in folders and config[part].weights}
    variables = draw_but({*folders, *pretrained}, shapes, init, key, inputs)
    for part, folder in folders.items():
        trained = checkpoint.load_variables(folder / 'variables')
        variables = checkpoint.replace_part(variables, part, {k: v.get(part, {}) for k, v in trained.items()}, folder)
    for part, encoder in pretrained.items():
        variables = checkpoint.replace_part(variables, part, encoder_weights(encoder), encoder.weights)
    if not plain:
        return variables
    trained = checkpoint.load_variables(plain / 'variables')
    if net in classifiers.PLUS_NETS:
        return begin_plus(variables, trained, plain)
    gain = 1.5 if net == 'ST' or config.sa_fuse == 'gate' else 1.0
    fused = variables['params']['classifier']
    variables['params']['classifier'] = begin_classifier(fused, trained['params']['classifier'], gain)
    return variables


def draw_but(replaced: Set[str], shapes: Variables, init: Callable[..., Variables], key: Key[jax.Array, ''],
             inputs: Mapping[str, Any]) -> Variables:
    """Draws a net's variables, but for parts that are to be replaced, which are left as shapes: what is not drawn is not compiled.

    Args:
        replaced: names of these parts.
        shapes: of all variables.
        init: gives the variables for a key and the inputs.
        key: to draw with.
        inputs: of the net.
    """
    def draw(key, inputs):
        return {collection: {part: of for part, of in tree.items() if part not in replaced}
                for collection, tree in init(key, **inputs).items()}

    drawn = {} if replaced >= shapes['params'].keys() else jax.jit(draw, compiler_options=optimise(0))(key, inputs)
    return {collection: {**shapes.get(collection, {}), **drawn.get(collection, {})} for collection in ('params', 'batch_stats')}


def load_net(config: ConfigDict, folder: str | os.PathLike) -> Variables:
    """The variables of a trained net of a config, with those of its frozen encoders, which are not kept with it.

    Args:
        config: of the run.
        folder: of the net.
    Raises:
        InputError: the net is not trained, or an encoder's weights are missing.
    """
    variables = checkpoint.load_variables(pathlib.Path(folder) / 'variables')
    result = {'params': dict(variables['params']), 'batch_stats': dict(variables.get('batch_stats', {}))}
    for part in ('encoder', 'audio_encoder'):
        if config[part].get('frozen'):
            for collection, tree in encoder_weights(config[part]).items():
                result[collection][part] = tree
    return result


def encoder_weights(encoder: ConfigDict) -> Variables:
    """The pretrained variables of an encoder's config (`name` and `weights`): of a folder, or see `sources.find`."""
    if encoder.weights in sources.KEPT:
        return sources.find(encoder.name, encoder.weights)
    return checkpoint.load_variables(encoder.weights)


def weights_place(encoder: ConfigDict) -> pathlib.Path:
    """The file or the folder that holds the pretrained variables of an encoder's config; InputError where they are not here."""
    return sources.locate(encoder.name, encoder.weights) if encoder.weights in sources.KEPT else pathlib.Path(encoder.weights)


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
