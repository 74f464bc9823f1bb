"""EfficientNet-Lite and YAMNet, which are made of depthwise convolutions, against NumPy in float64."""
import functools
import math

import jax
import numpy as np
import pytest

from stanet_jax.models import backbones
from stanet_jax.models.backbones.efficientnet_lite import scaled_channels
from tests.variables import drawn

PARAMETERS = {'efficientnet_lite0': 4_652_008, 'efficientnet_lite1': 5_416_680, 'efficientnet_lite2': 6_092_072, 'yamnet': 3_729_481}


def same(x, kernel, stride, dilation=1, depthwise=False):
    """A convolution with TensorFlow's "same" padding: x [h, w, c], kernel [k, k, c, d], or [k, k, 1, c]."""
    k, (h, w, _) = kernel.shape[0], x.shape
    out = [math.ceil(n / stride) for n in (h, w)]
    totals = [max((o - 1) * stride + (k - 1) * dilation + 1 - n, 0) for o, n in zip(out, (h, w), strict=True)]
    x = np.pad(x, [(total // 2, total - total // 2) for total in totals] + [(0, 0)])
    result = np.zeros((*out, kernel.shape[3]))
    for i in range(out[0]):
        for j in range(out[1]):
            patch = x[i * stride:i * stride + (k - 1) * dilation + 1:dilation, j * stride:j * stride + (k - 1) * dilation + 1:dilation]
            result[i, j] = (patch * kernel[:, :, 0]).sum((0, 1)) if depthwise else np.einsum('ijc,ijcd->d', patch, kernel)
    return result


@functools.cache
def encoder(name, **fields):
    """An encoder, and variables drawn for it."""
    net = backbones.create(name, **fields)
    return net, drawn(net.init, np.zeros((1, 64, 96) if name == 'yamnet' else (1, 32, 32, 3), np.float32))


def as_float64(variables):
    params, stats = (jax.tree.map(np.float64, variables[part]) for part in ('params', 'batch_stats'))

    def norm(x, *path, eps):
        of, known = params, stats
        for key in path:
            of, known = of[key], known[key]
        return (x - known['mean']) / np.sqrt(known['var'] + eps) * of.get('scale', 1.0) + of['bias']
    return params, norm


def relu6(x):
    return np.clip(x, 0, 6)


def efficientnet(variables, x, dilated):
    """EfficientNet-Lite0 of one image [h, w, 3] -> C3, C4, C5 and logits."""
    params, norm = as_float64(variables)
    x = relu6(norm(same(x, params['conv_stem']['kernel'], 2), 'bn0', eps=1e-3))
    found, number, total, dilation = {}, 0, 2, 1
    table = ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6))  # blocks, stride, expansion
    for stage, (blocks, step, expansion) in enumerate(table):
        for k in range(blocks):
            block, before, stride = params[f'blocks_{number}'], x, step if k == 0 else 1
            cut = dilated and total * stride > 16
            if expansion > 1:
                x = relu6(norm(same(x, block['expand_conv']['kernel'], 1), f'blocks_{number}', 'bn0', eps=1e-3))
            x = same(x, block['depthwise_conv']['kernel'], 1 if cut else stride, dilation, depthwise=True)
            x = relu6(norm(x, f'blocks_{number}', 'bn1', eps=1e-3))
            x = norm(same(x, block['project_conv']['kernel'], 1), f'blocks_{number}', 'bn2', eps=1e-3)
            x = x + before if x.shape == before.shape else x
            total, dilation, number = total if cut else total * stride, 2 if cut else dilation, number + 1
        if stage in (2, 4):
            found['C3' if stage == 2 else 'C4'] = x
    found['C5'] = relu6(norm(same(x, params['conv_head']['kernel'], 1), 'bn1', eps=1e-3))
    found['logits'] = found['C5'].mean((0, 1)) @ params['fc']['kernel'] + params['fc']['bias']
    return found


@pytest.mark.parametrize('side, dilated', [(32, False), (32, True), (45, False)])
def test_efficientnet_lite_is_what_numpy_makes_of_it(side, dilated):
    net, variables = encoder('efficientnet_lite0', dilated=dilated)
    frames = np.random.default_rng(1).integers(0, 256, (2, side, side + 3, 3), np.uint8)
    x = backbones.normalise('efficientnet_lite0', frames)
    found = jax.jit(net.apply)(variables, x)
    assert {name: of.shape[1:3] for name, of in found.items() if name != 'logits'} == {
        'C3': (math.ceil(side / 8), math.ceil((side + 3) / 8)), 'C4': (math.ceil(side / 16), math.ceil((side + 3) / 16)),
        'C5': tuple(math.ceil(n / (16 if dilated else 32)) for n in (side, side + 3))}
    expected = efficientnet(variables, (np.float64(frames[1]) - 127) / 128, dilated)
    for name, of in expected.items():
        np.testing.assert_allclose(found[name][1], of, rtol=1e-4, atol=1e-4 * np.abs(of).max(), err_msg=name)


def test_yamnet_is_what_numpy_makes_of_it():
    net, variables = encoder('yamnet')
    patch = np.random.default_rng(1).normal(size=(2, 64, 96))
    found = jax.jit(net.apply)(variables, np.float32(patch))
    params, norm = as_float64(variables)
    x = np.maximum(norm(same(patch[1].T[..., None], params['conv1']['kernel'], 2), 'bn1', eps=1e-4), 0)
    for k, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1), start=2):
        x = same(x, params[f'depthwise{k}']['kernel'], stride, depthwise=True)
        x = np.maximum(norm(x, f'depthwise{k}_bn', eps=1e-4), 0)
        x = np.maximum(norm(same(x, params[f'pointwise{k}']['kernel'], 1), f'pointwise{k}_bn', eps=1e-4), 0)
    assert found['embedding'].shape == (2, 1024) and found['logits'].shape == (2, 521)
    np.testing.assert_allclose(found['embedding'][1], x.mean((0, 1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['logits'][1], x.mean((0, 1)) @ params['logits']['kernel'] + params['logits']['bias'], atol=1e-4)


@pytest.mark.parametrize('name', PARAMETERS)
def test_parameters(name):
    _, variables = encoder(name)
    assert sum(x.size for x in jax.tree.leaves(variables['params'])) == PARAMETERS[name]


@pytest.mark.parametrize('name', ['efficientnet_lite0', 'yamnet'])
def test_without_the_head_and_in_training(name):
    net, variables = encoder(name, classes=0, batch_norm='batch')
    x = np.float32(np.random.default_rng(0).normal(size=(3, 64, 96) if name == 'yamnet' else (3, 32, 32, 3)))
    apply = jax.jit(lambda variables, x: net.apply(variables, x, train=True, mask=np.array([True, True, False]), mutable=['batch_stats']))
    (found, updated), (other, _) = apply(variables, x), apply(variables, np.concatenate([x[:2], 9 * x[2:]]))
    last = 'embedding' if name == 'yamnet' else 'C5'
    assert 'logits' not in found and any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (updated['batch_stats'],
                                                                                              variables['batch_stats'])), strict=True))
    np.testing.assert_allclose(found[last][:2], other[last][:2], rtol=1e-5, atol=1e-5)  # what only fills the batch counts for nothing


def test_channels_are_rounded_as_the_authors_do():
    assert [scaled_channels(c, 1.1) for c in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]


def test_frames_are_normalised_as_each_encoder_says():
    frames = np.array([0, 127, 255], np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(backbones.normalise('efficientnet_lite1', frames).ravel(), [-127 / 128, 0, 1])
    np.testing.assert_allclose(backbones.normalise('vgg16', frames).ravel(),
                               (np.array([0, 127 / 255, 1]) - [.485, .456, .406]) / [.229, .224, .225], rtol=1e-6)
    with pytest.raises(ValueError, match='Unknown image encoder'):
        backbones.normalise('yamnet', frames)
