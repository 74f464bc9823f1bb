"""The student STA."""
import functools

import jax
import numpy as np
import pytest

from configs import sta
from stanet_jax.models import backbones, cgcn, fusion, students
from stanet_jax.stages.nets import example_batch, net_inputs
from stanet_jax.stages.students import make_student
from tests.variables import drawn

GRAPHS, NODES = 2, 3
BATCH = GRAPHS * NODES  # of STA, too: what is compiled for it serves nodes


@functools.cache
def net():
    rng = np.random.default_rng(0)
    model = students.STA('tiny', 'tiny_audio', width=8)
    inputs = {'frames': np.float32(rng.normal(size=(BATCH, 3, 40, 56, 3))), 'audio': np.float32(rng.normal(size=(BATCH, 257, 98))),
              'phi': np.ones(BATCH, np.float32)}
    return drawn(model.init, **inputs), jax.jit(model.apply), inputs


def test_fuse_both_is_what_equation_15_convolves():
    s, a, v = np.random.default_rng(1).normal(size=(3, 2, 3, 4, 5))
    expected = np.concatenate([s / (1 + np.exp(-a)) + s, s / (1 + np.exp(-v)) + s], axis=-1)
    np.testing.assert_allclose(jax.jit(fusion.fuse_both)(s, a, v), expected, rtol=1e-5, atol=1e-6)


def test_a_map_of_logits_at_the_frames_size():
    variables, apply, inputs = net()
    logits, out = apply(variables, **inputs)
    assert logits.shape == (BATCH, 40, 56) and logits.dtype == np.float32 and np.isfinite(logits).all()
    assert out['features'].shape == (BATCH, 5, 7, 32) and np.min(out['features']) >= 0
    with pytest.raises(ValueError, match='STA looks at 3 frames, got 2'):
        apply(variables, **{**inputs, 'frames': inputs['frames'][:, :2]})


@pytest.mark.parametrize('changed', [0, 1, 2])
def test_all_three_frames_matter(changed):
    variables, apply, inputs = net()
    frames = inputs['frames'].copy()
    frames[:, changed] *= -1
    assert np.abs(apply(variables, **{**inputs, 'frames': frames})[0] - apply(variables, **inputs)[0]).max() > 1e-5


def test_a_closed_switch_shuts_the_audio_out():
    variables, apply, inputs = net()
    closed = {**inputs, 'phi': np.zeros(BATCH, np.float32)}
    silent = {**closed, 'audio': np.full_like(inputs['audio'], np.nan)}
    np.testing.assert_array_equal(apply(variables, **closed)[0], apply(variables, **silent)[0])
    louder = {**inputs, 'audio': -inputs['audio']}
    assert np.abs(apply(variables, **inputs)[0] - apply(variables, **louder)[0]).max() > 1e-6


def test_the_papers_student_at_its_real_size_by_shape():
    config = sta.get_config('paper')
    model, batch = make_student(config), example_batch(config, 'STA', 28, config.batch)
    logits = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), **net_inputs(batch, config.encoder.name))[0][0])
    assert logits.shape == (3, 356, 356)


def test_plus_is_the_branch_then_cgcn_then_a_read_out_of_each_node():
    rng, b, n = np.random.default_rng(2), GRAPHS, NODES
    model = students.STAPlus('tiny', 'tiny_audio', width=8, blender={'name': 'cgcn', 'steps': 2})
    inputs = {'frames': np.float32(rng.normal(size=(b, n, 3, 40, 56, 3))), 'audio': np.float32(rng.normal(size=(b, n, 257, 98))),
              'phi': np.ones((b, n), np.float32)}
    variables = drawn(model.init, **inputs)
    logits, out = jax.jit(model.apply)(variables, **inputs)
    assert logits.shape == (b, n, 40, 56) and logits.dtype == np.float32 and out['features'].shape == (b, n, 5, 7, 28)

    params = jax.tree.map(np.asarray, variables['params'])

    def conv1x1(x, name):
        return x @ params[name]['kernel'][0, 0] + params[name]['bias']
    theirs, apply, _ = net()  # STA with the same branch; its decoder does not matter here
    plain = {**variables, 'params': {part: params.get(part, of) for part, of in theirs['params'].items()}}
    flat = {k: v.reshape(b * n, *v.shape[2:]) for k, v in inputs.items()}
    sta = np.asarray(apply(plain, **flat)[1]['features'])
    nodes = jax.jit(cgcn.CGCN(2).apply)({'params': params['cgcn']}, conv1x1(sta, 'reduce').reshape(b, n, 5, 7, 28))
    np.testing.assert_allclose(out['features'], nodes, rtol=1e-4, atol=1e-5)
    encoder = backbones.create('tiny')
    encoded = {k: v['encoder'] for k, v in variables.items()}
    s = np.asarray(jax.jit(encoder.apply)(encoded, flat['frames'][:, 1])['C5'])
    read = np.maximum(conv1x1(np.concatenate([np.asarray(nodes).reshape(b * n, 5, 7, 28), s], axis=-1), 'read'), 0)
    up = jax.image.resize(read, (b * n, 40, 56, 32), 'bilinear')  # in the order of Eq. 19
    np.testing.assert_allclose(logits.reshape(b * n, 40, 56), conv1x1(np.asarray(up), 'logits')[..., 0], rtol=1e-3, atol=1e-4)
