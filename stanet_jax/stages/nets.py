"""The nets S, SA, ST and S+, SA+, ST+ as a config has them: how they are made, what they take, what they begin from."""
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import losses, scam
from stanet_jax.data import augmentation
from stanet_jax.models import branch, classifiers
from stanet_jax.training import checkpoint


def make_classifier(config, source, classes):
    """The net `source` ('S', 'SA', 'ST', or one of `classifiers.PLUS_NETS`) as the config has it."""
    source, _, granularity = source.partition('_')
    fields = (source, classes, config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm, compute_dtype(config),
              config.sa_fuse)
    return classifiers.ClassifierPlus(*fields, config.blender.to_dict()) if granularity else classifiers.Classifier(*fields)


def compute_dtype(config):
    """The type to compute in; 'auto' is bfloat16 on accelerators."""
    auto = jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16
    return {'auto': auto, 'float32': jnp.float32, 'bfloat16': jnp.bfloat16}[config.dtype]


def example_batch(config, net, classes, batch):
    """Zeros in the shapes of a batch for a net, as `batches.iterate_batches` gives them."""
    source, _, granularity = net.partition('_')
    side, lead = config.data.side, (batch, config.fragments + 1) if granularity else (batch,)
    result = {'tags': np.zeros((batch, classes), np.float32), 'clip': np.zeros(batch, np.int32), 'mask': np.ones(batch, bool)}
    if branch.FRAMES[source]:
        result['frames'] = np.zeros((*lead, branch.FRAMES[source], side, side, 3), np.uint8)
    if source in branch.SOUND:
        result |= {'audio': np.zeros((*lead, 257, 98), np.float32), 'phi': np.ones(lead, np.float32)}
    return result


def net_inputs(batch, key=None, jitter=None):
    """A batch's arrays as the net takes them: frames normalised and, with a key, jittered before."""
    result = {k: batch[k] for k in ('frames', 'audio', 'phi') if k in batch}
    if 'frames' in result:
        frames = result['frames']
        if key is not None:  # all fragments of an example alike
            frames = augmentation.jitter(frames.reshape(len(frames), -1, *frames.shape[-3:]), key, jitter).reshape(frames.shape)
        result['frames'] = augmentation.normalise(frames)
    return result


def tag_loss(variables, batch, key, *, model, jitter):
    """Eq. 7 of each example [b] and the new batch statistics, from augmented frames."""
    (logits, _), updated = model.apply(variables, **net_inputs(batch, key, jitter), train=True, mask=batch['mask'],
                                       mutable=['batch_stats'])
    return losses.multilabel_soft_margin(logits, batch['tags']), updated.get('batch_stats', {})


def predict_tags(variables, batch, *, model):
    """Logits [b, c] and the class activation map of the tags [b, h, w] (None for a net without maps)."""
    logits, out = model.apply(variables, **net_inputs(batch))
    return logits, scam.class_activation(out['maps'], batch['tags']) if 'maps' in out else None


def initial_variables(config, name, model, batch, workdir):
    """Fresh variables of the net `name`, of which the config may begin some from trained nets.

    `config.start_from[name]` is the folder of a trained net of the same shape, or a dict of a folder for each part; a net of this
    run (`S`) is meant by its name alone. `config.encoder.weights` and `config.audio_encoder.weights` are folders of encoders' own.
    """
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(config.seed), **net_inputs(batch))
    variables = {'params': variables['params'], 'batch_stats': variables.get('batch_stats', {})}
    given = config.start_from.get(name, {})
    parts = {part: given for part in variables['params']} if isinstance(given, str) else given
    for part in variables['params']:
        if parts.get(part):
            folder = pathlib.Path(workdir) / parts[part] if parts[part] in branch.FRAMES else pathlib.Path(parts[part])
            trained = checkpoint.load_variables(folder / 'variables')
            variables = checkpoint.replace_part(variables, part, {k: v.get(part, {}) for k, v in trained.items()}, folder)
            if part == 'encoder' and name in ('SA', 'ST') and not isinstance(given, str):
                gain = 1.5 if name == 'ST' or config.sa_fuse == 'gate' else 1.0
                fused, plain = (of['params']['classifier'] for of in (variables, trained))
                variables['params']['classifier'] = begin_classifier(fused, plain, gain)
            if part == 'encoder' and name in classifiers.PLUS_NETS and not isinstance(given, str):
                variables = begin_plus(variables, trained, folder)
        elif part in ('encoder', 'audio_encoder') and config[part].weights:
            variables = checkpoint.replace_part(variables, part, checkpoint.load_variables(config[part].weights), config[part].weights)
    return variables


def begin_plus(variables, trained, folder):
    """S+, SA+ or ST+ such that the net begins by answering about as S, SA or ST does: its nodes are the maps of that net's classes.

    C-GCN's gates close on what is below 0 and saturate at what is far above, so the maps are halved and moved up by 2, to where C-GCN
    can tell a class that shows from one that does not; its query and key begin alike, so that a place attends to its likes; the
    classifier brings the answer back to the maps' scale.
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


def begin_classifier(fused, plain, gain):
    """The classifier of SA or ST such that the net begins by answering about as S does.

    What `fused` takes begins with s, or with what stands for it: `relu(sigmoid(gate) s + s)`, which an untaught gate makes 1.5 s. S's
    kernel over this `gain` goes there, zeros to the rest.
    """
    kernel = plain['kernel'] / np.float32(gain)
    rest = fused['kernel'].shape[2] - kernel.shape[2]
    return {**fused, 'kernel': np.pad(kernel, [(0, 0), (0, 0), (0, rest), (0, 0)]), 'bias': plain['bias']}
