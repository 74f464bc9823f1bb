"""Encoders: sizes, parameter counts, and values against NumPy in float64."""
from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stanet_jax.models import backbones
from stanet_jax.models.backbones import resnet38
from stanet_jax.models.backbones.resnext import Bottleneck
from stanet_jax.models.backbones.vggsound import BasicBlock, NetVLAD, netvlad
from tests.variables import drawn

KEY = jax.random.key(0)
SPECTROGRAM = (257, 98)
# One block a level keeps the values of ResNeXt cheap to compute; its full depth is checked by shape and count.
SHALLOW = {'layers': (1, 1, 1, 1), 'groups': 2, 'width_per_group': 8}


@cache
def trace(name, shape, **fields):
    """Shapes of (features, variables) of an encoder, without computing."""
    net = backbones.create(name, **fields)
    return jax.eval_shape(net.init_with_output, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))


# Few values are computed by what is compiled here: compiling fast is worth more than fast code.
FAST = {'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True}


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def np_conv(x, kernel, stride=1, padding=0, dilation=1, groups=1):
    """Convolution as torch defines it: padding on both sides of both axes, tap by tap. x [b, h, w, c], float64."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    kernel = np.asarray(kernel, np.float64)
    size, _, fan_in, c_out = kernel.shape
    rows = range(0, x.shape[1] - dilation * (size - 1), stride)
    cols = range(0, x.shape[2] - dilation * (size - 1), stride)
    y = np.zeros((x.shape[0], len(rows), len(cols), c_out))
    for g in range(groups):
        ins, outs = slice(g * fan_in, (g + 1) * fan_in), slice(g * c_out // groups, (g + 1) * c_out // groups)
        for i in range(size):
            for j in range(size):
                window = x[:, i * dilation:][:, :, j * dilation:][:, ::stride, ::stride][:, :len(rows), :len(cols)]
                y[..., outs] += window[..., ins] @ kernel[i, j][:, outs]
    return y


def np_max_pool(x, size, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=-np.inf)
    rows, cols = range(0, x.shape[1] - size + 1, stride), range(0, x.shape[2] - size + 1, stride)
    return np.stack([np.stack([x[:, r:r + size, c:c + size].max((1, 2)) for c in cols], 1) for r in rows], 1)


def np_norm(x, variables, name):
    p, s = variables['params'][name], variables['batch_stats'][name]
    mean, var, scale, bias = (np.asarray(a, np.float64) for a in (s['mean'], s['var'], p['scale'], p['bias']))
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize('name, side, c3, c4, c5', [
    ('tiny', 256, (64, 64, 32), (32, 32, 64), (32, 32, 64)),
    ('tiny', 356, (89, 89, 32), (44, 44, 64), (44, 44, 64)),
    ('tiny', 99, (24, 24, 32), (12, 12, 64), (12, 12, 64)),
    ('vgg16', 256, (64, 64, 256), (32, 32, 512), (32, 32, 512)),
    ('vgg16', 356, (89, 89, 256), (44, 44, 512), (44, 44, 512)),
    ('resnext101_32x8d', 256, (32, 32, 512), (16, 16, 1024), (8, 8, 2048)),
    ('resnext101_32x8d', 356, (45, 45, 512), (23, 23, 1024), (12, 12, 2048)),
])
def test_feature_sizes(name, side, c3, c4, c5):
    features, _ = trace(name, (2, side, side, 3))
    assert {k: v.shape for k, v in features.items()} == {'C3': (2, *c3), 'C4': (2, *c4), 'C5': (2, *c5)}


@pytest.mark.parametrize('name, classes, width', [('vggsound', 309, 16 * 512), ('tiny_audio', 28, 128)])
@pytest.mark.parametrize('shape', [(2, 257, 98), (2, 257, 98, 1), (2, 257, 1004, 1)])
def test_sound_sizes(name, classes, width, shape):
    features, _ = trace(name, shape, classes=classes)
    assert {k: v.shape for k, v in features.items()} == {'embedding': (2, width), 'logits': (2, classes)}


@pytest.mark.parametrize('name, head', [('vggsound', 'fc_'), ('tiny_audio', 'logits')])
def test_no_classes_leave_the_head_out(name, head):
    whole, variables = trace(name, (2, *SPECTROGRAM), classes=5)
    features, without = trace(name, (2, *SPECTROGRAM), classes=0)
    assert features == {'embedding': whole['embedding']}
    rest = {k: v for k, v in variables['params'].items() if k != head}
    assert without == {**variables, 'params': rest}


def test_vgg16_parameters():
    _, variables = trace('vgg16', (2, 256, 256, 3))
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    expected = sum(9 * i * o + o for i, o in zip(channels, channels[1:], strict=False))
    # torchvision's 138,357,544 less its three linear layers.
    assert expected == 138_357_544 - (25088 * 4096 + 4096) - (4096 * 4096 + 4096) - (4096 * 1000 + 1000)
    assert count(variables['params']) == expected
    assert list(variables['params']) == ['conv1_1', 'conv1_2', 'conv2_1', 'conv2_2', 'conv3_1', 'conv3_2', 'conv3_3',
                                         'conv4_1', 'conv4_2', 'conv4_3', 'conv5_1', 'conv5_2', 'conv5_3']


def test_resnext_parameters():
    _, variables = trace('resnext101_32x8d', (2, 256, 256, 3))
    expected, c_in = 49 * 3 * 64 + 2 * 64, 64
    for blocks, width, c_out in ((3, 256, 256), (4, 512, 512), (23, 1024, 1024), (3, 2048, 2048)):
        first = c_in * width + 9 * (width // 32) * width + width * c_out + 2 * (width + width + c_out)
        later = c_out * width + 9 * (width // 32) * width + width * c_out + 2 * (width + width + c_out)
        expected += first + (c_in * c_out + 2 * c_out) + (blocks - 1) * later
        c_in = c_out
    assert expected == 88_791_336 - (2048 * 1000 + 1000)  # torchvision's, less its linear layer
    assert count(variables['params']) == expected
    block = variables['params']['layer3_0']
    assert sorted(block) == ['bn1', 'bn2', 'bn3', 'conv1', 'conv2', 'conv3', 'downsample_0', 'downsample_1']
    assert 'downsample_0' not in variables['params']['layer3_22'] and 'layer3_23' not in variables['params']


def test_resnet38_parameters():
    features, variables = trace('resnet38', (2, 97, 64, 3))
    assert {k: v.shape for k, v in features.items()} == {'C3': (2, 13, 8, 1024), 'C4': (2, 13, 8, 2048), 'C5': (2, 13, 8, 4096)}
    expected, c_in = 27 * 64, 64
    for blocks, middle, c_out in ((3, 128, 128), (3, 256, 256), (6, 512, 512), (3, 512, 1024)):
        first = 2 * c_in + 9 * c_in * middle + 2 * middle + 9 * middle * c_out + c_in * c_out
        later = 2 * c_out + 9 * c_out * middle + 2 * middle + 9 * middle * c_out
        expected, c_in = expected + first + (blocks - 1) * later, c_out
    for c_in, c_out in ((1024, 2048), (2048, 4096)):
        quarter, half = c_out // 4, c_out // 2
        expected += 2 * (c_in + quarter + half) + c_in * quarter + 9 * quarter * half + half * c_out + c_in * c_out
    assert count(variables['params']) == expected + 2 * 4096
    assert [name for name in variables['params'] if name.startswith('b4')] == ['b4', 'b4_1', 'b4_2', 'b4_3', 'b4_4', 'b4_5']


@pytest.mark.parametrize('c, stride, dilations', [(6, 2, (1, 1)), (8, 1, (2, 2)), (6, 1, (1, 2))])
def test_preactivated_block_against_numpy(c, stride, dilations):
    x = np.random.default_rng(0).normal(size=(2, 9, 7, c)).astype(np.float32)
    net = resnet38.Block(5, 8, stride, dilations, partial(nn.Conv, use_bias=False),
                         partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5))
    variables = drawn(net.init, x)
    kernels = {k: v['kernel'] for k, v in variables['params'].items() if 'kernel' in v}
    y = relu(np_norm(x, variables, 'bn_branch2a'))
    skip = np_conv(y, kernels['conv_branch1'], stride) if 'conv_branch1' in kernels else x
    y = relu(np_norm(np_conv(y, kernels['conv_branch2a'], stride, dilations[0], dilations[0]), variables, 'bn_branch2b1'))
    expected = skip + np_conv(y, kernels['conv_branch2b1'], 1, dilations[1], dilations[1])
    assert ('conv_branch1' in kernels) == (c != 8 or stride > 1)
    np.testing.assert_allclose(jax.jit(net.apply)(variables, x), expected, rtol=1e-4, atol=1e-4)


def test_bottleneck_drops_out_in_training_alone():
    x = np.random.default_rng(0).normal(size=(1, 9, 9, 6)).astype(np.float32)
    net = resnet38.Bottleneck(16, 2, 0.5, partial(nn.Conv, use_bias=False), partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5))
    variables = jax.jit(partial(net.init, train=False))(KEY, x)
    apply = jax.jit(net.apply, static_argnums=2)
    still, entry = apply(variables, x, False)
    dropped = [apply(variables, x, True, rngs={'dropout': jax.random.key(seed)})[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert np.any(dropped[0] != dropped[2]) and np.any(dropped[0] != still) and still.shape == (1, 9, 9, 16) and entry.shape == x.shape


def test_vggsound_parameters():
    _, variables = trace('vggsound', (2, 257, 98), classes=309)
    resnet18 = 11_689_512 - (512 * 1000 + 1000) - 2 * 49 * 64  # less its linear layer and two channels in
    vlad = 16 * 512 + (512 * 16 + 16)
    assert count(variables['params']) == resnet18 + vlad + (8192 * 309 + 309)
    assert sorted(variables['params']['avgpool']) == ['centroids', 'conv']


def test_init_is_he_normal_of_fan_out():
    net = backbones.create('resnext101_32x8d', **SHALLOW)
    init = jax.jit(lambda: net.init(KEY, jnp.zeros((1, 32, 32, 3)))['params']['layer4_0']['conv2']['kernel'])
    kernel = init()  # grouped: 64 of the 128 channels come in, 128 go out
    assert kernel.shape == (3, 3, 64, 128)
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 128)), rtol=0.02)


@pytest.mark.parametrize('name, shape, fields, padding_of_next', [
    ('resnext101_32x8d', (2, 33, 32, 3), SHALLOW, 0),
    ('resnext101_32x8d', (1, 30, 35, 3), SHALLOW, 0),
    ('vggsound', (1, 257, 40, 1), {'classes': 3}, 1),
])
def test_stem_pads_as_torch(name, shape, fields, padding_of_next):
    """Follows an input through the stem and the first convolution after its pool."""
    net = backbones.create(name, **fields)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    variables = drawn(net.init, x)

    @jax.jit  # the rest of the net is not asked for, and so not compiled
    def after_pool(variables, x):
        _, state = net.apply(variables, x, capture_intermediates=True, mutable=['intermediates'])
        return state['intermediates']['layer1_0']['conv1']['__call__'][0]

    y = np_conv(x, variables['params']['conv1']['kernel'], stride=2, padding=3)
    y = np_max_pool(relu(np_norm(y, variables, 'bn1')), 3, 2, 1)
    y = np_conv(y, variables['params']['layer1_0']['conv1']['kernel'], padding=padding_of_next)
    np.testing.assert_allclose(after_pool(variables, x), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('shape, stride', [((2, 7, 6, 6), 1), ((2, 7, 6, 6), 2), ((1, 8, 9, 6), 2)])
def test_blocks_against_numpy(shape, stride):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    conv, norm = partial(nn.Conv, use_bias=False), partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)

    bottleneck = Bottleneck(planes=2, width=4, groups=2, stride=stride, dilation=1, conv=conv, norm=norm)
    variables = drawn(bottleneck.init, x)
    kernels = {k: v['kernel'] for k, v in variables['params'].items() if 'kernel' in v}
    y = relu(np_norm(np_conv(x, kernels['conv1']), variables, 'bn1'))
    y = relu(np_norm(np_conv(y, kernels['conv2'], stride, 1, groups=2), variables, 'bn2'))
    y = np_norm(np_conv(y, kernels['conv3']), variables, 'bn3')
    skip = np_norm(np_conv(x, kernels['downsample_0'], stride), variables, 'downsample_1')
    np.testing.assert_allclose(jax.jit(bottleneck.apply)(variables, x), relu(y + skip), rtol=1e-4, atol=1e-5)

    basic = BasicBlock(planes=6, stride=stride, conv=conv, norm=norm)
    variables = drawn(basic.init, x)
    kernels = {k: v['kernel'] for k, v in variables['params'].items() if 'kernel' in v}
    y = relu(np_norm(np_conv(x, kernels['conv1'], stride, 1), variables, 'bn1'))
    y = np_norm(np_conv(y, kernels['conv2'], 1, 1), variables, 'bn2')
    skip = x if stride == 1 else np_norm(np_conv(x, kernels['downsample_0'], stride), variables, 'downsample_1')
    np.testing.assert_allclose(jax.jit(basic.apply)(variables, x), relu(y + skip), rtol=1e-4, atol=1e-5)


def test_vgg16_level5_is_dilated_after_a_pool_of_stride_1():
    net = backbones.create('vgg16')
    x = np.random.default_rng(2).normal(size=(1, 32, 24, 3)).astype(np.float32)
    variables = drawn(net.init, x)
    @partial(jax.jit, compiler_options=FAST)
    def run(variables, x):
        return net.apply(variables, x, capture_intermediates=True, mutable=['intermediates'])

    features, state = run(variables, x)
    assert features['C3'].shape == (1, 8, 6, 256) and features['C4'].shape == features['C5'].shape == (1, 4, 3, 512)
    conv = {k: v['__call__'][0] for k, v in state['intermediates'].items() if k != '__call__'}
    for name, last in (('C3', 'conv3_3'), ('C4', 'conv4_3'), ('C5', 'conv5_3')):
        np.testing.assert_array_equal(features[name], relu(conv[last]))
    p = variables['params']['conv5_1']
    expected = np_conv(np_max_pool(np.asarray(features['C4']), 3, 1, 1), p['kernel'], padding=2, dilation=2) + p['bias']
    np.testing.assert_allclose(conv['conv5_1'], expected, rtol=1e-4, atol=1e-4)


def test_vgg16_small_input():
    with pytest.raises(ValueError, match='at least 8x8'):
        trace('vgg16', (1, 7, 64, 3))


def test_tiny_values():
    net = backbones.create('tiny', widths=(4, 6, 5))
    x = np.random.default_rng(3).normal(size=(2, 34, 27, 3)).astype(np.float32)
    variables = drawn(net.init, x)
    features = jax.jit(net.apply)(variables, x)
    assert [features[k].shape for k in ('C3', 'C4', 'C5')] == [(2, 8, 6, 4), (2, 4, 3, 6), (2, 4, 3, 5)]
    y, kernel = x, {k: v['kernel'] for k, v in variables['params'].items() if 'kernel' in v}
    for name, number, stride, padding in (('C3', 1, 4, 0), ('C4', 2, 2, 1), ('C5', 3, 1, 1)):
        y = relu(np_norm(np_conv(y, kernel[f'conv{number}'], stride, padding), variables, f'bn{number}'))
        np.testing.assert_allclose(features[name], y, rtol=1e-4, atol=1e-4)


def test_tiny_receptive_field():
    net = backbones.create('tiny')
    x = jnp.asarray(np.random.default_rng(4).normal(size=(1, 96, 96, 3)), jnp.float32)
    variables = drawn(net.init, x)
    gradient = jax.jit(jax.grad(lambda x: net.apply(variables, x)['C5'][0, 6, 6].sum()))(x)
    rows, cols = np.nonzero(np.abs(gradient[0]).sum(-1))
    # Its own 8 by 8 pixels from 48 on, and 12 more on each side: as a resized map draws it.
    for places in (rows, cols):
        assert (places.min(), places.max()) == (48 - 12, 48 + 8 + 12 - 1)


SMALL = [('tiny', (4, 32, 32, 3)), ('tiny_audio', (4, 257, 40)), ('vggsound', (4, 257, 8)),
         ('resnext101_32x8d', (4, 32, 32, 3))]


def train_pass(name, shape, batch_norm):
    """Inputs, variables and a compiled pass with train=True: (x, mask) -> (features, statistics)."""
    net = backbones.create(name, batch_norm=batch_norm, **(SHALLOW if name.startswith('resnext') else {}))
    x = jnp.asarray(np.random.default_rng(5).normal(size=shape), jnp.float32)
    variables = drawn(net.init, x)

    @partial(jax.jit, compiler_options=FAST)
    def compiled(variables, x, mask):
        features, state = net.apply(variables, x, train=True, mask=mask, mutable=['batch_stats'])
        return features, state['batch_stats']

    return net, x, variables, partial(compiled, variables)  # as constants they would take long to compile


@pytest.mark.parametrize('name, shape', SMALL)
def test_padded_examples_do_not_count(name, shape):
    _, x, variables, run = train_pass(name, shape, 'batch')
    mask, real = jnp.array([True, True, False, True]), np.array([0, 1, 3])
    features, statistics = run(x, mask)
    other_features, other_statistics = run(x.at[2].set(100.0), mask)
    for name in features:
        np.testing.assert_allclose(features[name][real], other_features[name][real], rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), statistics, other_statistics)
    # All of the statistics moved, and each of them counts the example once it is real.
    _, statistics_of_all = run(x, jnp.ones(4, bool))
    for others in (variables['batch_stats'], statistics_of_all):
        moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), statistics, others)
        assert min(jax.tree.leaves(moved)) > 1e-4


@pytest.mark.parametrize('name, shape', SMALL[1:2])  # it normalises maps and rows
def test_mask_equals_the_real_examples_alone(name, shape):
    _, x, _, run = train_pass(name, shape, 'batch')
    real = np.array([0, 1, 3])
    features, statistics = run(x.at[2].set(100.0), jnp.array([True, True, False, True]))
    alone, statistics_alone = run(x[real], None)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[real], b, rtol=1e-3, atol=1e-4), features, alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), statistics, statistics_alone)


@pytest.mark.parametrize('name, shape', SMALL)
def test_running_statistics_stay_in_training(name, shape):
    _, x, variables, run = train_pass(name, shape, 'running')
    features, statistics = run(x, jnp.array([True, True, False, True]))
    jax.tree.map(np.testing.assert_array_equal, statistics, variables['batch_stats'])
    # An example's features do not depend on the rest of its batch.
    others, _ = run(x.at[1:].set(1.0), jnp.array([True, True, False, True]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-6), features, others)


@pytest.mark.parametrize('name, shape', SMALL[:2])
def test_batch_norm_of_evaluation(name, shape):
    """Without train, 'batch' is 'running'."""
    net, x, variables, run = train_pass(name, shape, 'running')
    apply = jax.jit(partial(net.clone(batch_norm='batch').apply, mutable=['batch_stats']), compiler_options=FAST)
    features, state = apply(variables, x)
    jax.tree.map(np.testing.assert_array_equal, state['batch_stats'], variables['batch_stats'])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), features, run(x, None)[0])


def np_netvlad(x, kernel, bias, centroids):
    """NetVLAD of one [h, w, c] map, position by position."""
    k, c = centroids.shape
    v = np.zeros((k, c))
    for d in x.reshape(-1, c).astype(np.float64):
        d = d / max(np.linalg.norm(d), 1e-12)
        score = d @ kernel + bias
        a = np.exp(score - score.max())
        v += (a / a.sum())[:, None] * (d - centroids)
    v = np.concatenate([row / max(np.linalg.norm(row), 1e-12) for row in v])
    return v / max(np.linalg.norm(v), 1e-12)


def test_netvlad_against_numpy():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2, 3, 5, 8)).astype(np.float32)
    net = NetVLAD(clusters=4)
    params = {'centroids': rng.normal(size=(4, 8)),  # free of the assignment, as in a trained net
              'conv': {'kernel': 5 * rng.normal(size=(1, 1, 8, 4)), 'bias': rng.normal(size=4)}}
    got = jax.jit(net.apply)({'params': jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)}, x)
    kernel = params['conv']['kernel'].reshape(8, 4)
    expected = [np_netvlad(m, kernel, params['conv']['bias'], params['centroids']) for m in x]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_netvlad_starts_tied_to_its_centroids():
    params = jax.jit(NetVLAD(clusters=4).init)(KEY, jnp.ones((1, 2, 2, 8)))['params']
    centroids = np.asarray(params['centroids'])
    assert 0 <= centroids.min() < 0.2 and 0.8 < centroids.max() < 1
    np.testing.assert_allclose(params['conv']['kernel'][0, 0], 200 * centroids.T, rtol=1e-6)
    np.testing.assert_allclose(params['conv']['bias'], -100 * np.linalg.norm(centroids, axis=1), rtol=1e-6)


def test_netvlad_of_zeros_is_finite():
    centroids = jnp.asarray(np.eye(2, 3), jnp.float32)
    assignment = jnp.ones((1, 4, 2)) / 2
    x = jnp.tile(centroids[0], (1, 4, 1))  # the residual to the first centroid is zero
    v = jax.jit(netvlad)(x, assignment, centroids)
    gradient = jax.jit(jax.grad(lambda x: netvlad(x, assignment, centroids).sum()))(x)
    np.testing.assert_allclose(v, [[0, 0, 0, 0.5**0.5, -(0.5**0.5), 0]], atol=1e-6)
    assert np.isfinite(gradient).all()


def test_sound_with_wrong_rows():
    with pytest.raises(ValueError, match=r'\[b, 257, t\]'):
        trace('vggsound', (1, 256, 98))
    with pytest.raises(ValueError, match=r'\[b, 257, t\]'):
        trace('vggsound', (1, 257, 98, 3))


def test_tiny_audio_tells_pitch_at_any_length():
    net = backbones.create('tiny_audio', classes=8)
    variables = drawn(net.init, jnp.zeros((1, *SPECTROGRAM)))
    apply = jax.jit(net.apply)

    def embedding(row, t):
        return apply(variables, jnp.zeros((1, 257, t)).at[:, row:row + 3].set(5.0))['embedding'][0]

    # Steady tones away from the edges, whole strides apart: equal to a net that pools over frequency.
    low, high = embedding(64, 98), embedding(64 + 7 * 16, 98)
    assert low.shape == jax.eval_shape(partial(embedding, 64, 1004)).shape == (128,)
    assert np.linalg.norm(low - high) > 0.3 * np.linalg.norm(low)


def test_tiny_audio_is_cheap():
    net = backbones.create('tiny_audio')
    _, variables = trace('tiny_audio', (1, *SPECTROGRAM))
    cost = jax.jit(net.apply).lower(variables, jax.ShapeDtypeStruct((1, *SPECTROGRAM), jnp.float32)).cost_analysis()
    assert 1e6 < cost['flops'] / 2 < 3e6


@pytest.mark.parametrize('name, shape', [('tiny', (1, 64, 64, 3)), ('vgg16', (1, 64, 64, 3)),
                                         ('resnext101_32x8d', (1, 64, 64, 3)), ('vggsound', (1, *SPECTROGRAM)),
                                         ('tiny_audio', (1, *SPECTROGRAM))])
def test_bfloat16_keeps_float32_parameters(name, shape):
    fields = SHALLOW if name.startswith('resnext') else {}
    features, variables = trace(name, shape, dtype=jnp.bfloat16, **fields)
    assert {v.dtype for v in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert {v.dtype for v in features.values()} == {jnp.dtype('bfloat16')}


def test_bfloat16_values():
    x = jnp.asarray(np.random.default_rng(8).normal(size=(1, 64, 64, 3)), jnp.float32)
    net = backbones.create('tiny')
    variables = drawn(net.init, x)
    exact = jax.jit(net.apply)(variables, x)['C5']
    rough = jax.jit(net.clone(dtype=jnp.bfloat16).apply)(variables, x)['C5']
    error = np.linalg.norm(rough.astype(jnp.float32) - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.03


def test_create_refuses():
    with pytest.raises(ValueError, match='resnet50.*tiny, vgg16, resnext101_32x8d, resnet38, resnet101, efficientnet_lite0.*tiny_audio'):
        backbones.create('resnet50')
    with pytest.raises(ValueError, match="'running' or 'batch', got 'frozen'"):
        backbones.create('tiny', batch_norm='frozen')
