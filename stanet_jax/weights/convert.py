"""Weights of torch networks for our encoders: torchvision's VGG-16, ResNet-101, ResNeXt-101 (or WSL's), VGGSound's, EPS's ResNet-38.

    python -m stanet_jax.convert --name=vgg16 --src=vgg16-397923af.pth --out=weights/vgg16

writes what configs take as `config.encoder.weights` or `config.audio_encoder.weights`. Needs no torch, runs no code of the file.
"""
import functools
import re
import sys

import jax
import numpy as np

from stanet_jax import InputError
from stanet_jax.models import backbones
from stanet_jax.models.backbones import vgg
from stanet_jax.weights import torch_file

LEAVES = {'kernel': 'weight', 'scale': 'weight', 'mean': 'running_mean', 'var': 'running_var'}
# An input of each net; its variables' shapes do not depend on the sides.
PICTURE, SOUND = (1, 32, 32, 3), (1, 257, 98)
SHAPES = {'vgg16': PICTURE, 'resnext101_32x8d': PICTURE, 'vggsound': SOUND, 'resnet38': PICTURE, 'resnet101': PICTURE}
FIRST = {'vgg16': 'features.0.weight', 'resnext101_32x8d': 'conv1.weight', 'vggsound': 'conv1.weight', 'resnet38': 'conv1a.weight',
         'resnet101': 'conv1.weight'}
FILES = {'vgg16': "torchvision's vgg16", 'resnext101_32x8d': "torchvision's or the WSL models' resnext101_32x8d",
         'vggsound': "VGGSound's ResNet-18", 'resnet38': "EPS's ResNet-38", 'resnet101': "torchvision's resnet101"}


def expected(name, **fields):
    """The variables of an encoder as shapes, and the torch name of each: two trees alike."""
    net = backbones.create(name, **fields)
    variables = jax.eval_shape(functools.partial(net.init, jax.random.key(0)), jax.ShapeDtypeStruct(SHAPES[name], np.float32))
    return variables, jax.tree_util.tree_map_with_path(lambda path, _: torch_name(name, [part.key for part in path[1:]]), variables)


def torch_name(name, path):
    """The torch name of a variable: ['layer1_0', 'bn1', 'scale'] -> 'layer1.0.bn1.weight', ['conv1_2', 'bias'] -> 'features.2.bias'."""
    *modules, leaf = path
    if name == 'vgg16':
        modules = [VGG16[modules[0]]]
    elif name != 'resnet38':  # whose blocks are called b4_1 in torch, too
        modules = [re.sub(r'_(\d+)$', r'.\1', module) for module in modules]
    return '.'.join([*modules, LEAVES.get(leaf, leaf)])


def vgg16_names():
    """{'conv1_1': 'features.0', 'conv1_2': 'features.2', ...}: torchvision counts the relus and pools, too."""
    names, place = {}, 0
    for level, (convs, _) in enumerate(vgg.LEVELS, start=1):
        for i in range(1, convs + 1):
            names[f'conv{level}_{i}'] = f'features.{place}'
            place += 2
        place += 1
    return names


VGG16 = vgg16_names()


def from_torch(x):
    """A tensor as Flax has it: kernels [o, i, h, w] -> [h, w, i, o] and [o, i] -> [i, o]."""
    return np.ascontiguousarray(x.transpose(2, 3, 1, 0) if x.ndim == 4 else x.T if x.ndim == 2 else x)


def to_torch(x):
    """The inverse of `from_torch`."""
    return x.transpose(3, 2, 0, 1) if x.ndim == 4 else x.T


def translate(tensors, name, source):
    """What `load_torch` returns, from `torch_file.read`'s tensors, and the names of those that are not used.

    The names may stand under any prefix, as `model_state_dict.audnet.` or `module.`.
    """
    found = min((key for key in tensors if f'.{key}'.endswith(f'.{FIRST[name]}')), key=len, default=None)
    if found is None:
        raise InputError(f'{source}: no weights of {FILES[name]}: {FIRST[name]} is missing, {next(iter(tensors))} is there')
    prefix = found.removesuffix(FIRST[name])
    pool = {'pool': 'netvlad' if f'{prefix}avgpool.centroids' in tensors else 'average'} if name == 'vggsound' else {}
    variables, names = expected(name, **pool)
    wrong, used = [], set()

    def take(wanted, key):
        x = tensors.get(prefix + key)
        used.add(prefix + key)
        if x is None:
            wrong.append(f'{key} is missing')
            return None
        turn = (lambda x: x) if key == 'avgpool.centroids' else from_torch  # [k, c] in both
        if x.dtype != wanted.dtype or turn(x).shape != wanted.shape:
            fits = to_torch(np.empty(wanted.shape)).shape if turn is from_torch else wanted.shape
            wrong.append(f'{key} is {x.dtype} {x.shape}, expected {wanted.dtype} {fits}')
        return turn(x)

    result = jax.tree.map(take, variables, names)
    if wrong:
        more = f', and {len(wrong) - 1} more like it' if len(wrong) > 1 else ''
        raise InputError(f'{source}: not the weights of {FILES[name]}: {wrong[0]}{more}')
    return result, sorted(tensors.keys() - used)


def load_torch(path, name):
    """An encoder's variables from a file of torch's or safetensors'.

    Args:
        path: .pth, .pt (of any version of torch) or .safetensors.
        name: `vgg16` (torchvision's names, whatever the strides, pools and dilation there: they hold no weights),
            `resnext101_32x8d` (torchvision's or WSL's), `resnet101` (torchvision's), `resnet38` (of the releases of EPS and
            AffinityNet) or `vggsound` (with NetVLAD or with the mean over places; in configs the latter goes with the encoder
            `vggsound_average`).
    Returns:
        A dict of `params` and, where the net has them, `batch_stats`, float32 arrays, as `backbones.create(name).apply` takes it.
    Raises:
        InputError: another name; a file that is missing, damaged or of other sort, or holds code; a key that is missing, of another
            shape or not float32.
    """
    return convert(path, name)[0]


def convert(path, name):
    """`load_torch`, and the names of the tensors that the encoder has no use for."""
    if name not in SHAPES:
        raise InputError(f'--name={name}: must be one of {", ".join(SHAPES)}')
    return translate(torch_file.read(path), name, path)


if __name__ == '__main__':
    from stanet_jax import cli  # here, as this file is a door only when it is run
    cli.main(['convert', *sys.argv[1:]])
