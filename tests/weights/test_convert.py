"""Weights out of torch's files: against the original networks where torch is installed, and what must be refused everywhere."""
import argparse
import collections
import functools
import io
import os
import pathlib
import pickle
import sys
import types
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy

from stanet_jax import InputError
from stanet_jax.models import backbones
from stanet_jax.training import checkpoint
from stanet_jax.weights import convert, torch_file
from tests import forked

FORMATS = ('zip', 'old', 'safetensors')


# ---------------------------------------------------------------------------------------- files as torch writes them, without torch


class Saver(pickle.Pickler):
    """Pickles arrays as torch pickles tensors: a function of torch's on a storage, which is named and lies elsewhere."""

    def __init__(self, file, old):
        super().__init__(file, protocol=2)
        self.old, self.storages = old, {}

    def persistent_id(self, x):
        if not isinstance(x, tuple) or len(x) != 1 or not isinstance(x[0], np.ndarray):
            return None
        key = str(len(self.storages))
        self.storages[key] = x[0]
        sort = {'float32': 'Float', 'float16': 'Half', 'float64': 'Double', 'int64': 'Long'}[x[0].dtype.name]
        return ('storage', getattr(sys.modules['torch'], f'{sort}Storage'), key, 'cpu', x[0].size, *([None] if self.old else []))

    def reducer_override(self, x):
        if not isinstance(x, np.ndarray):
            return NotImplemented
        strides = tuple(n // x.itemsize for n in x.strides)
        return sys.modules['torch._utils']._rebuild_tensor_v2, ((x.ravel(),), 0, x.shape, strides, False, collections.OrderedDict())


@pytest.fixture
def fake_torch(monkeypatch):
    """Modules of torch's names, for a pickle to name."""
    def fake(module, *names):
        made = types.ModuleType(module)
        for name in names:
            of = type(name, (), {'__module__': module})
            setattr(made, name, of)
        return made

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, 'torch', fake('torch', 'FloatStorage', 'HalfStorage', 'DoubleStorage', 'LongStorage'))
        patch.setitem(sys.modules, 'torch._utils', fake('torch._utils', '_rebuild_tensor_v2'))
        yield


def write(path, tree, form):
    """A tree of arrays in one of `FORMATS`."""
    if form == 'safetensors':
        safetensors.numpy.save_file(tree, path)
    elif form == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            with archive.open('archive/data.pkl', 'w') as file:
                saver = Saver(file, False)
                saver.dump(tree)
            archive.writestr('archive/byteorder', 'little')
            for key, x in saver.storages.items():
                archive.writestr(f'archive/data/{key}', x.astype(x.dtype.newbyteorder('<')).tobytes())
    else:
        with open(path, 'wb') as file:
            for header in (torch_file.MAGIC, 1001, {'protocol_version': 1001, 'little_endian': True}):
                pickle.dump(header, file, protocol=2)
            saver = Saver(file, True)
            saver.dump(tree)
            pickle.dump(list(saver.storages), file, protocol=2)
            for x in saver.storages.values():
                file.write(np.int64(x.size).tobytes() + x.tobytes())


def random_tensors(name, **fields):
    """Random weights of an encoder under torch's names, as torch has them."""
    rng, wanted = np.random.default_rng(0), convert.expected(name, **fields)
    tensors = {}
    for key, x in zip(jax.tree.leaves(wanted.names), jax.tree.leaves(wanted.shapes), strict=True):
        made = rng.uniform(0.5, 1, x.shape).astype(np.float32)
        tensors[key] = np.ascontiguousarray(made if 'centroids' in key else convert.to_torch(made))
    return tensors


@pytest.mark.parametrize('form', FORMATS)
def test_files_of_each_format(tmp_path, fake_torch, form):
    rng = np.random.default_rng(0)
    tree = {'a.weight': rng.normal(size=(3, 4)).astype(np.float32), 'n': np.array(7), 'half': np.float16([1, 2]), 'none': np.zeros((0, 3))}
    write(tmp_path / 'file', tree, form)
    found = torch_file.read(tmp_path / 'file')
    assert found.keys() == tree.keys()
    for key, x in tree.items():
        assert found[key].dtype == x.dtype
        np.testing.assert_array_equal(found[key], x)
    if form != 'safetensors':
        write(tmp_path / 'nested', {'epoch': 3, 'net': collections.OrderedDict(tree), 'more': [tree['n'], 'text', None]}, form)
        assert torch_file.read(tmp_path / 'nested').keys() == {*(f'net.{key}' for key in tree), 'more.0'}


@pytest.mark.parametrize('name, fields, prefix', [
    ('vgg16', {}, ''), ('vggsound', {'pool': 'netvlad'}, 'model_state_dict.audnet.'), ('vggsound', {'pool': 'average'}, '')])
def test_every_tensor_lands_or_is_named(tmp_path, name, fields, prefix):
    tensors = {prefix + key: x for key, x in random_tensors(name, **fields).items()}
    extra = {f'{prefix}classifier.0.weight': np.zeros((2, 2), np.float32), f'{prefix}bn1.num_batches_tracked': np.array(1)}
    write(tmp_path / 'file.safetensors', tensors | extra, 'safetensors')
    variables, unused = found = convert.convert(tmp_path / 'file.safetensors', name)
    assert found.unused is unused and unused == sorted(extra) and found.variables is variables
    wanted = convert.expected(name, **fields)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, wanted.shapes)
    for x, key in zip(jax.tree.leaves(variables), jax.tree.leaves(wanted.names), strict=True):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x.sum(), tensors[prefix + key].sum(), rtol=1e-4)
    if name == 'vggsound':  # which pool it is shows in the variables
        out = jax.eval_shape(backbones.create(name).apply, variables, np.zeros((1, 257, 98), np.float32))
        assert out['embedding'].shape == (1, 512 if fields['pool'] == 'average' else 8192) and out['logits'].shape == (1, 309)


def test_names_as_the_originals_have_them():
    names = {name: jax.tree.leaves(convert.expected(name).names) for name in convert.SHAPES}
    assert {key for key in names['vgg16'] if key.endswith('weight')} == {
        f'features.{n}.weight' for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
    assert len(names['resnext101_32x8d']) == 520 and {'layer3.22.conv3.weight', 'layer4.0.downsample.1.running_var'} < {
        *names['resnext101_32x8d']}
    assert {'avgpool.conv.bias', 'avgpool.centroids', 'fc_.weight', 'layer2.0.downsample.0.weight'} < {*names['vggsound']}


# ------------------------------------------------------------------------------------------------------------------ what is refused


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('form', ['zip', 'old'])
def test_code_in_a_pickle_is_not_run(tmp_path, fake_torch, form):
    tree = {'conv1.weight': np.ones(3, np.float32), 'state': Evil(tmp_path / 'was here')}
    write(tmp_path / 'evil.pth', tree, form)
    assert torch_file.read(tmp_path / 'evil.pth').keys() == {'conv1.weight'}
    assert not (tmp_path / 'was here').exists()


def test_what_a_pickle_may_name_cannot_be_changed(tmp_path):
    # GLOBAL torch._utils._rebuild_tensor_v2; (None, {'__call__': 1}); BUILD
    attack = b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00__call__K\x01s\x86b.'
    with zipfile.ZipFile(tmp_path / 'evil.pth', 'w') as archive:
        archive.writestr('a/data.pkl', attack)
    with pytest.raises(InputError, match='read-only|attribute'):
        torch_file.read(tmp_path / 'evil.pth')


@pytest.mark.parametrize('name', ['builtins.eval', 'os.system', 'torch.load', 'collections.OrderedDict.fromkeys', 'numpy.load'])
def test_names_are_not_looked_up(name):
    module, _, of = name.rpartition('.')
    pickled = b'\x80\x04' + b''.join(b'\x8c' + bytes([len(s)]) + s.encode() for s in (module, of)) + b'\x93.'
    assert torch_file.Unpickler(io.BytesIO(pickled)).load() is torch_file.Inert


def test_tensors_outside_their_storage_are_refused():
    numbers = {'0': np.arange(6, dtype=np.float32)}
    whole = torch_file.Storage('0', 0, 6)
    np.testing.assert_array_equal(torch_file.Tensor(whole, 1, (2, 2), (1, 2)).of(numbers), [[1, 3], [2, 4]])
    for offset, shape, strides in ((0, (7,), (1,)), (5, (2,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 4), (3, 1))):
        with pytest.raises(ValueError, match='outside'):
            torch_file.Tensor(whole, offset, shape, strides).of(numbers)
    with pytest.raises(ValueError, match='cut short'):
        torch_file.Tensor(torch_file.Storage('0', 3, 6), 0, (6,), (1,)).of(numbers)


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('keep', [0, 1, 9, 0.3, 0.9, 0.999])
def test_what_is_cut_short_is_refused(tmp_path, fake_torch, form, keep):
    path = tmp_path / 'short.pth'
    write(path, {'a': np.ones((40, 40), np.float32), 'b': np.zeros(5, np.float32)}, form)
    content = path.read_bytes()
    path.write_bytes(content[:int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match='short.pth: not read .*; give a whole'):
        torch_file.read(path)


def test_other_files_are_refused(tmp_path):
    for name, content in (('text.pth', b'not weights at all'), ('list.pth', pickle.dumps([1, 2])),
                          ('none.safetensors', b'\x02' + 7 * b'\0' + b'{}')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name) as caught:
            torch_file.read(tmp_path / name)
        assert '\n' not in str(caught.value)
    for path in (tmp_path / 'absent.pth', tmp_path):
        with pytest.raises(InputError, match='give a .pth'):
            torch_file.read(path)


def test_other_nets_are_refused():
    tensors = random_tensors('vggsound')
    conv1, without = tensors['conv1.weight'], {k: v for k, v in tensors.items() if k != 'layer3.1.bn2.bias'}
    for changed, name, why in (
            (tensors, 'vgg16', 'features.0.weight is missing'),
            (tensors, 'resnext101_32x8d', r'running_mean is float32 \(64,\), expected float32 \(256,\), and 515 more'),
            (without, 'vggsound', 'layer3.1.bn2.bias is missing; give another file'),
            (tensors | {'fc_.weight': tensors['fc_.weight'][:28]}, 'vggsound', r'\(28, 8192\), expected float32 \(309, 8192\);'),
            *((tensors | {'conv1.weight': conv1.astype(dtype)}, 'vggsound', f'is {dtype} .*, expected float32') for dtype in (
                'int64', 'int8'))):
        with pytest.raises(InputError, match=f'of {convert.FILES[name]}.*{why}'):
            convert.translate(changed, name, 'file.pth')
    with pytest.raises(InputError, match='--name=vgg: must be one of vgg16'):
        convert.load_torch('file.pth', 'vgg')


def test_command(tmp_path):
    """What it writes is what configs take; a wrong file ends in one line and leaves what was there."""
    write(tmp_path / 'net.safetensors', random_tensors('vgg16') | {'classifier.6.bias': np.zeros(1000, np.float32)}, 'safetensors')

    def run(*args):
        return forked.python('-m', 'stanet_jax.weights.convert', *args)

    done = run('--name=vgg16', f'--src={tmp_path}/net.safetensors', f'--out={tmp_path}/weights')
    assert done.returncode == 0 and 'not used: classifier.6.bias' in done.stdout, done.stderr
    found = checkpoint.load_variables(tmp_path / 'weights')
    loaded = convert.load_torch(tmp_path / 'net.safetensors', 'vgg16')
    jax.tree.map(np.testing.assert_array_equal, found, loaded)
    wrong = run('--name=vggsound', f'--src={tmp_path}/net.safetensors', f'--out={tmp_path}/weights')
    assert wrong.returncode == 1 and len(wrong.stderr.splitlines()) == 1 and 'conv1.weight is missing' in wrong.stderr
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load_variables(tmp_path / 'weights'), loaded)
    checkpoint.replace_variables(tmp_path / 'weights', jax.tree.map(lambda x: x + 1, loaded))  # weights make room for weights
    np.testing.assert_array_equal(checkpoint.load_variables(tmp_path / 'weights')['params']['conv1_1']['bias'],
                                  loaded['params']['conv1_1']['bias'] + 1)
    with pytest.raises(InputError, match='holds other things than weights'):  # downloads do not
        checkpoint.replace_variables(tmp_path, loaded)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['net.safetensors', 'weights']


# ------------------------------------------------------------------------------------------------------------- against the originals


def torch_vgg16(torch, ours):
    """torchvision's `features`; with `ours`, pool4 at stride 1 and conv5 dilated by 2. -> net, {level: place of its last relu}."""
    nn, layers, c, last = torch.nn, [], 3, {}
    for level, (convs, channels) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), start=1):
        spread = 2 if ours and level == 5 else 1
        for _ in range(convs):
            layers += [nn.Conv2d(c, channels, 3, padding=spread, dilation=spread), nn.ReLU()]
            c = channels
        last[f'C{level}'] = len(layers) - 1
        layers.append(nn.MaxPool2d(3, 1, 1) if ours and level == 4 else nn.MaxPool2d(2, 2))
    net = nn.Module()
    net.features, net.classifier = nn.Sequential(*layers), nn.Sequential(nn.Linear(8, 8))
    return net, last


def torch_resnet(torch, blocks, bottleneck, channels, groups=32, dilated=0):
    """torchvision's ResNeXt 32x8d or, of one group, ResNet (`bottleneck`), or ResNet of basic blocks, by its names.

    The last `dilated` levels have dilation in place of stride, the first block of each that of the level before.
    """
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, c, planes, stride, dilation):
            super().__init__()
            out, width = (4 * planes, planes * 4 if groups > 1 else planes) if bottleneck else (planes, planes)
            if bottleneck:
                self.conv1, self.bn1 = nn.Conv2d(c, width, 1, bias=False), nn.BatchNorm2d(width)
                self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, groups, bias=False)
                self.bn2 = nn.BatchNorm2d(width)
                self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
            else:
                self.conv1, self.bn1 = nn.Conv2d(c, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
                self.conv2, self.bn2 = nn.Conv2d(width, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
            if stride > 1 or c != out:
                self.downsample = nn.Sequential(nn.Conv2d(c, out, 1, stride, bias=False), nn.BatchNorm2d(out))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            y = self.bn3(self.conv3(torch.relu(y))) if bottleneck else y
            return torch.relu(y + (self.downsample(x) if hasattr(self, 'downsample') else x))

    net, c = nn.Module(), 64
    net.conv1, net.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
    dilation = 1
    for level, count in enumerate(blocks, start=1):
        made, dilates, before = [], level > 4 - dilated, dilation
        dilation *= 2 if dilates else 1
        for i in range(count):
            planes = 32 * 2 ** level
            made.append(Block(c, planes, 2 if i == 0 and level > 1 and not dilates else 1, before if i == 0 else dilation))
            c = 4 * planes if bottleneck else planes
        setattr(net, f'layer{level}', nn.Sequential(*made))

    def features(x):
        x = nn.functional.max_pool2d(torch.relu(net.bn1(net.conv1(x))), 3, 2, 1)
        out = {}
        for level in (1, 2, 3, 4):
            x = out[f'C{level + 1}'] = getattr(net, f'layer{level}')(x)
        return out
    net.of = features
    return net


def torch_resnet38(torch):
    """EPS's encoder by the names of its release; `of(x)` -> what enters the two bottlenecks, and the end."""
    nn = torch.nn

    def conv(c, out, size, stride=1, dilation=1):
        return nn.Conv2d(c, out, size, stride, dilation * (size // 2), dilation, bias=False)

    class Block(nn.Module):
        def __init__(self, c, middle, out, stride=1, first=1, dilation=1):
            super().__init__()
            self.bn_branch2a, self.conv_branch2a = nn.BatchNorm2d(c), conv(c, middle, 3, stride, first)
            self.bn_branch2b1, self.conv_branch2b1 = nn.BatchNorm2d(middle), conv(middle, out, 3, 1, dilation)
            if c != out or stride > 1:
                self.conv_branch1 = conv(c, out, 1, stride)

        def forward(self, x):
            y = torch.relu(self.bn_branch2a(x))
            skip = self.conv_branch1(y) if hasattr(self, 'conv_branch1') else x
            return skip + self.conv_branch2b1(torch.relu(self.bn_branch2b1(self.conv_branch2a(y))))

    class Bottleneck(nn.Module):
        def __init__(self, c, out):
            super().__init__()
            self.bn_branch2a, self.conv_branch2a = nn.BatchNorm2d(c), conv(c, out // 4, 1)
            self.bn_branch2b1, self.conv_branch2b1 = nn.BatchNorm2d(out // 4), conv(out // 4, out // 2, 3, 1, 4)
            self.bn_branch2b2, self.conv_branch2b2 = nn.BatchNorm2d(out // 2), conv(out // 2, out, 1)
            self.conv_branch1 = conv(c, out, 1)

        def forward(self, x):
            entry = torch.relu(self.bn_branch2a(x))
            y = self.conv_branch2b1(torch.relu(self.bn_branch2b1(self.conv_branch2a(entry))))
            return self.conv_branch1(entry) + self.conv_branch2b2(torch.relu(self.bn_branch2b2(y))), entry

    net = nn.Module()
    net.conv1a = conv(3, 64, 3)
    blocks = {'b2': Block(64, 128, 128, 2), 'b2_1': Block(128, 128, 128), 'b2_2': Block(128, 128, 128), 'b3': Block(128, 256, 256, 2),
              'b3_1': Block(256, 256, 256), 'b3_2': Block(256, 256, 256), 'b4': Block(256, 512, 512, 2),
              **{f'b4_{i}': Block(512, 512, 512) for i in (1, 2, 3, 4, 5)}, 'b5': Block(512, 512, 1024, 1, 1, 2),
              'b5_1': Block(1024, 512, 1024, 1, 2, 2), 'b5_2': Block(1024, 512, 1024, 1, 2, 2)}
    for name, block in blocks.items():
        setattr(net, name, block)
    net.b6, net.b7, net.bn7 = Bottleneck(1024, 2048), Bottleneck(2048, 4096), nn.BatchNorm2d(4096)
    net.fc8 = conv(4096, 21, 1)

    def of(x):
        x = net.conv1a(x)
        for block in blocks.values():
            x = block(x)
        x, c3 = net.b6(x)
        x, c4 = net.b7(x)
        return {'C3': c3, 'C4': c4, 'C5': torch.relu(net.bn7(x))}
    net.of = of
    return net


def torch_vggsound(torch, vlad):
    """VGGSound's net: a one-channel ResNet-18, NetVLAD or the mean, a classifier. `of(x)` -> embedding, logits."""
    nn, F = torch.nn, torch.nn.functional
    net = torch_resnet(torch, (2, 2, 2, 2), False, 1)
    if vlad:
        net.avgpool = nn.Module()
        net.avgpool.conv = nn.Conv2d(512, 16, 1)
        net.avgpool.centroids = nn.Parameter(torch.rand(16, 512))
        net.fc_ = nn.Linear(8192, 309)
    else:
        net.fc = nn.Linear(512, 309)
    trunk = net.of

    def of(x):
        x = trunk(x[:, None])['C5']
        if not vlad:
            embedding = x.mean((2, 3))
            return {'embedding': embedding, 'logits': net.fc(embedding)}
        x = F.normalize(x, dim=1)
        share = torch.softmax(net.avgpool.conv(x).flatten(2), 1)  # [b, k, p]
        residuals = x.flatten(2)[:, None] - net.avgpool.centroids[None, :, :, None]  # [b, k, c, p]
        v = F.normalize((residuals * share[:, :, None]).sum(-1), dim=2).flatten(1)
        embedding = F.normalize(v, dim=1)
        return {'embedding': embedding, 'logits': net.fc_(embedding)}
    net.of = of
    return net


def shaken(torch, net):
    """The net with weights that keep activations of one size, and running statistics that show."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.3, 0.6)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def save(torch, tree, path, form):
    if form == 'safetensors':
        safetensors.numpy.save_file({k: v.detach().numpy() for k, v in tree.items()}, path)
    else:
        torch.save(tree, path, _use_new_zipfile_serialization=form == 'zip')


def compare(found, expected):
    for name, x in expected.items():
        x = x.detach().numpy()
        x = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
        np.testing.assert_allclose(found[name], x, rtol=1e-4, atol=1e-4 * np.abs(x).max(), err_msg=name)


def apply(name, variables, x, **fields):
    return jax.jit(functools.partial(backbones.create(name, **fields).apply))(variables, x)


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('side', [64, 256, 356])
def test_vgg16_against_torch(tmp_path, form, side):
    torch = pytest.importorskip('torch')
    net, last = torch_vgg16(torch, True)
    shaken(torch, net)
    save(torch, net.state_dict(), tmp_path / 'net', form)
    variables, unused = convert.convert(tmp_path / 'net', 'vgg16')
    assert unused == ['classifier.0.bias', 'classifier.0.weight']
    x = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    found, y, expected = apply('vgg16', variables, x), torch.from_numpy(x.transpose(0, 3, 1, 2)), {}
    plain, _ = torch_vgg16(torch, False)  # as torchvision has it: the same names, and features up to its own pool4
    plain.load_state_dict(net.state_dict())
    for place, layer in enumerate(net.features):
        y = layer(y)
        expected |= {level: y for level in ('C3', 'C4', 'C5') if last[level] == place}
    compare(found, expected)
    compare(found, {'C4': plain.features[:last['C4'] + 1](torch.from_numpy(x.transpose(0, 3, 1, 2)))})


@pytest.mark.parametrize('form, side', [('zip', 64), ('old', 256), ('safetensors', 356)])
def test_resnext_against_torch(tmp_path, form, side):
    torch = pytest.importorskip('torch')
    net = shaken(torch, torch_resnet(torch, (3, 4, 23, 3), True, 3))
    net.fc = torch.nn.Linear(2048, 1000)
    save(torch, net.state_dict(), tmp_path / 'net', form)
    variables, unused = convert.convert(tmp_path / 'net', 'resnext101_32x8d')
    assert {key for key in unused if not key.endswith('num_batches_tracked')} == {'fc.weight', 'fc.bias'}
    x = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    expected = net.of(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    compare(apply('resnext101_32x8d', variables, x), {level: expected[level] for level in ('C3', 'C4', 'C5')})


def test_resnet101_against_torch(tmp_path):
    torch = pytest.importorskip('torch', reason='torch is not installed')
    net = shaken(torch, torch_resnet(torch, (3, 4, 23, 3), True, 3, groups=1, dilated=2))
    save(torch, net.state_dict(), tmp_path / 'net', 'zip')
    variables = convert.convert(tmp_path / 'net', 'resnet101').variables
    x = np.float32(np.random.default_rng(0).normal(size=(1, 64, 80, 3)))
    expected = net.of(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    assert expected['C5'].shape == (1, 2048, 8, 10)
    compare(apply('resnet101', variables, x), {level: expected[level] for level in ('C3', 'C4', 'C5')})


def test_resnet38_against_torch(tmp_path):
    torch = pytest.importorskip('torch')
    net = shaken(torch, torch_resnet38(torch))
    save(torch, net.state_dict(), tmp_path / 'net', 'old')
    variables, unused = convert.convert(tmp_path / 'net', 'resnet38')
    assert [key for key in unused if not key.endswith('num_batches_tracked')] == ['fc8.weight']
    x = np.random.default_rng(0).normal(size=(1, 72, 100, 3)).astype(np.float32)
    compare(apply('resnet38', variables, x), net.of(torch.from_numpy(x.transpose(0, 3, 1, 2))))


@pytest.mark.parametrize('form, prefix, vlad', [
    ('zip', 'audnet.', True), ('old', '', True), ('zip', 'audnet.', False), ('safetensors', '', False)])
def test_vggsound_against_torch(tmp_path, form, prefix, vlad):
    torch = pytest.importorskip('torch')
    net = shaken(torch, torch_vggsound(torch, vlad))
    state = {prefix + key: x for key, x in net.state_dict().items()}
    save(torch, state if form == 'safetensors' else {'epoch': 3, 'model_state_dict': state, 'optimizer': {'state': {}, 'lr': 0.1}},
         tmp_path / 'net', form)
    variables, unused = convert.convert(tmp_path / 'net', 'vggsound')
    assert all(key.endswith('num_batches_tracked') for key in unused)
    for columns in (98, 1004):
        x = np.random.default_rng(0).normal(size=(2, 257, columns)).astype(np.float32)
        compare(apply('vggsound', variables, x), net.of(torch.from_numpy(x)))


# ---------------------------------------------------------------------------------------------------- more than weights in a checkpoint

MORE = {'numpy': np.float64(0.61), 'namespace': argparse.Namespace(lr=0.1), 'counter': collections.Counter({30: 1}), 'set': {1, 2},
        'defaultdict': collections.defaultdict(list, {'loss': [1.0]}), 'path': pathlib.PurePosixPath('/x'), 'array': np.dtype('f4')}


@pytest.mark.parametrize('form', ['zip', 'old'])
@pytest.mark.parametrize('kind', MORE)
def test_what_is_no_tensor_is_left_out(tmp_path, fake_torch, form, kind):
    weights = {'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3)}
    write(tmp_path / 'more.pth', {'state_dict': collections.OrderedDict(weights), 'more': [MORE[kind]], 'by': {'key': MORE[kind]}}, form)
    found = torch_file.read(tmp_path / 'more.pth')
    assert found.keys() == {'state_dict.a.weight'}
    np.testing.assert_array_equal(found['state_dict.a.weight'], weights['a.weight'])


def test_keys_may_be_bytes_and_containers_of_other_kinds(tmp_path, fake_torch):
    x = np.ones((2, 2), np.float32)
    write(tmp_path / 'a.pth', {b'a.weight': x, 'state': collections.defaultdict(list, {'b.weight': x})}, 'zip')
    assert torch_file.read(tmp_path / 'a.pth').keys() == {'a.weight', 'state.b.weight'}


@pytest.mark.parametrize('dtype', [np.float16, np.float64])
def test_other_precisions_become_float32_and_that_is_told(capsys, dtype):
    tensors = random_tensors('vggsound')
    variables = convert.translate({key: x.astype(dtype) for key, x in tensors.items()}, 'vggsound', 'file.pth').variables
    assert capsys.readouterr().err == f'file.pth: its numbers are turned from {np.dtype(dtype).name} into float32\n'
    kernel = variables['params']['conv1']['kernel']
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tensors['conv1.weight'].astype(dtype).astype(np.float32).transpose(2, 3, 1, 0))


@pytest.mark.parametrize('prefixes', [('ema.', 'net.'), ('net.', 'ema.module.')])
def test_of_two_copies_the_user_says_which(prefixes):
    tensors = random_tensors('vggsound')
    both = {prefix + key: x + k for k, prefix in enumerate(prefixes) for key, x in tensors.items()}
    with pytest.raises(InputError, match=rf'file.pth: holds .* 2 times, under {prefixes[0]}, {prefixes[1]}; say which: --prefix='):
        convert.translate(both, 'vggsound', 'file.pth')
    for k, prefix in enumerate(prefixes):
        found = convert.translate(both, 'vggsound', 'file.pth', prefix.rstrip('.'))
        np.testing.assert_array_equal(found.variables['params']['conv1']['kernel'], tensors['conv1.weight'].transpose(2, 3, 1, 0) + k)
    same = {prefix + key: x for prefix in prefixes for key, x in tensors.items()}
    assert len(convert.translate(same, 'vggsound', 'file.pth').unused) == len(tensors)
