"""The released nets behind their encoders against NumPy in float64, out of tensors laid out and named as in the authors' files."""
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stanet_jax.models import backbones
from stanet_jax.models.release import others, parts, plus, students
from stanet_jax.weights import convert, release

pytestmark = pytest.mark.usefixtures('small')

# ------------------------------------------------------------------------------- what the nets compute, channels first, one example


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def cat(*x):
    return np.concatenate(x)


class Net:
    """The layers of a file's tensors; maps are [c, h, w]."""

    def __init__(self, tensors):
        self.t = {key: np.float64(x) for key, x in tensors.items()}

    def bias(self, name):
        return self.t.get(f'{name}.bias', np.zeros(1))

    def conv(self, name, x):
        kernel = self.t[f'{name}.weight']
        pad = kernel.shape[-1] // 2
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (pad, pad), (pad, pad))), kernel.shape[2:], axis=(1, 2))
        return np.tensordot(kernel, windows, ([1, 2, 3], [0, 3, 4])) + self.bias(name)[:, None, None]

    def dense(self, name, x):
        return self.t[f'{name}.weight'] @ x + self.bias(name)

    def deconv(self, name, x, stride):
        kernel = self.t[f'{name}.weight']
        size = (x.shape[1] - 1) * stride + kernel.shape[2]
        out = np.zeros((kernel.shape[1], size, size))
        for i, j in np.ndindex(x.shape[1:]):
            out[:, i * stride:, j * stride:][:, :kernel.shape[2], :kernel.shape[3]] += np.einsum('i,iokl->okl', x[:, i, j], kernel)
        return out + self.bias(name)[:, None, None]

    def time_gate(self, names, maps, relus=False, true_axes=False):
        """The sigmoid of 3D convolutions of three maps."""
        c = len(maps[0])
        listed = np.concatenate(maps)  # [3 c, h, w], read as c channels of 3 times
        x = np.stack(maps, 1) if true_axes else np.stack([[listed[3 * k + j] for j in range(3)] for k in range(c)])
        for k, name in enumerate(names):
            kernel = self.t[f'{name}.weight']
            if k == 0:
                assert kernel.shape[2:] == (3, 1, 1)
                x = np.einsum('oct,cthw->ohw', kernel[..., 0, 0], x) + self.bias(name)[:, None, None]
            else:
                assert kernel.shape[2:] == (1, 3, 3)
                windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
                x = np.tensordot(kernel[:, :, 0], windows, ([1, 2, 3], [0, 3, 4])) + self.bias(name)[:, None, None]
            x = relu(x) if relus and k < len(names) - 1 else x
        return sigmoid(x)

    def self_gate(self, x, gate='extra_gate'):
        f, g, k = (self.conv(f'extra_proj{of}', x) for of in 'fgh')
        f, g, k = (of.reshape(len(of), -1) for of in (f, g, k))
        e = np.exp(f.T @ g)  # [p, q]
        s = k @ (e / e.sum(axis=0))
        return sigmoid(self.conv(gate, s.reshape(x.shape))) * x

    def gru(self, i, s):
        z, r = (sigmoid(self.conv(f'extra_ConvGRU.{of}_gate', cat(i, s))) for of in ('update', 'reset'))
        return s * (1 - z) + np.tanh(self.conv('extra_ConvGRU.out_gate', cat(i, s * r))) * z

    def old_gate(self, a, v, phi=1.0):
        d, w = self.dense('extra_audio_d', a), self.t['extra_bilinear.weight'][:, :, 0]
        b = np.stack([d[c] * (w @ v[c].ravel()) + self.t['extra_bilinear.bias'] for c in range(len(v))]).reshape(v.shape)
        return sigmoid(self.conv('extra_refineSA.1', self.conv('extra_refineSA.0', phi * b)))

    def new_gate(self, a, v):
        alpha, beta = self.dense('extra_lineara', a), self.dense('extra_linearv', v.mean(axis=(1, 2)))
        u = np.einsum('ij,jhw->ihw', softmax(np.outer(alpha, beta), 1), self.conv('extra_convv', v))
        return sigmoid(self.conv('extra_gateav.2', relu(self.conv('extra_gateav.0', u))))

    def deconvolved_gate(self, a, phi, strides):
        x = self.dense('extra_audio_d', a)[:, None, None]
        for k, stride in enumerate(strides):
            x = self.deconv(f'Aup.{k}', x, stride)
        return sigmoid(self.conv('extra_convs.1', self.conv('extra_convs.0', phi * x)))

    def classes(self, v):
        for k in (0, 2, 4):
            v = relu(self.conv(f'extra_convs.{k}', v))
        return self.conv('extra_convs.6', v)

    def message(self, x, y):
        e, q = self.conv('extra_proja', x), self.conv('extra_projb', y)
        attention = softmax(e.reshape(len(e), -1).T @ q.reshape(len(q), -1), 1)
        t = (attention @ y.reshape(len(y), -1).T).T.reshape(x.shape)
        return sigmoid(self.conv('extra_gate', t)) * t

    def cgcn(self, nodes, recurrent=True):
        for _ in range(3):
            new = []
            for i, x in enumerate(nodes):
                m = self.conv('extra_conv_fusion', cat(*(self.message(x, y) for j, y in enumerate(nodes) if j != i)))
                h = self.gru(m, x) if recurrent else m
                a = h.mean(axis=0)
                new.append(h / 2 * sigmoid(a) * np.where(a < 0.8 * a.max(), 0.6, 1) + h / 2)
            nodes = new
        return nodes


def up(x, size):
    """Bilinear, half-pixel centres, clamped edges."""
    for axis, n in ((1, size[0]), (2, size[1])):
        at = (np.arange(n) + 0.5) * x.shape[axis] / n - 0.5
        low = np.floor(at)
        share = (at - low).reshape([-1 if k == axis else 1 for k in range(3)])
        first, second = (np.take(x, np.clip(low + k, 0, x.shape[axis] - 1).astype(int), axis) for k in (0, 1))
        x = first * (1 - share) + second * share
    return x


# ------------------------------------------------------------------------------------------------ tensors as in a file, and the net


def file_tensors(kind, seed=0):
    """Small random weights by the names of a file of that kind."""
    rng, tensors = np.random.default_rng(seed), {}

    def make(path, like):
        leaf, shape = path[-1].key, like.shape
        if leaf not in release.RAW:
            shape = convert.to_torch(np.broadcast_to(np.float32(0), shape)).shape
        x = rng.standard_normal(shape, np.float32)
        fan = np.prod(shape[1:]) if len(shape) > 1 else 100
        x = np.abs(1 + 0.1 * x) if leaf in ('scale', 'var') else x * np.float32(1.2 / np.sqrt(fan) if len(shape) > 1 else 0.1)
        tensors[release.key_of([part.key for part in path[1:]], kind)] = x

    jax.tree_util.tree_map_with_path(make, release.shapes_of(kind.module))
    return tensors


def kinds():
    """A kind for every net and version, by a file's telling keys."""
    def kind(module='', **shapes):
        return release.tell({key.replace('__', '.'): np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}, module)

    one, vgg, gate = (1,), {'features__28__weight': (512, 512, 3, 3)}, {'extra_lineara__weight': (1,)}
    return {'sta bytecode': kind(extra_predict4__weight=one, extra_convs__1__weight=one), 'sta source': kind(extra_out0__weight=one),
            'stagcn bytecode': kind(extra_main_classifier1__weight=one),
            'stagcn source': kind(extra_main_classifier1__weight=one, **gate), 'switch v2': kind(layerV_d__weight=one),
            's v2': kind(extra_convs__weight=(28, 1024, 1, 1)), 'sa bytecode': kind(extra_video_d__weight=one),
            'st bytecode': kind(extra_refineST__4__weight=one),
            'st source': kind(features__7__0__conv1__weight=one, extra_refineST__1__weight=one),
            's_plus v2': kind(extra_conv_stfusion__weight=one, **vgg),
            'st_plus v2': kind(extra_conv_stfusion__weight=one, extra_refineST__0__weight=one, **vgg),
            'sa_plus bytecode': kind(extra_conv_safusion__weight=one, **vgg),
            'sa_plus source': kind(extra_conv_safusion__weight=one, **vgg, **gate),
            'cvpr_sta modelsAVQ': kind(AVTFuse__weight=one), 'cvpr_sta STA_model': kind('models.STA_model', AVTFuse__weight=one),
            'cvpr_switch v1': kind(Afc1__weight=one), 'eps release': kind(fc8__weight=(21, 4096, 1, 1)),
            'eps_cls release': kind(fc8__weight=(20, 4096, 1, 1))}


KINDS = kinds()


def first(x):
    """Channels first."""
    return np.moveaxis(np.asarray(x, np.float64), -1, 0)


def check(got, want):
    want = np.moveaxis(want, 0, -1) if np.ndim(want) == 3 else want
    got = np.asarray(got, np.float64)
    assert got.shape == np.shape(want)
    assert np.abs(got - want).max() <= 1e-4 * max(np.abs(want).max(), 1e-3)
    assert np.ptp(want) > 1e-6


class Image(nn.Module):
    """An image encoder without weights: features of few channels at the sides of the real one."""
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: type = jnp.float32
    batch_norm: str = 'running'

    @nn.compact
    def __call__(self, x, train=False, mask=None):
        def level(channels, stride):
            small = x[:, ::stride, ::stride]
            return jnp.cos(small @ jnp.sin(1 + jnp.arange(3 * channels, dtype=jnp.float32)).reshape(3, channels))
        return {f'C{k + 3}': level(*of) for k, of in enumerate(zip(self.channels, self.strides, strict=True))}


class Sound(nn.Module):
    """A sound encoder without weights."""
    classes: int = 0
    pool: str = ''

    @nn.compact
    def __call__(self, x):
        long = jnp.sin(jnp.arange(9216.0) * (1 + x.mean(axis=(1, 2))[:, None]))
        return {'map': long.reshape(-1, 9, 2, 512)} if self.pool == 'none' else {'embedding': long[:, :WIDTH]}


WIDTH = 40  # of the sound's embedding


small_shapes = functools.cache(release.shapes_of)  # it traces a net three times


@pytest.fixture
def small(monkeypatch):
    """Encoders without weights and narrow deconvolutions: those of the real width have half a gigabyte, and tests of their own."""
    monkeypatch.setitem(backbones.BACKBONES, 'resnext101_32x8d', functools.partial(Image, (6, 1024, 8), (8, 16, 32)))
    monkeypatch.setitem(backbones.BACKBONES, 'vgg16', functools.partial(Image, (4, 4, 16), (8, 8, 8)))
    monkeypatch.setitem(backbones.BACKBONES, 'resnet38', functools.partial(Image, (4, 4, 8), (8, 8, 8)))
    monkeypatch.setitem(backbones.BACKBONES, 'vggsound', Sound)
    monkeypatch.setattr(release, 'shapes_of', small_shapes)
    monkeypatch.setattr(parts, 'DeconvolvedGate', functools.partial(parts.DeconvolvedGate, width=12))


def run(name, side):
    """A net of random weights on two random examples: its layers, its outputs, what its encoders gave, and its switches."""
    kind = KINDS[name]
    tensors = file_tensors(kind)
    variables, unused = release.take(tensors, kind, 'file')
    assert not unused
    rng = np.random.default_rng(1)
    pair = (2,) if name.endswith('AVQ') else ()
    shapes = {'frame': (side, side, 3), 'audio': (257, 48), 'switch': pair}
    inputs = {of: rng.standard_normal((2, *shapes[of.rstrip('_0123456789')])).astype(np.float32) for of in kind.module.inputs}
    inputs |= {of: np.float32([[0.9, 0.1], [0.3, 0.7]] if pair else [1, 0]) for of in inputs if of.startswith('switch')}

    def both(variables, inputs):
        return kind.module.apply(variables, inputs, capture_intermediates=lambda module, _: module.name in ('encoder', 'audio_encoder'),
                                 mutable=['intermediates'])

    out, seen = jax.jit(both)(variables, inputs)
    found = {of: calls['__call__'][0] for of, calls in seen['intermediates'].items()}
    return Net(tensors), out, Found(found), inputs


class Found:
    """What the encoders gave: of input k (a position's, of both examples) in example i."""

    def __init__(self, found):
        self.found = found

    def image(self, level, i, k=0):
        return first(self.found['encoder'][level][2 * k + i])

    def sound(self, i, k=0):
        return np.float64(self.found['audio_encoder']['embedding'][2 * k + i])


def means(x):
    return x.mean(axis=(1, 2))


# -------------------------------------------------------------------------------------------------------- nets, from features to maps


def test_s():
    net, out, seen, _ = run('s v2', 64)
    for i in range(2):
        x = net.conv('extra_convs', seen.image('C4', i))
        y = net.gru(net.conv('extra_conv_fusion', cat(x, net.self_gate(x))), x)
        for name, want in {'map_first': x, 'map_fused': y, 'logits': means(x), 'logits_fused': means(y)}.items():
            check(out[name][i], want)


def test_sa():
    net, out, seen, _ = run('sa bytecode', 225)
    for i in range(2):
        x = net.conv('extra_video_d', seen.image('C5', i))
        g = net.deconvolved_gate(seen.sound(i), 1, (1, 1, 1))
        assert g.shape == (1, 8, 8)
        y = net.gru(net.conv('extra_conv_fusion', cat(relu(x + net.self_gate(x)), relu(x + x * g))), x)
        for name, want in {'map_first': x, 'map_fused': y, 'logits': means(x), 'logits_fused': means(y)}.items():
            check(out[name][i], want)


@pytest.mark.parametrize('version', ['bytecode', 'source'])
def test_st(version):
    net, out, seen, _ = run(f'st {version}', 225)
    names = [f'extra_refineST.{k}' for k in ((0, 2, 4) if version == 'bytecode' else (0, 1, 2))]
    for i in range(2):
        x = [net.classes(seen.image('C5', i, k)) for k in range(3)]
        order = [(x[1], x[0], x[2]), (x[0], x[1], x[2]), (x[0], x[2], x[1])]
        for k in range(3):
            h = net.time_gate(names, order[k], version == 'bytecode')
            y = net.gru(net.conv('extra_conv_fusion', cat(relu(x[k] + net.self_gate(x[k])), relu(x[k] + x[k] * h))), x[k])
            check(out[f'logits{k}'][i], means(x[k]))
            check(out[f'logits_fused{k}'][i], means(y))
            if k == 0:
                check(out['map_first'][i], x[0])
                check(out['map_fused'][i], y)


def test_s_plus():
    net, out, seen, _ = run('s_plus v2', 32)
    assert not out['map_first'].any() and out['map_first'].shape == (2, 4, 4, 28)
    for i in range(2):
        x = [net.classes(seen.image('C5', i, k)) for k in range(3)]
        nodes = net.cgcn([relu(of + net.self_gate(of)) for of in x])
        check(out['map_fused'][i], nodes[0])
        for k in range(3):
            check(out[f'logits{k}'][i], means(x[k]))
            check(out[f'node_logits{k}'][i], means(nodes[k]))


def test_st_plus():
    net, out, seen, _ = run('st_plus v2', 32)
    x, nodes = [net.classes(seen.image('C5', 1, k)) for k in range(9)], []
    for i in range(3):
        h, of = net.time_gate([f'extra_refineST.{k}' for k in range(3)], x[3 * i:3 * i + 3]), x[3 * i + 1]
        nodes.append(net.conv('extra_conv_stfusion', cat(relu(of + net.self_gate(of)), relu(of + of * h))))
    nodes = net.cgcn(nodes, recurrent=False)
    check(out['map_first'][1], x[1])
    check(out['map_fused'][1], nodes[0])
    for i in range(3):
        check(out[f'node_logits{i}'][1], means(nodes[i]))
        for j in range(3):
            check(out[f'logits{i}_{j}'][1], means(x[3 * i + j]))


@pytest.mark.parametrize('version, side', [('bytecode', 256), ('source', 32)])
def test_sa_plus(version, side):
    net, out, seen, _ = run(f'sa_plus {version}', side)
    s = []
    for k in range(3):
        v, a = seen.image('C5', 1, k), seen.sound(1, k)
        x = net.classes(v)
        w = x + net.old_gate(a, v) if version == 'bytecode' else x + x * net.new_gate(a, v)
        s.append(net.conv('extra_conv_safusion', cat(relu(x + net.self_gate(x)), relu(w))))
    nodes = net.cgcn(s)
    check(out['map_first'][1], s[0])
    check(out['map_fused'][1], nodes[0])
    for k in range(3):
        check(out[f'logits{k}'][1], means(s[k]))
        check(out[f'node_logits{k}'][1], means(nodes[k]))


def test_switch():
    net, out, seen, _ = run('switch v2', 64)
    for i in range(2):
        alpha, beta = net.dense('layerA_d', seen.sound(i)), net.dense('layerV_d', means(seen.image('C5', i)))
        o = np.einsum('i,kij,j->k', alpha, net.t['extra_bilinear.weight'], beta) + net.t['extra_bilinear.bias']
        logits = net.dense('fc', o)
        check(out['logits'][i], logits)
        assert out['switch'][i] == (logits[1] > 0)


def test_sta_bytecode():
    net, out, seen, inputs = run('sta bytecode', 353)
    for i in range(2):
        y, z, x = ([net.conv(f'extra_video_d{n}', seen.image(f'C{n + 3}', i, k)) for k in range(3)] for n in range(3))
        triples = [(x[1], x[0], x[2]), (x[0], x[1], x[2]), (x[0], x[2], x[1])]
        for k in range(3):
            g = net.deconvolved_gate(seen.sound(i, k), inputs[f'switch{k}'][i], (2, 2, 1))
            assert (np.ptp(g) < 1e-12 and 0 < g.min() < 1) == (i == 1)  # closed it is a constant, not nothing
            heard = relu(x[k] + (x[k] * g if k == 0 else g))
            time = net.time_gate(['extra_refineST'], triples[k])
            f = net.conv('extra_conv_fusion', cat(relu(x[k] + net.self_gate(x[k])), relu(x[k] + time), heard))
            r4 = up(net.conv('extra_refine4', cat(f, x[k])), (23, 23))
            r3 = up(net.conv('extra_refine3', cat(r4, z[k])), (45, 45))
            r2 = net.conv('extra_refine2', cat(r3, y[k]))
            for name, r in (('4', r4), ('3', r3), ('2', r2)):
                check(out[f'predict{name}_{k}'][i], up(net.conv(f'extra_predict{name}', r), (353, 353))[0])
            if k == 1:
                check(out['map'][i], sigmoid(up(net.conv('extra_predict2', r2), (353, 353))[0]))


def test_sta_source():
    net, out, seen, _ = run('sta source', 64)
    for i in range(2):
        y, z, x = ([net.conv(name, seen.image(level, i, k)) for k in range(3)]
                   for name, level in (('extra_convsd0', 'C3'), ('extra_convsd1', 'C4'), ('extra_convs', 'C5')))
        triples = [(x[2], x[0], x[1]), (x[0], x[1], x[2]), (x[1], x[2], x[0])]
        for k in range(3):
            h = net.time_gate([f'extra_refineST.{of}' for of in range(3)], triples[k])
            n = net.new_gate(seen.sound(i, k), seen.image('C5', i, k))
            three = (net.self_gate(x[k], 'extra_gates'), x[k] * h, x[k] * n)
            s = net.gru(net.conv('extra_conv_fusion', cat(*(relu(x[k] + of) for of in three))), x[k])
            r1 = up(relu(net.conv('extra_refine1.0', cat(up(s, (4, 4)), z[k])) + z[k]), (8, 8))
            r0 = relu(net.conv('extra_refine0.0', cat(r1, y[k])) + r1)
            out0 = up(net.conv('extra_out0', r0), (64, 64))[0]
            check(out[f'out1_{k}'][i], up(net.conv('extra_out1', r1), (64, 64))[0])
            check(out[f'out0_{k}'][i], out0)
            if k == 1:
                check(out['map'][i], sigmoid(out0))


@pytest.mark.parametrize('version, side', [('bytecode', 256), ('source', 32)])
def test_stagcn(version, side):
    net, out, seen, inputs = run(f'stagcn {version}', side)
    old, i, nodes = version == 'bytecode', 1, []
    inputs['switch1'][i] = 0
    x = [net.classes(seen.image('C5', i, k)) for k in range(9)]
    for k in range(3):
        of, v, a, phi = x[3 * k + 1], seen.image('C5', i, 3 * k + 1), seen.sound(i, k), inputs[f'switch{k}'][i]
        h = net.time_gate([f'extra_refineST.{n}' for n in range(3)], x[3 * k:3 * k + 3])
        q = net.old_gate(a, v, phi) if old else phi * net.new_gate(a, v)
        three = (net.self_gate(of, 'extra_gate' if old else 'extra_gates'), of * h, of * q)
        nodes.append(net.conv('extra_conv_stafusion', cat(*(relu(of + gate) for gate in three))))
    mean, var = (net.t[f'extra_bn1.running_{of}'][:, None, None] for of in ('mean', 'var'))
    scale, shift = (net.t[f'extra_bn1.{of}'][:, None, None] for of in ('weight', 'bias'))
    for k, node in enumerate(net.cgcn(nodes)):
        check(out[f'node_logits{k}'][i], means(node))
        h = relu((net.conv('extra_conv1', cat(node, x[3 * k + 1])) - mean) / np.sqrt(var + 1e-5) * scale + shift)
        saliency = up(net.conv('extra_main_classifier1', h), (side, side))[0]
        check(out[f'saliency{k}'][i], saliency)
        if k == 1:
            check(out['map'][i], sigmoid(saliency))
        for j in range(3):
            check(out[f'logits{k}_{j}'][i], means(x[3 * k + j]))


@pytest.mark.parametrize('version', ['modelsAVQ', 'STA_model'])
def test_cvpr_sta(version):
    net, out, seen, inputs = run(f'cvpr_sta {version}', 353)
    for i in range(2):
        x = [net.conv('downv4', seen.image('C5', i, k)) for k in range(3)]
        phi = inputs['switch'][i, 1] if version == 'modelsAVQ' else inputs['switch'][i]
        deconvolved = seen.sound(i)[:, None, None]
        for k, stride in ((1, 2), (2, 2), (3, 1)):
            deconvolved = net.deconv(f'Aup{k}', deconvolved, stride)
        g = sigmoid(net.conv('attention', net.conv('atten_conv', cat(deconvolved, x[1]))))
        p = x[1] * net.time_gate(['refineST'], x, true_axes=True) + x[1]
        p = relu(p) if version == 'STA_model' else p
        f = net.conv('AVTFuse', cat(p, relu(phi * g * x[1] + x[1]), x[1]))
        z, y = net.conv('downv3', seen.image('C4', i, 1)), net.conv('downv2', seen.image('C3', i, 1))
        r2 = net.conv('refineV22', cat(up(net.conv('refineV33', cat(up(f, (23, 23)), z)), (45, 45)), y))
        check(out['map'][i], sigmoid(up(net.conv('predictF', r2), (353, 353)))[0])


def test_cvpr_switch():
    net, out, seen, _ = run('cvpr_switch v1', 32)
    for i in range(2):
        x = first(seen.found['audio_encoder']['map'][i])
        x = np.array([x[c, h, w] for c in range(512) for h in range(9) for w in range(2)])  # channel by channel
        for name in ('Afc1', 'Afc2', 'Afc3'):
            x = relu(net.dense(name, x))
        check(out['probabilities'][i], softmax(x, 0))
    with pytest.raises(ValueError, match=r'hears spectrograms \[b, 257, 48\]'):
        others.CVPRSwitch().init(jax.random.key(0), {'audio': np.zeros((1, 257, 40), np.float32)})


@pytest.mark.parametrize('name', ['eps release', 'eps_cls release'])
def test_eps(name):
    net, out, seen, _ = run(name, 32)
    features = seen.image('C5', 1)
    maps = net.conv('fc8', features)
    check(out['logits'][1], net.t['fc8.weight'][:, :, 0, 0] @ means(features))
    check(out['cam'][1], maps if name == 'eps release' else relu(maps))


# --------------------------------------------------------------------------------------------------------------------- the parts


def test_scramble():
    u, v, w = (np.random.default_rng(k).normal(size=(2, 3, 4, 5)) for k in range(3))
    got = np.asarray(parts.scramble(u, v, w))
    for k in range(5):
        for j in range(3):
            n = 3 * k + j
            np.testing.assert_allclose(got[:, j, :, :, k], (u, v, w)[n // 5][..., n % 5], rtol=1e-6)


def test_each_position_is_fed_as_it_is_named():
    assert students.STAGCN().inputs[:4] == ('frame0_0', 'frame0_1', 'frame0_2', 'frame1_0')
    assert others.CVPRSTA().inputs == ('frame0', 'frame1', 'frame2', 'audio', 'switch')
    assert plus.SAPlus().inputs == ('frame0', 'frame1', 'frame2', 'audio0', 'audio1', 'audio2')
