"""C-GCN and the fixation refine layer against NumPy in float64, one pair of nodes after the other as the paper writes them."""
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from stanet_jax.models import cgcn
from stanet_jax.models.cgcn import CGCN, fixation_refine
from tests.variables import drawn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def np_refine(h, threshold, rate):
    """Eq. 13, 14 for one node [h, w, c]."""
    a = h.mean(axis=-1)
    mask = np.where(a < threshold * a.max(), rate, 1.0)
    return h / 2 * (sigmoid(a) * mask)[..., None] + h / 2


def np_messages(query, key, h):
    """Eq. 9 to 12 for the nodes [n, p, c] of one example."""
    result = np.zeros_like(h)
    for i in range(len(h)):
        for j in range(len(h)):
            if i != j:
                logits = query[i] @ key[j].T
                attention = np.exp(logits - logits.max(axis=1, keepdims=True))
                result[i] += attention / attention.sum(axis=1, keepdims=True) @ h[j]
    return result


def np_cgcn(nodes, params, steps, threshold, rate, refine):
    query, key = ((params[k]['kernel'][0, 0].astype(np.float64), params[k]['bias'].astype(np.float64)) for k in ('query', 'key'))
    result = []
    for h in nodes.astype(np.float64):
        for _ in range(steps):
            flat = h.reshape(len(h), -1, h.shape[-1])
            heard = np_messages(flat @ query[0] + query[1], flat @ key[0] + key[1], flat).reshape(h.shape)
            h = h * sigmoid(heard)
            if refine:
                h = np.stack([np_refine(x, threshold, rate) for x in h])
        result.append(h)
    return np.stack(result)


def inputs(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('threshold, rate', [(0.8, 0.6), (0.5, 0.2), (1.0, 0.0)])
def test_fixation_refine(threshold, rate):
    h = np.abs(inputs((2, 3, 5, 4, 6)))
    expected = np.stack([[np_refine(x, threshold, rate) for x in nodes] for nodes in h.astype(np.float64)])
    np.testing.assert_allclose(fixation_refine(h, threshold, rate), expected, rtol=1e-5, atol=1e-6)
    weakened = np.asarray(fixation_refine(h, threshold, rate)) < np.asarray(fixation_refine(h, threshold, 1.0)) - 1e-6
    assert weakened.any() and not weakened.all()


@pytest.mark.parametrize('nodes, steps, refine, side', [
    (2, 1, True, 4), (3, 3, True, 5), (5, 2, False, 3), (3, 0, True, 4), (3, 2, True, 9)])
def test_cgcn(nodes, steps, refine, side):
    x = inputs((2, nodes, side, side + 1, 6))
    net = CGCN(steps, 0.7, 0.4, refine)
    variables = drawn(net.init, x)
    found = jax.jit(net.apply)(variables, x)
    chex.assert_shape(found, x.shape)
    expected = np_cgcn(x, jax.tree.map(np.asarray, variables['params']), steps, 0.7, 0.4, refine) if steps else x
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


def test_parameters_are_two_convolutions():
    variables = jax.eval_shape(CGCN().init, jax.random.key(0), jnp.zeros((1, 3, 4, 4, 28)))
    assert {k: {n: v.shape for n, v in of.items()} for k, of in variables['params'].items()} == {
        name: {'kernel': (1, 1, 28, 28), 'bias': (28,)} for name in ('query', 'key')}
    with pytest.raises(ValueError, match='two nodes'):
        CGCN().init(jax.random.key(0), jnp.zeros((1, 1, 4, 4, 28)))


@pytest.mark.parametrize('block', [0, 1, 7, 64])
def test_blocks_do_not_show(block):
    query, key, h = (inputs((2, 3, 20, 5), seed) for seed in range(3))
    expected = np.stack([np_messages(*(x[b].astype(np.float64) for x in (query, key, h))) for b in range(2)])
    np.testing.assert_allclose(cgcn.messages(query, key, h, block), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('backend, block', [('tpu', 7), ('gpu', None)])
def test_accelerators_have_their_own_forms(backend, block, monkeypatch):
    """All nodes at once, and on a GPU all positions: they give what a CPU's form does, values and gradients; here on a CPU."""
    inputs_ = [inputs((2, 3, 20, 5), seed) for seed in range(3)]
    inputs_[0] = inputs_[0][:, :2]  # two nodes receive

    def both():
        return jax.jit(jax.value_and_grad(lambda *x: (cgcn.messages(*x, block=block)**2).sum(), argnums=(0, 1, 2)))
    expected = both()(*inputs_)
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    chex.assert_trees_all_close(both()(*inputs_), expected, rtol=1e-4, atol=1e-5)
    has_loop = 'scan' in str(jax.make_jaxpr(lambda *x: cgcn.messages(*x, block=block))(*inputs_))
    assert has_loop == (backend == 'tpu')


def test_gradients():
    query, key, h = (inputs((1, 3, 6, 4), seed) for seed in range(3))
    check_grads(jax.jit(lambda *x: cgcn.messages(*x, block=4)), (query, key, h), order=1, modes=['rev'], atol=2e-2, rtol=2e-2)
    net, x = CGCN(steps=2), np.abs(inputs((1, 3, 3, 3, 4)))
    variables = drawn(net.init, x)
    check_grads(jax.jit(net.apply), (variables, x), order=1, modes=['rev'], atol=2e-2, rtol=2e-2)


def test_a_node_hears_the_others_and_the_examples_are_apart():
    x = inputs((2, 3, 4, 4, 6))
    net = CGCN(steps=1)
    variables, apply = drawn(net.init, x), jax.jit(net.apply)
    before, changed = apply(variables, x), x.copy()
    changed[0, 1] += 1
    after = apply(variables, changed)
    moved = np.abs(np.asarray(after - before)).max(axis=(2, 3, 4)) > 1e-6
    assert moved[0].all() and not moved[1].any()


def test_bfloat16_rounds_inputs_and_outputs_alone():
    """Attention as sharp as this was off by several per cent when its scores were rounded."""
    x = jnp.asarray(4 * inputs((2, 3, 6, 6, 28)), jnp.bfloat16)
    variables = jax.tree.map(lambda v: 2 * v, drawn(CGCN().init, x))
    exact, found = (jax.jit(CGCN(dtype=dtype).apply)(variables, x.astype(dtype)) for dtype in (jnp.float32, jnp.bfloat16))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(np.float32), exact, rtol=2**-8)
    query, key, h = (jnp.asarray(x.reshape(2, 3, 36, 28)) for _ in range(3))
    heard = [cgcn.messages(*(of.astype(dtype) for of in (query, key, h))) for dtype in (jnp.float32, jnp.bfloat16)]
    np.testing.assert_array_equal(*heard)
