"""The authors' files: which net a file is told to be, what of it is used, what is refused, and that nothing of it is run."""
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import types

import jax
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.weights import mxnet_file, release, torch_module
from tests.models.test_release import KINDS, file_tensors, small  # noqa: F401 - a fixture
from tests.weights import test_convert
from tests.weights.test_convert import fake_torch  # noqa: F401 - a fixture

GOLDENS = pathlib.Path(__file__).parents[3] / 'shared' / 'release_goldens'


def names_and_shapes(kind):
    found = {}

    def name(path, like):
        raw = path[-1].key in release.RAW
        shape = like.shape if raw else release.convert.to_torch(np.broadcast_to(np.float32(0), like.shape)).shape
        found[release.key_of([part.key for part in path[1:]], kind)] = shape

    jax.tree_util.tree_map_with_path(name, release.shapes_of(kind.module))
    return found


@pytest.mark.skipif(not GOLDENS.is_dir(), reason='the shared goldens are not here')
@pytest.mark.parametrize('name, golden', [('sta bytecode', 'release_sta_bytecode'), ('switch v2', 'release_switch')])
def test_names_are_those_of_the_goldens(name, golden):
    spec, kind = json.loads((GOLDENS / f'{golden}.json').read_text()), KINDS[name]
    keys = {key: tuple(entry['shape']) for key, entry in spec['keys'].items() if not key.endswith('num_batches_tracked')}
    mine = names_and_shapes(kind)
    assert set(mine) == set(keys) - set(spec['unused']) and all(keys[key] == shape for key, shape in mine.items())
    assert all(key.startswith(kind.unused) for key in spec['unused'])
    told = release.tell({key: np.broadcast_to(np.float32(0), shape) for key, shape in keys.items()})
    assert (told.net, told.version) == (spec['net'], spec['version'])


@pytest.mark.parametrize('name, some', [
    ('sta source', {'features1.22.conv3.weight': (1024, 1024, 1, 1), 'extra_refine1.0.weight': (32, 64, 3, 3),
                    'extra_lineara.weight': (128, 8192), 'extra_refineST.0.weight': (32, 32, 3, 1, 1),
                    'extra_gateav.2.weight': (1, 32, 1, 1)}),
    ('stagcn bytecode', {'features.28.weight': (512, 512, 3, 3), 'extra_bilinear.weight': (1024, 1024, 1),
                         'extra_conv1.weight': (28, 56, 1, 1), 'extra_bn1.running_var': (28,), 'extra_refineST.2.weight': (1, 28, 1, 3, 3),
                         'extra_proja.weight': (14, 28, 1, 1)}),
    ('cvpr_sta modelsAVQ', {'layerV_0.0.weight': (64, 3, 7, 7), 'layerV_4.2.bn3.bias': (2048,), 'layerA_4.1.conv2.weight': (512, 512, 3, 3),
                            'layerA_p.centroids': (16, 512), 'Aup1.weight': (8192, 32, 4, 4), 'refineST.weight': (1, 32, 3, 1, 1)}),
    ('cvpr_switch v1', {'layerA.7.1.conv2.weight': (512, 512, 3, 3), 'Afc1.weight': (4096, 9216), 'Afc3.weight': (2, 1024)}),
    ('sa bytecode', {'features.7.2.conv3.weight': (2048, 2048, 1, 1), 'audio_model.8.conv.bias': (16,), 'Aup.2.weight': (2048, 2048, 4, 4),
                     'features.4.0.downsample.0.weight': (256, 64, 1, 1), 'extra_ConvGRU.out_gate.weight': (28, 56, 1, 1)}),
    ('st bytecode', {'extra_convs.4.weight': (2048, 2048, 3, 3), 'extra_refineST.4.weight': (28, 28, 1, 3, 3)}),
    ('eps release', {'conv1a.weight': (64, 3, 3, 3), 'b4_3.bn_branch2b1.running_mean': (512,), 'fc8.weight': (21, 4096, 1, 1)})])
def test_names_as_the_releases_have_them(name, some):
    mine = names_and_shapes(KINDS[name])
    assert {key: mine.get(key) for key in some} == some and not any('gate_' in key or 'encoder' in key for key in mine)


# ------------------------------------------------------------------------------------------------------------------- state dicts


def prefixed(tensors, prefix='module.'):
    return {prefix + key: x for key, x in tensors.items()}


@pytest.mark.parametrize('form', ['zip', 'old'])
def test_state_dicts(tmp_path, fake_torch, small, form):  # noqa: F811 - fixtures
    kind = KINDS['sa_plus source']
    tensors = file_tensors(kind)
    extra = {'extra_bilinear.bias': np.zeros(4, np.float32), 'audio_model.1.num_batches_tracked': np.array(3)}
    marker = {'features.28.weight': np.zeros((512, 512, 3, 3), np.float32)}  # the small encoder has none
    for name, tree in {'plain': prefixed(tensors), 'training': {'epoch': 3, 'state_dict': prefixed(tensors), 'optimizer': {'x': np.ones(3)}}
                       }.items():
        test_convert.write(tmp_path / name, tree, form)
        found = torch_module.read(tmp_path / name)
        assert found.tensors.keys() == tensors.keys() and found.module == ''
        np.testing.assert_array_equal(found.tensors['extra_proja.weight'], tensors['extra_proja.weight'])
    told = release.tell({**tensors, **marker})
    assert (told.net, told.version, told.module.version) == ('sa_plus', 'source', 'source')
    variables, unused = release.take({**tensors, **extra}, told, 'file')
    assert unused == sorted(extra)
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(variables))


def test_load_and_apply_a_file(tmp_path, fake_torch, small):  # noqa: F811 - fixtures
    kernel = np.random.default_rng(0).normal(size=(81, 8, 1, 1)).astype(np.float32)
    test_convert.write(tmp_path / 'checkpoint_cls.pth', {'fc8.weight': kernel}, 'zip')
    net, version, module, variables = release.load(tmp_path / 'checkpoint_cls.pth')
    assert (net, version, module.maps) == ('eps', 'release', 81)
    out = release.apply(module, variables, {'frame': np.ones((1, 16, 16, 3), np.float32)})
    assert out['cam'].shape == (1, 2, 2, 81) and out['logits'].dtype == np.float32
    with pytest.raises(InputError, match='inputs: frame is missing; the net takes frame'):
        release.apply(module, variables, {'frame0': np.ones((1, 16, 16, 3), np.float32)})
    with pytest.raises(InputError, match=r'the net takes frames of 8 to 4096 pixels a side'):
        release.apply(module, variables, {'frame': np.ones((1, 4, 4, 3), np.float32)})


@pytest.mark.parametrize('change, says', [
    ({'fc8.weight': None}, 'of none of the released nets: other and 0 more are there, but none of extra_predict4.weight'),
    ({'fc8.weight': (20, 9, 1, 1)},
     r'not the weights of eps_cls \(release\): fc8.weight is float32 \(20, 9, 1, 1\), expected float32 \(20, 8'),
    ({'fc8.weight': (30, 8, 1, 1)}, r'fc8.weight has 30 rows'), ({}, 'other is unknown'),
    ({'extra_predict4.weight': (1, 2)}, 'extra_convs.1.weight is missing: the older sibling of STANet'),
    ({'Afc1.weight': (1, 2)}, r'not the weights of cvpr_switch \(v1\): Afc1.bias is missing')])
def test_other_files_are_refused(tmp_path, fake_torch, small, change, says):  # noqa: F811 - fixtures
    shapes = {'other': (3,), 'fc8.weight': (20, 8, 1, 1), **change}
    test_convert.write(tmp_path / 'a.pth', {key: np.zeros(shape, np.float32) for key, shape in shapes.items() if shape}, 'zip')
    with pytest.raises(InputError, match=f'a.pth: {says}' if change else says):
        release.load(tmp_path / 'a.pth')


def test_no_file_and_no_torch_file(tmp_path):
    with pytest.raises(InputError, match='a.pth: No such file'):
        release.load(tmp_path / 'a.pth')
    (tmp_path / 'b.pth').write_bytes(b'hello')
    with pytest.raises(InputError, match=r'b.pth: not read \(not as torch.save writes it\)'):
        release.load(tmp_path / 'b.pth')


# ----------------------------------------------------------------------------------------------------------------- whole modules


class ModuleSaver(test_convert.Saver):
    """Also mentions a module's class as old files do, with its source text."""
    known = ()

    def persistent_id(self, x):
        if self.old and isinstance(x, type) and x.__module__ in ('models', 'STA_model') and x not in self.known:
            self.known = (*self.known, x)
            return 'module', x, 'models.py', 'import os; os.mkdir("from the source")'
        return super().persistent_id(x)


@pytest.fixture
def classes(monkeypatch):
    """Classes of a release's modules, for a pickle to name."""
    made = {}
    with monkeypatch.context() as patch:
        for module, name in (('models', 'att_Model'), ('STA_model', 'STANet'), ('torch.nn.modules.conv', 'Conv2d'),
                             ('torch.nn.parallel.data_parallel', 'DataParallel')):
            patch.setitem(sys.modules, module, types.ModuleType(module))
            made[name] = type(name, (), {'__module__': module})
            setattr(sys.modules[module], name, made[name])
        yield made


def module_of(cls, tensors=(), **children):
    net = cls()
    net.__dict__ = {'training': False, '_buffers': {'none': None}, '_hooks': collections.OrderedDict(), '_seen': {1, 2},
                    '_parameters': collections.OrderedDict(tensors), '_modules': collections.OrderedDict(children)}
    return net


@pytest.mark.parametrize('form', ['zip', 'old'])
def test_whole_modules(tmp_path, fake_torch, classes, monkeypatch, form):  # noqa: F811 - fixtures
    monkeypatch.setattr(test_convert, 'Saver', ModuleSaver)
    monkeypatch.chdir(tmp_path)
    weight = np.float32([[1, 2], [3, 4]])
    conv = module_of(classes['Conv2d'], {'weight': weight, 'bias': None})
    net = module_of(classes['att_Model'], {'scale': np.float32([5])}, layerA=conv, layerV=conv, missing=None)
    net.logger = test_convert.Evil(tmp_path / 'was here')
    for name, root, module in (('plain', net, 'models'), ('parallel', module_of(classes['DataParallel'], module=net), 'models'),
                               ('cvpr', module_of(classes['STANet'], layerA=conv), 'STA_model')):
        test_convert.write(tmp_path / name, root, form)
        found = torch_module.read(tmp_path / name)
        assert found.module == module
        np.testing.assert_array_equal(found.tensors['layerA.weight'], weight)
        if name != 'cvpr':
            assert set(found.tensors) == {'scale', 'layerA.weight', 'layerV.weight'}
    assert sorted(os.listdir()) == ['cvpr', 'parallel', 'plain']


def test_modules_without_end_are_refused(tmp_path, fake_torch, classes):  # noqa: F811 - fixtures
    net = module_of(classes['att_Model'], {'scale': np.float32([5])})
    net._modules['again'] = net._modules['more'] = net
    test_convert.write(tmp_path / 'loop.pt', net, 'zip')
    with pytest.raises(InputError, match=r'loop.pt: not read \(modules without end\)'):
        torch_module.read(tmp_path / 'loop.pt')


def test_stand_ins_keep_a_state_and_do_nothing():
    found = torch_module.ModuleUnpickler(io.BytesIO())
    cls = found.find_class('os', 'system')
    assert cls is found.find_class('os', 'system') is not found.find_class('os', 'mkdir') and cls.named == ('os', 'system')
    of = cls('touch x', key=1)
    assert of('touch x') is None
    of.__setstate__([1])
    assert not hasattr(of, 'state')
    of.__setstate__({'a': 1})
    assert of.state == {'a': 1}
    assert found.find_class('__builtin__', 'set') is set
    with pytest.raises(pickle.UnpicklingError):
        found.persistent_load(('storage', 'os', 'key', 'cpu', 3))


# ------------------------------------------------------------------------------------------------------------------------- MXNet


def params(arrays, magic):
    """Bytes of a `.params` file, {name: array}, in the format of that magic number; 0 is the first format."""
    kinds = {'float32': 0, 'float64': 1, 'float16': 2, 'uint8': 3}
    data = struct.pack('<QQQ', 0x112, 0, len(arrays))
    for x in arrays.values():
        if magic:
            data += struct.pack('<I', magic) + (struct.pack('<i', 0) if magic != mxnet_file.FIRST else b'')
            data += struct.pack(f'<I{x.ndim}q', x.ndim, *x.shape)
        else:
            data += struct.pack(f'<I{x.ndim}I', x.ndim, *x.shape)
        data += struct.pack('<iii', 1, 0, kinds[x.dtype.name]) + x.tobytes()
    return data + struct.pack('<Q', len(arrays)) + b''.join(struct.pack('<Q', len(name)) + name.encode() for name in arrays)


ARRAYS = {'arg:conv1a_weight': np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32),
          'aux:bn7_moving_var': np.float64([1, 2]), 'arg:res4b3_branch2a_weight': np.float16([[1, 2]]),
          'arg:bn6a_branch2b2_gamma': np.uint8([3]), 'arg:linear1000_bias': np.float32([0])}


@pytest.mark.parametrize('magic', [0, mxnet_file.FIRST, mxnet_file.SECOND, mxnet_file.THIRD])
def test_params_of_every_format(tmp_path, magic):
    path = tmp_path / 'net.params'
    path.write_bytes(params(ARRAYS, magic))
    found = mxnet_file.resnet38_names(mxnet_file.read(path))
    assert list(found) == ['conv1a.weight', 'bn7.running_var', 'b4_3.conv_branch2a.weight', 'b6.bn_branch2b2.weight']
    for x, want in zip(found.values(), ARRAYS.values(), strict=False):
        assert x.dtype == want.dtype
        np.testing.assert_array_equal(x, want)


@pytest.mark.parametrize('data, says', [
    (b'', 'it is cut short'), (struct.pack('<QQ', 0x112, 1), 'not as MXNet writes it'), (params(ARRAYS, 0)[:-30], 'it is cut short'),
    (struct.pack('<QQQ', 0x112, 0, 2**60), 'it is cut short'),
    (struct.pack('<QQQIIII', 0x112, 0, 1, 3, 2**31, 2**31, 2**31) + bytes(12), 'it is cut short'),
    (struct.pack('<QQQIi', 0x112, 0, 1, mxnet_file.SECOND, 1), 'it holds sparse arrays'),
    (struct.pack('<QQQI', 0x112, 0, 1, 77), 'an array of too many axes'),
    (params(ARRAYS, 0)[:24] + struct.pack('<II', 1, 4) + struct.pack('<iii', 1, 0, 9) + bytes(16), 'an array of an unknown type')])
def test_broken_params_are_refused(tmp_path, data, says):
    (tmp_path / 'net.params').write_bytes(data)
    with pytest.raises(InputError, match=f'net.params: not read .{says}'):
        mxnet_file.read(tmp_path / 'net.params')


def test_imagenet_resnet38(tmp_path):
    """Every name of the encoder has one in MXNet's file; the head is dropped, anything else is unknown."""
    wanted = names_and_shapes(release.Kind('resnet38', 'imagenet', release.backbones.create('resnet38'), {}))
    leaves = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean', 'running_var': 'moving_var'}

    def mxnet_name(key):
        block, _, rest = key.rpartition('.')[0].partition('.')
        leaf = key.rpartition('.')[2]
        if not rest:
            return f'{block}_weight' if block == 'conv1a' else f'{block}_{leaves[leaf]}'
        group, _, unit = block[1:].partition('_')
        kind, _, branch = rest.partition('_branch')
        return f'{"res" if kind == "conv" else "bn"}{group}{f"b{unit}" if unit else "a"}_branch{branch}_' \
            f'{"weight" if kind == "conv" else leaves[leaf]}'

    names = {mxnet_name(key): key for key in wanted}
    assert 'res2a_branch1_weight' in names and 'bn4b5_branch2b1_beta' in names and 'res7a_branch2b2_weight' in names
    found = mxnet_file.resnet38_names(dict.fromkeys([*names, 'linear1000_weight', 'odd'], np.zeros(0)))
    assert sorted(found) == sorted([*wanted, 'odd'])


@pytest.mark.parametrize('old', [False, True])
def test_files_of_torch_itself(tmp_path, old):
    torch = pytest.importorskip('torch')
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.ReLU(), torch.nn.BatchNorm2d(3))
    for name, what in {'state': {'epoch': 1, 'state_dict': {f'module.{key}': x for key, x in net.state_dict().items()}},
                       'whole': torch.nn.DataParallel(net)}.items():
        torch.save(what, tmp_path / name, _use_new_zipfile_serialization=not old)
        found = torch_module.read(tmp_path / name)
        assert set(found.tensors) == set(net.state_dict()) and found.module == ('' if name == 'state' else 'torch.nn.modules.container')
        np.testing.assert_array_equal(found.tensors['0.weight'], net[0].weight.detach().numpy())
