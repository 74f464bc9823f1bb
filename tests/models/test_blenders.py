"""What C-GCN and SA fuse are compared to, against NumPy in float64."""
import jax
import numpy as np
import pytest

from stanet_jax.models import blenders, branch, classifiers, fusion
from tests.variables import drawn


def applied(name, nodes, **fields):
    """A blender's parameters, in float64, and what it makes of nodes."""
    net = blenders.create(name, **fields)
    variables = drawn(net.init, nodes)
    return jax.tree.map(np.float64, variables['params']), np.asarray(jax.jit(net.apply)(variables, nodes))


@pytest.fixture
def nodes():
    return np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)


def test_concatenate(nodes):
    params, found = applied('concatenate', nodes)
    for i in range(3):
        beside = np.concatenate([nodes[:, (i + k) % 3] for k in range(3)], axis=-1)
        np.testing.assert_allclose(found[:, i], beside @ params['join']['kernel'][0, 0] + params['join']['bias'], rtol=1e-4, atol=1e-5)


def test_gru_ends_at_the_node_itself(nodes):
    params, found = applied('gru', nodes)
    cell = params['cell']

    def dense(x, name):
        return x @ cell[name]['kernel'] + cell[name].get('bias', 0)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for i in range(3):
        h = np.zeros_like(nodes[:, 0], dtype=np.float64)
        for k in (1, 2, 3):
            x = nodes[:, (i + k) % 3].astype(np.float64)
            reset, update = (sigmoid(dense(x, f'i{gate}') + dense(h, f'h{gate}')) for gate in 'rz')
            h = (1 - update) * np.tanh(dense(x, 'in') + reset * dense(h, 'hn')) + update * h
        np.testing.assert_allclose(found[:, i], h, rtol=1e-4, atol=1e-5)


def test_rnn_goes_over_the_nodes_both_ways(nodes):
    params, found = applied('rnn', nodes)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def conv(x, kernel, bias):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        h, w = x.shape[1:3]
        return sum(padded[:, i:i + h, j:j + w] @ kernel[i, j] for i in range(3) for j in range(3)) + bias

    expected = np.zeros(nodes.shape)
    for way, order in (('forth', (0, 1, 2)), ('back', (2, 1, 0))):
        h = c = np.zeros(nodes[:, 0].shape)
        for k in order:
            into, keep, out, new = np.split(conv(np.concatenate([nodes[:, k], h], axis=-1), **params[way]), 4, axis=-1)
            c = sigmoid(keep) * c + sigmoid(into) * np.tanh(new)
            h = sigmoid(out) * np.tanh(c)
            expected[:, k] += h
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('sees, heads', [('all', 1), ('others', 1), ('all', 2), ('others', 3)])
def test_transformers_blocks(nodes, sees, heads):
    params, found = applied('transformer', nodes, blocks=2, heads=heads, sees=sees, width=7)
    b, n, h, w, c = nodes.shape
    x = (nodes + params['place']).reshape(b, n * h * w, c)
    node = np.repeat(np.arange(n), h * w)
    seen = np.full((len(node),) * 2, True) if sees == 'all' else node[:, None] != node

    def norm(x, of):
        mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-6) * of['scale'] + of['bias']

    for k in range(2):
        y, of = norm(x, params[f'norm{k}a']), params[f'attention{k}']
        q, key, v = (np.einsum('bpc,chd->bphd', y, of[name]['kernel']) + of[name]['bias'] for name in ('query', 'key', 'value'))
        scores = np.where(seen, np.einsum('bphd,bqhd->bhpq', q, key) / np.sqrt(c / heads), -np.inf)
        attention = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attention /= attention.sum(axis=-1, keepdims=True)
        x = x + np.einsum('bhpq,bqhd,hdc->bpc', attention, v, of['out']['kernel']) + of['out']['bias']
        inner = norm(x, params[f'norm{k}b']) @ params[f'dense{k}a']['kernel'] + params[f'dense{k}a']['bias']
        assert inner.shape[-1] == 7
        gelu = inner / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        x = x + gelu @ params[f'dense{k}b']['kernel'] + params[f'dense{k}b']['bias']
    np.testing.assert_allclose(found, x.reshape(nodes.shape), rtol=1e-3, atol=1e-4)


def test_transformer_looks_at_all_places_of_all_nodes(nodes):
    net = blenders.create('transformer', blocks=2, heads=2)
    variables, apply = drawn(net.init, nodes), jax.jit(net.apply)
    before, order = apply(variables, nodes), [0, 2, 1]
    np.testing.assert_allclose(apply(variables, nodes[:, order]), before[:, order], rtol=1e-3, atol=1e-4)
    changed = nodes.copy()
    changed[0, 2, 3, 4] *= -2  # not a shift, which the norm takes away
    moved = np.abs(np.asarray(apply(variables, changed) - before)).max(axis=-1) > 1e-6
    assert moved[0].all() and not moved[1].any()


@pytest.mark.parametrize('name', blenders.BLENDERS)
def test_only_the_wanted_nodes_come_back(nodes, name):
    net = blenders.create(name)
    whole, *found = jax.jit(lambda v, x: [net.apply(v, x), *(net.apply(v, x, wanted) for wanted in (1, 2))])(drawn(net.init, nodes), nodes)
    for wanted, some in zip((1, 2), found, strict=True):
        np.testing.assert_allclose(some, whole[:, :wanted], rtol=1e-5, atol=1e-6)


def test_others_are_refused():
    with pytest.raises(ValueError, match='Choose one of: cgcn, concatenate, gru, rnn, transformer'):
        blenders.create('mean')
    with pytest.raises(ValueError, match='blender gru: .*steps'):
        blenders.create('gru', steps=3)
    with pytest.raises(ValueError, match="sees='none': must be all or others"):
        blenders.create('transformer', sees='none').init(jax.random.key(0), np.zeros((1, 2, 2, 2, 4)))


def test_sa_fusions():
    rng = np.random.default_rng(2)
    s, a = rng.normal(size=(2, 2, 3, 4, 5)).astype(np.float32)
    made = {name: make(7, np.float32) for name, make in fusion.SA_FUSIONS.items()}
    np.testing.assert_array_equal(made['add'](s, a), s + a)
    np.testing.assert_array_equal(made['multiply'](s, a), s * a)
    np.testing.assert_array_equal(made['concatenate'](s, a), np.concatenate([s, a], axis=-1))
    variables = made['bilinear'].init(jax.random.key(0), s, a)
    p = jax.tree.map(np.float64, variables['params'])
    form = np.einsum('ik,jk,kc->ijc', p['of_s']['kernel'], p['of_a']['kernel'], p['out']['kernel'])
    np.testing.assert_allclose(made['bilinear'].apply(variables, s, a), np.einsum('bhwi,bhwj,ijc->bhwc', s, a, form), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('sa_fuse', fusion.SA_FUSIONS)
def test_nets_with_every_fusion_hear(sa_fuse):
    rng, source = np.random.default_rng(3), 'STA' if sa_fuse == 'gate' else 'SA'
    net = classifiers.Classifier(source, 5, 'tiny', 'tiny_audio', width=8, sa_fuse=sa_fuse)
    inputs = {'frames': np.float32(rng.normal(size=(2, branch.FRAMES[source], 32, 32, 3))),
              'audio': np.float32(rng.normal(size=(2, 257, 98))), 'phi': np.ones(2, np.float32)}
    variables, apply = drawn(net.init, **inputs), jax.jit(net.apply)
    before = apply(variables, **inputs)[0]
    assert before.shape == (2, 5) and abs(before - apply(variables, **{**inputs, 'audio': -inputs['audio']})[0]).max() > 1e-4
    closed = {**inputs, 'phi': np.zeros(2, np.float32)}
    np.testing.assert_array_equal(apply(variables, **closed)[0], apply(variables, **{**closed, 'audio': -inputs['audio']})[0])
