"""What C-GCN and SA fuse are compared to, against NumPy in float64."""
import jax
import numpy as np
import pytest

from stanet_jax.models import blenders, branch, classifiers, fusion


def applied(name, nodes, **fields):
    """A blender's parameters, each moved off where it begins, in float64, and what it makes of nodes."""
    net = blenders.create(name, **fields)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda x: np.float32(x + rng.normal(0, 0.2, x.shape)), jax.jit(net.init)(jax.random.key(0), nodes))
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


def test_transformer_looks_at_all_places_of_all_nodes(nodes):
    net = blenders.create('transformer', blocks=2, heads=2)
    variables, apply = jax.jit(net.init)(jax.random.key(0), nodes), jax.jit(net.apply)
    before, order = apply(variables, nodes), [0, 2, 1]
    np.testing.assert_allclose(apply(variables, nodes[:, order]), before[:, order], rtol=1e-3, atol=1e-4)
    changed = nodes.copy()
    changed[0, 2, 3, 4] *= -2  # not a shift, which the norm takes away
    moved = np.abs(np.asarray(apply(variables, changed) - before)).max(axis=-1) > 1e-6
    assert moved[0].all() and not moved[1].any()


@pytest.mark.parametrize('name', blenders.BLENDERS)
@pytest.mark.parametrize('wanted', [1, 2])
def test_only_the_wanted_nodes_come_back(nodes, name, wanted):
    net = blenders.create(name)
    variables = jax.jit(net.init)(jax.random.key(0), nodes)
    found = jax.jit(lambda v, x: (net.apply(v, x), net.apply(v, x, wanted)))(variables, nodes)
    np.testing.assert_allclose(found[1], found[0][:, :wanted], rtol=1e-5, atol=1e-6)


def test_others_are_refused():
    with pytest.raises(ValueError, match='Choose one of: cgcn, concatenate, gru, transformer'):
        blenders.create('mean')
    with pytest.raises(ValueError, match='blender gru: .*steps'):
        blenders.create('gru', steps=3)


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
    variables = jax.jit(net.init)(jax.random.key(0), **inputs)
    apply = jax.jit(net.apply)
    before = apply(variables, **inputs)[0]
    assert before.shape == (2, 5) and abs(before - apply(variables, **{**inputs, 'audio': -inputs['audio']})[0]).max() > 1e-4
    closed = {**inputs, 'phi': np.zeros(2, np.float32)}
    np.testing.assert_array_equal(apply(variables, **closed)[0], apply(variables, **{**closed, 'audio': -inputs['audio']})[0])
