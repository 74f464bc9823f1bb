"""Fusions against NumPy in float64, and the nets S, SA and ST."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stanet_jax.models import branch, cgcn, classifiers, fusion
from tests.variables import drawn

GRAPHS, NODES = 2, 3
BATCH = GRAPHS * NODES  # of nets without graphs, too: what is compiled for them serves nodes


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_nets_name_has_two_parts():
    assert [tuple(branch.parse_net(net)) for net in ('S', 'ST_short')] == [('S', ''), ('ST', 'short')]
    for net in classifiers.PLUS_NETS:
        parsed = branch.parse_net(net)
        assert parsed.source in ('S', 'SA', 'ST') and parsed.granularity in ('short', 'long', 'cross')


def test_fuse_is_equations_5_and_6():
    rng = np.random.default_rng(0)
    s, gate = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    expected = np.concatenate([np.maximum(sigmoid(gate) * s + s, 0), s], axis=-1)
    np.testing.assert_allclose(jax.jit(fusion.fuse)(s, gate), expected, rtol=1e-5, atol=1e-6)


def test_audio_map_is_a_dense_layer_and_transposed_convolutions():
    rng = np.random.default_rng(1)
    a, s = np.float32(rng.normal(size=(2, 7))), np.zeros((2, 8, 8, 3), np.float32)
    module = fusion.AudioMap(4)
    variables = module.init(jax.random.key(0), a, np.ones(2), s)
    p = jax.tree.map(np.float64, variables['params'])
    x = np.maximum(a @ p['dense']['kernel'] + p['dense']['bias'], 0)[:, None, None]
    for name in ('deconv1', 'deconv2', 'deconv3'):
        kernel = p[name]['kernel']
        k, (b, h, w, _) = kernel.shape[0], x.shape
        y = np.zeros((b, h + k - 1, w + k - 1, kernel.shape[-1])) + p[name]['bias']
        for i in range(h):
            for j in range(w):  # Flax lays the kernel the other way round than torch: tap (u, v) is the output's (k-1-u, k-1-v)
                y[:, i:i + k, j:j + k] += np.einsum('bc,uvcd->buvd', x[:, i, j], kernel[::-1, ::-1])
        x = np.maximum(y, 0)
    expected = x @ p['out']['kernel'][0, 0] + p['out']['bias']
    assert expected.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(module.apply(variables, a, np.ones(2), s), expected, rtol=1e-4, atol=1e-5)


def test_time_map_is_a_3d_convolution():
    rng = np.random.default_rng(2)
    frames = np.float32(rng.normal(size=(2, 3, 5, 6, 4)))
    module = fusion.TimeMap(7)
    variables = module.init(jax.random.key(0), frames)
    p = variables['params']

    def conv3d(x, kernel, bias, padding):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1, 1), padding, dimension_numbers=('NTHWC', 'THWIO', 'NTHWC')) + bias
    x = jax.nn.relu(conv3d(frames, p['time']['kernel'][:, None, None], p['time']['bias'], 'VALID'))
    for name in ('space1', 'space2'):
        x = jax.nn.relu(conv3d(x, p[name]['kernel'][None], p[name]['bias'], 'SAME'))
    expected = conv3d(x, p['out']['kernel'][None], p['out']['bias'], 'VALID')[:, 0]
    np.testing.assert_allclose(module.apply(variables, frames), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='three frames'):
        module.apply(variables, frames[:, :2])


@functools.cache
def net(source, train=False):
    """A small net with its variables, an application of it under jit, and inputs."""
    rng = np.random.default_rng(3)
    model = classifiers.Classifier(source, 5, 'tiny', 'tiny_audio', width=8, batch_norm='batch')
    inputs = {'frames': np.float32(rng.normal(size=(BATCH, branch.FRAMES[source], 32, 32, 3))),
              'audio': np.float32(rng.normal(size=(BATCH, 257, 98))), 'phi': np.ones(BATCH, np.float32)}
    variables = drawn(model.init, **inputs)
    apply = jax.jit(functools.partial(model.apply, train=train, mutable=['batch_stats'] if train else False))
    return model, variables, apply, inputs


@pytest.mark.parametrize('source', ['S', 'SA', 'ST'])
def test_logits_are_the_means_of_maps(source):
    _, variables, apply, inputs = net(source)
    logits, out = apply(variables, **inputs)
    assert logits.shape == (BATCH, 5) and out['maps'].shape == (BATCH, 4, 4, 5)
    np.testing.assert_allclose(logits, np.asarray(out['maps']).mean((1, 2)), rtol=1e-5, atol=1e-6)
    weights, bias = (np.asarray(variables['params']['classifier'][k]) for k in ('kernel', 'bias'))
    classic = np.asarray(out['features']).mean((1, 2)) @ weights[0, 0] + bias  # pooling first, as Eq. 1 is usually written
    np.testing.assert_allclose(logits, classic, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('train', [False, True])
def test_a_closed_switch_shuts_the_audio_out(train):
    _, variables, apply, inputs = net('SA', train)
    noise = {**inputs, 'audio': np.float32(np.random.default_rng(4).normal(size=inputs['audio'].shape))}
    closed = {'phi': np.zeros(BATCH, np.float32)}

    def maps(given):
        return np.asarray((apply(variables, **given)[0] if train else apply(variables, **given))[1]['maps'])
    np.testing.assert_array_equal(maps({**inputs, **closed}), maps({**noise, **closed}))
    np.testing.assert_array_equal(maps({**inputs, **closed}), maps({**inputs, 'audio': np.full_like(inputs['audio'], np.nan), **closed}))
    assert np.abs(maps(inputs) - maps(noise)).max() > 1e-4  # and an open one does not
    half = {'phi': np.arange(BATCH, dtype=np.float32) % 2}
    a, b = maps({**inputs, **half}), maps({**noise, **half})
    np.testing.assert_array_equal(a[::2], b[::2])
    assert np.abs(a[1::2] - b[1::2]).max((1, 2, 3)).min() > 1e-4


def test_a_closed_switch_passes_no_gradient_to_the_audio():
    model, variables, _, inputs = net('SA')
    gradient = jax.jit(jax.grad(lambda audio, phi: model.apply(variables, inputs['frames'], audio, phi)[0].sum()))
    assert not np.any(gradient(inputs['audio'], jnp.zeros(BATCH)))
    assert np.any(gradient(inputs['audio'], jnp.ones(BATCH)))


def test_only_st_looks_at_other_frames_and_does():
    _, variables, apply, inputs = net('ST')
    moved = {**inputs, 'frames': inputs['frames'] * np.float32([2, 1, 1])[None, :, None, None, None]}
    assert np.abs(np.asarray(apply(variables, **inputs)[0]) - apply(variables, **moved)[0]).max() > 1e-5
    with pytest.raises(ValueError, match='S looks at 1 frames'):
        net('S')[2](net('S')[1], **inputs)


@pytest.mark.parametrize('source', ['S', 'SA', 'ST'])
def test_plus_is_the_branch_then_cgcn(source):
    rng, b, n = np.random.default_rng(6), GRAPHS, NODES
    model = classifiers.ClassifierPlus(source, 5, 'tiny', 'tiny_audio', width=8, batch_norm='batch', blender={'name': 'cgcn', 'steps': 2})
    inputs = {'frames': np.float32(rng.normal(size=(b, n, branch.FRAMES[source], 32, 32, 3))),
              'audio': np.float32(rng.normal(size=(b, n, 257, 98))), 'phi': np.ones((b, n), np.float32)}
    variables = drawn(model.init, **inputs)
    logits, out = jax.jit(model.apply)(variables, **inputs)
    assert logits.shape == (b, 5) and out['maps'].shape == (b, 4, 4, 5) and out['features'].shape == (b, 4, 4, 5)
    np.testing.assert_allclose(logits, np.asarray(out['maps']).mean((1, 2)), rtol=1e-5, atol=1e-6)

    params = variables['params']
    theirs = {**{k: v for k, v in params.items() if k not in ('reduce', 'cgcn')}, 'classifier': params['reduce']}
    flat = {k: v.reshape(b * n, *v.shape[2:]) for k, v in inputs.items()}
    _, each = net(source)[2]({**variables, 'params': theirs}, **flat)
    nodes = jax.jit(cgcn.CGCN(2).apply)({'params': params['cgcn']}, each['maps'].reshape(b, n, 4, 4, 5))
    np.testing.assert_allclose(out['features'], nodes[:, 0], rtol=1e-4, atol=1e-5)
    kernel, bias = (np.asarray(params['classifier'][k]) for k in ('kernel', 'bias'))
    np.testing.assert_allclose(out['maps'], np.asarray(nodes)[:, 0] @ kernel[0, 0] + bias, rtol=1e-4, atol=1e-5)


def test_every_node_may_be_classified():
    """The target answers as it does alone; the others as if each were the target."""
    net = classifiers.ClassifierPlus('S', 3, 'tiny', 'tiny_audio', width=8, blender={'name': 'cgcn', 'steps': 2})
    frames = np.random.default_rng(0).normal(size=(2, 3, 1, 24, 24, 3)).astype(np.float32)
    variables = drawn(net.init, frames)
    apply = jax.jit(net.apply, static_argnames='every_node')
    logits, out = apply(variables, frames, every_node=True)
    for node in range(3):
        alone, _ = apply(variables, np.roll(frames, -node, axis=1))
        np.testing.assert_allclose(out['nodes'][:, node], alone, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(logits, out['nodes'][:, 0], rtol=1e-6)
    seen = net.apply(variables, frames, method=lambda net, x: net.reduce(net.features(x, None, None).fused))
    np.testing.assert_allclose(out['before'], np.asarray(seen, np.float64).mean(axis=(2, 3)), rtol=1e-4, atol=1e-6)
