"""The authors' checkpoints: files of STANet's and STANet+'s releases and of EPS to nets of `models.release` and their variables.

Which net a file is of, and which state of the release's code it fits, is told from its keys. Needs no torch and runs nothing of the file.
"""
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.models import backbones
from stanet_jax.models.release import classifiers, others, plus, students
from stanet_jax.models.release.parts import PARTS
from stanet_jax.weights import convert, mxnet_file, torch_module

Tensors = Mapping[str, np.ndarray]
RAW = ('centroids', 'weight')  # variables that are laid out as torch has them


class Loaded(NamedTuple):
    """A net out of a file.

    Attributes:
        net: its name, as 'sta'.
        version: which of its versions, as 'bytecode'.
        module: a net of `models.release`; of an ImageNet file the encoder itself.
        variables: float32, of the module.
    """
    net: str
    version: str
    module: nn.Module
    variables: Variables


class Kind(NamedTuple):
    """What a file is of.

    Attributes:
        net, version, module: as of `Loaded`.
        stems: how names begin in the file, {part: {layer: stem}}, of parts whose layers have other names there.
        unused: beginnings of names that the release's code has and does not use.
    """
    net: str
    version: str
    module: nn.Module
    stems: Mapping[str, Mapping[str, str]]
    unused: tuple[str, ...] = ()


def listed(stem: str) -> dict[str, str]:
    """Stems of a ResNet that the release has as a list of its children."""
    return {'conv1': f'{stem}.0', 'bn1': f'{stem}.1', **{f'layer{k}': f'{stem}.{k + 3}' for k in range(1, 5)}, 'avgpool': f'{stem}.8'}


def apart(stem: str) -> dict[str, str]:
    """Stems of a ResNet that the first release has as a part for each layer."""
    return {'conv1': f'{stem}_0.0', 'bn1': f'{stem}_0.1', **{f'layer{k}': f'{stem}_{k}' for k in range(1, 5)}, 'avgpool': f'{stem}_p'}


R2 = {'encoder': listed('features'), 'audio_encoder': listed('audio_model')}
STA = {**R2, 'encoder': {**listed('features0'), 'layer3': 'features1', 'layer4': 'features2'}}
VGG = {**R2, 'encoder': convert.VGG16}
TELLING = ('extra_predict4.weight', 'extra_out0.weight', 'extra_main_classifier1.weight', 'layerV_d.weight', 'AVTFuse.weight',
           'Afc1.weight', 'fc8.weight', 'extra_conv_safusion.weight', 'extra_conv_stfusion.weight', 'extra_convs.weight',
           'extra_video_d.weight', 'extra_refineST.1.weight', 'extra_refineST.4.weight')
OLD_AUDIO = ('extra_audio_d.', 'extra_bilinear.', 'extra_refineSA.')  # of the bytecode's gate, unused in the source files


def tell(tensors: Tensors, module: str = '', source: str | os.PathLike = '') -> Kind:
    """Which net a file is of.

    Args:
        tensors: of the file, by name.
        module: of a whole module, the Python module of its class.
        source: the file, for errors.
    Raises:
        InputError: it is of none.
    """
    shapes = {key: x.shape for key, x in tensors.items()}
    gate = 'extra_gates' if 'extra_gates.weight' in shapes else 'extra_gate'
    other_gate = ('extra_gate.',) if gate == 'extra_gates' else ()
    state = 'source' if 'extra_lineara.weight' in shapes else 'bytecode'
    unused = OLD_AUDIO if state == 'source' else ()
    if 'extra_predict4.weight' in shapes:
        if 'extra_convs.1.weight' not in shapes:
            raise InputError(f'{source}: extra_convs.1.weight is missing: the older sibling of STANet, without a switch, which is not '
                             'supported; give the STANet.pth that is published with the switch')
        return Kind('sta', 'bytecode', students.STABytecode(), STA, ('extra_bilinear.', 'extra_ConvGRU.'))
    if 'extra_out0.weight' in shapes:
        return Kind('sta', 'source', students.STASource(), STA,
                    ('extra_audio_d.', 'extra_gate.', 'extra_refineSA.', 'extra_conv_stafusion.'))
    if 'extra_main_classifier1.weight' in shapes:
        return Kind('stagcn', state, students.STAGCN(state), VGG, unused)
    if 'layerV_d.weight' in shapes:
        return Kind('switch', 'v2', others.Switch(), {'encoder': listed('layerV'), 'audio_encoder': listed('layerA')})
    if 'AVTFuse.weight' in shapes:
        version = 'STA_model' if module.endswith('STA_model') else 'modelsAVQ'
        return Kind('cvpr_sta', version, others.CVPRSTA(version, shapes.get('predictF.weight', (1,))[-1]),
                    {'encoder': apart('layerV'), 'audio_encoder': apart('layerA')}, ('Vatten_conv.', 'Afc.'))
    if 'Afc1.weight' in shapes:
        return Kind('cvpr_switch', 'v1', others.CVPRSwitch(), {'audio_encoder': listed('layerA')}, ('Afc.',))
    if 'fc8.weight' in shapes:
        maps, eps = shapes['fc8.weight'][0], shapes['fc8.weight'][0] in (21, 81)
        if maps in (20, 80) or eps:
            return Kind('eps' if eps else 'eps_cls', 'release', others.EPSNet(maps, not eps), {})
        raise InputError(f'{source}: fc8.weight has {maps} rows; of EPS are 20 (VOC) or 80 (COCO), and one more with the background')
    if shapes.get('features.28.weight') == (512, 512, 3, 3):
        if 'extra_conv_safusion.weight' in shapes:
            return Kind('sa_plus', state, plus.SAPlus(state), VGG, unused)
        if 'extra_conv_stfusion.weight' in shapes:
            if 'extra_refineST.0.weight' in shapes:
                return Kind('st_plus', 'v2', plus.STPlus(), VGG, ('extra_ConvGRU.',))
            return Kind('s_plus', 'v2', plus.SPlus(), VGG, ('extra_conv_stfusion.',))
    if shapes.get('extra_convs.weight') == (28, 1024, 1, 1):
        return Kind('s', 'v2', classifiers.S(gate), R2, other_gate)
    if 'extra_video_d.weight' in shapes:
        return Kind('sa', 'bytecode', classifiers.SA(gate), R2, ('extra_bilinear.', *other_gate))
    if 'extra_refineST.4.weight' in shapes:
        return Kind('st', 'bytecode', classifiers.ST('bytecode', gate), R2, other_gate)
    if 'features.7.0.conv1.weight' in shapes and 'extra_refineST.1.weight' in shapes:
        return Kind('st', 'source', classifiers.ST('source', gate), R2, other_gate)
    raise InputError(f'{source}: of none of the released nets: {next(iter(shapes))} and {len(shapes) - 1} more are there, but none of '
                     f'{", ".join(TELLING)} that tell one; give a file that docs/release.md lists')


def load(path: str | os.PathLike) -> Loaded:
    """Loads a file of the authors' releases: `.pth`, `.pt`, or for ImageNet's ResNet-38 `.params`.

    Raises:
        InputError: the file is missing, damaged or of no released net, or names the first tensor that is missing, of another shape or
            unknown.
    """
    return load_all(path)[0]


def load_all(path: str | os.PathLike) -> tuple[Loaded, list[str]]:
    """As `load`, with the sorted names of the tensors that the net has no use for."""
    if is_params(path):
        tensors = mxnet_file.resnet38_names(mxnet_file.read(path))
        kind = Kind('resnet38', 'imagenet', backbones.create('resnet38'), {})
    else:
        tensors, module = torch_module.read(path)
        kind = tell(tensors, module, path)
    variables, unused = take(tensors, kind, path)
    return Loaded(*kind[:3], variables), unused


def is_params(path: str | os.PathLike) -> bool:
    """Whether a file is MXNet's; False where it cannot be read."""
    try:
        with open(path, 'rb') as file:
            return mxnet_file.is_params(file.read(8))
    except OSError:
        return False


def take(tensors: Tensors, kind: Kind, source: str | os.PathLike) -> tuple[Variables, list[str]]:
    """The variables of a net out of a file's tensors, and the names of those that it has no use for; InputError as `load`."""
    wanted, used = shapes_of(kind.module), set[str]()

    def of(path, like):
        key, raw = key_of([part.key for part in path[1:]], kind), path[-1].key in RAW
        shape = like.shape if raw else convert.to_torch(np.broadcast_to(np.float32(0), like.shape)).shape
        x = tensors.get(key)
        if x is None:
            raise InputError(f'{source}: not the weights of {kind.net} ({kind.version}): {key} is missing')
        if x.shape != shape or not jnp.issubdtype(x.dtype, jnp.floating):
            raise InputError(f'{source}: not the weights of {kind.net} ({kind.version}): {key} is {x.dtype} {x.shape}, expected '
                             f'float32 {shape}')
        used.add(key)
        x = x.astype(np.float32, copy=False)
        return x if raw else convert.from_torch(x)

    variables = jax.tree_util.tree_map_with_path(of, wanted)
    rest = sorted(tensors.keys() - used)
    unknown = [key for key in rest if not key.startswith(kind.unused or ('\0',)) and not key.endswith('num_batches_tracked')]
    if unknown:
        raise InputError(f'{source}: not the weights of {kind.net} ({kind.version}): {unknown[0]} is unknown')
    return variables, rest


def key_of(path: list[str], kind: Kind) -> str:
    """The name in the file of a variable: of ['encoder', 'layer1_0', 'bn1', 'scale'] in `s` it is 'features.4.0.bn1.weight'."""
    *modules, leaf = [part for part in path if part not in PARTS]
    if kind.net in ('eps', 'eps_cls', 'resnet38'):
        modules = modules[modules[:1] == ['encoder']:]  # its blocks have names such as b4_1
    else:
        stems = kind.stems.get(modules[0], {})
        if stems:
            layer, _, number = modules[1].partition('_') if modules[1] not in stems else (modules[1], '', '')
            modules = [stems[layer], *([number] if number else []), *modules[2:]]
            modules[1:] = [name.replace('downsample_', 'downsample.') for name in modules[1:]]
        else:
            modules = [dotted(name) for name in modules]
    return '.'.join([*modules, convert.LEAVES.get(leaf, leaf)])


def dotted(name: str) -> str:
    """'extra_convs.0' of 'extra_convs_0'; names without a number at their end stay."""
    stem, _, number = name.rpartition('_')
    return f'{stem}.{number}' if number.isdecimal() else name


def shapes_of(module: nn.Module) -> Variables:
    """The shapes of a net's variables."""
    inputs = example_inputs(module)
    given: Any = inputs['frame'] if isinstance(module, backbones.ResNet38) else inputs
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x), given)


def example_inputs(module: nn.Module, batch: int = 1) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of inputs of a net."""
    side = max(getattr(module, 'sides', (32, 32))[0], 32)
    pair = (2,) if getattr(module, 'version', '') == 'modelsAVQ' else ()
    shapes = {'frame': (side, side, 3), 'audio': others.SPECTRUM, 'switch': pair}
    names = getattr(module, 'inputs', ('frame',))
    return {name: jax.ShapeDtypeStruct((batch, *shapes[name.rstrip('_0123456789')]), jnp.float32) for name in names}


def apply(module: nn.Module, variables: Variables, inputs: Mapping[str, AnyArray]) -> dict[str, jax.Array]:
    """What a net gives of its inputs, in float32 on any device.

    Args:
        module: of `load`.
        variables: of `load`.
        inputs: by name, channels last: normalised frames [b, h, w, 3], spectrograms [b, 257, t], switches [b].
    Returns:
        The net's outputs by name.
    Raises:
        InputError: an input is missing, or frames are of a side that the net does not take.
    """
    names: tuple[str, ...] = getattr(module, 'inputs', ('frame',))
    missing = [name for name in names if name not in inputs]
    if missing:
        raise InputError(f'inputs: {missing[0]} is missing; the net takes {", ".join(names)}')
    least, most = getattr(module, 'sides', (8, 4096))
    for name in (name for name in names if name.startswith('frame')):
        if not least <= min(inputs[name].shape[1:3]) <= max(inputs[name].shape[1:3]) <= most:
            raise InputError(f'inputs: {name} is {inputs[name].shape}; the net takes frames of {least} to {most} pixels a side')
    given = {name: jnp.asarray(inputs[name], jnp.float32) for name in names}
    with jax.default_matmul_precision('highest'):  # accelerators would round factors to fewer digits
        return compiled(module)(variables, given)


@functools.lru_cache(8)
def compiled(module: nn.Module) -> Callable[..., dict[str, jax.Array]]:
    """`module.apply` of a dict of inputs, compiled."""
    if isinstance(module, backbones.ResNet38):
        return jax.jit(lambda variables, inputs: module.apply(variables, inputs['frame']))
    return jax.jit(module.apply)  # type: ignore[arg-type]  # it takes and gives dicts
