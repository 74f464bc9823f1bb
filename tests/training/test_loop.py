"""The update step, its optimizer and the loop's parts."""
import functools
import json
import os
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import scam_plus
from stanet_jax import InputError
from stanet_jax.models import branch
from stanet_jax.stages.nets import example_batch, initial_variables, make_classifier, net_inputs, predict_tags, tag_loss
from stanet_jax.training import checkpoint, loop, optimizer, sharding
from stanet_jax.training.log import Log
from stanet_jax.training.optimizer import learning_rate_multipliers, make_optimizer, optimizer_for
from stanet_jax.workdir import open_workdir, read_config
from tests.variables import drawn

STEPS, RATE = 4, 0.1


def test_multipliers_are_the_papers_four():
    params = {'encoder': {'conv1': {'kernel': 0, 'bias': 0}}, 'audio_encoder': {'dense': {'kernel': 0}},
              'classifier': {'kernel': 0, 'bias': 0}}
    assert optimizer.learning_rate_multipliers(params) == {
        'encoder': {'conv1': {'kernel': 1, 'bias': 2}}, 'audio_encoder': {'dense': {'kernel': 1}},
        'classifier': {'kernel': 10, 'bias': 20}}


def test_sgd_is_torchs_with_nesterov_momentum():
    rng = np.random.default_rng(0)
    gradients, p = rng.normal(size=(STEPS, 3)), rng.normal(size=3)
    optimizer = make_optimizer('sgd', RATE, {'w': 10.0}, 0.9, 5e-4)
    params = {'w': jnp.float32(p)}
    state, buffer = optimizer.init(params), 0
    for gradient in gradients:
        updates, state = optimizer.update({'w': jnp.float32(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
        g = gradient + 5e-4 * p  # torch.optim.SGD(momentum=0.9, weight_decay=5e-4, nesterov=True), in its documented order
        buffer = 0.9 * buffer + g
        p = p - 10 * RATE * (g + 0.9 * buffer)
    np.testing.assert_allclose(params['w'], p, rtol=1e-5)


def test_schedules():
    assert optimizer.learning_rate_schedule('constant', 0.1, 50, 100)(77) == 0.1
    cosine = optimizer.learning_rate_schedule('cosine', 0.1, 20, 100)
    np.testing.assert_allclose([cosine(0), cosine(10), cosine(20), cosine(60), cosine(100)], [0, .05, .1, .05, 0], atol=1e-7)
    assert np.isfinite(optimizer.learning_rate_schedule('cosine', 0.1, 50, 1)(0))


def quadratic(variables, batch, key):
    """Losses [b] of a linear model, with noise from the key."""
    noise = jax.random.normal(key, ())
    return (batch['x'] @ variables['params']['classifier']['kernel'] - batch['y']) ** 2 + 0 * noise, {}


def linear_batch(seed, b=8):
    rng = np.random.default_rng(seed)
    return {'x': np.float32(rng.normal(size=(b, 3))), 'y': np.float32(rng.normal(size=b)), 'mask': np.ones(b, bool)}


def linear_state(optimizer):
    variables = {'params': {'classifier': {'kernel': jnp.ones(3)}}, 'batch_stats': {}}
    return loop.State(jnp.int32(0), variables, optimizer.init(variables['params']))


def test_masked_examples_change_nothing():
    optimizer = optax.sgd(0.1)
    step = jax.jit(functools.partial(loop.update, loss_fn=quadratic, optimizer=optimizer))
    batch = linear_batch(0, 5)
    padded = {k: np.concatenate([v, np.full_like(v[:3], 9)]) for k, v in batch.items()}
    padded['mask'] = np.arange(8) < 5
    (a, metrics_a), (b, metrics_b) = (step(linear_state(optimizer), x, jax.random.key(0)) for x in (batch, padded))
    chex.assert_trees_all_close(a, b, rtol=1e-6)
    np.testing.assert_allclose(metrics_a['loss'], metrics_b['loss'], rtol=1e-6)
    expected = ((batch['x'].sum(1) - batch['y']) ** 2).mean()
    np.testing.assert_allclose(metrics_a['loss'], expected, rtol=1e-5)


def test_a_resumed_training_equals_an_unbroken_one(tmp_path):
    config = ConfigDict({'seed': 0, 'evaluate_every': 2, 'save_every': 2, 'log_every': 1})

    def fit(name, steps=6, stop=None):
        def batches(start):
            for step in range(start, steps):
                if step == stop:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield linear_batch(step)
        (tmp_path / name).mkdir(exist_ok=True)
        return loop.fit(tmp_path / name, name=name, steps=steps, variables=linear_state(optax.identity()).variables, loss_fn=quadratic,
                        optimizer=optax.adam(0.01), data=batches, evaluate=lambda variables: {'accuracy': 1.0}, config=config,
                        mesh=sharding.make_mesh())
    unbroken = fit('unbroken')
    with pytest.raises(SystemExit):
        fit('resumed', stop=3)
    for steps in (3, 8):  # of a set that has lost clips, or gained some
        with pytest.raises(InputError, match=f'resumed: was begun for 6 steps, and is to have {steps}: the clips have changed'):
            fit('resumed', steps)
    for _ in range(2):  # the second time as after a kill between the last checkpoint and the end
        chex.assert_trees_all_equal(fit('resumed'), unbroken)
    logs = [(tmp_path / name / 'log.jsonl').read_text() for name in ('unbroken', 'resumed')]
    assert logs[0].splitlines() == logs[1].splitlines() and logs[0].count('loss') == 6


@pytest.fixture(scope='module')
def small_config():
    from configs import scam_coarse
    config = scam_coarse.get_config()
    config.data.side, config.batch, config.width, config.jitter = 32, 4, 8, (0.0, 0.0, 0.0, 0.0)
    config.batch_norm, config.start_from = 'running', {}
    return config


def random_batch(config, source, classes, b, seed=0):
    rng = np.random.default_rng(seed)
    batch = example_batch(config, source, classes, b)
    batch['frames'] = rng.integers(0, 256, batch['frames'].shape, np.uint8)
    batch['tags'] = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, b)]
    if 'audio' in batch:
        batch['audio'] = np.float32(rng.normal(size=batch['audio'].shape))
    return batch


@pytest.mark.parametrize('source', ['S', 'SA', 'ST'])
def test_update_learns_with_one_trace(small_config, source):
    model = make_classifier(small_config, source, 3)
    variables = initial_variables(small_config, source, model, random_batch(small_config, source, 3, 1), '')
    optimizer = make_optimizer('adam', 2e-3, learning_rate_multipliers(variables['params'], new=1.0))
    loss_fn = functools.partial(tag_loss, model=model, jitter=(0.1, 0.1, 0.1, 0.1))
    chex.clear_trace_counter()

    @functools.partial(jax.jit, donate_argnums=0)
    @chex.assert_max_traces(n=1)
    def step(state, batch, key):
        return loop.update(state, batch, key, loss_fn=loss_fn, optimizer=optimizer)
    state = loop.State(jnp.int32(0), variables, optimizer.init(variables['params']))
    batch, losses = random_batch(small_config, source, 3, 4), []
    for _ in range(20):
        state, metrics = step(state, batch, jax.random.key(0))
        losses.append(float(metrics['loss']))
    assert losses[-1] < 0.8 * losses[0] and int(state.step) == 20


@pytest.mark.parametrize('source', ['S', 'SA', 'ST'])
def test_plus_begins_as_the_net_that_it_extends(small_config, source, tmp_path):
    config, net = small_config.copy_and_resolve_references(), f'{source}_long'
    config.fragments, config.blender = 2, {'name': 'cgcn', 'steps': 0}
    parts = ('encoder', 'classifier', 'audio_encoder', 'audio_map', 'time_map')
    config.start_from = {net: {part: str(tmp_path / source) for part in parts}}
    plain, plus = (make_classifier(config, name, 3) for name in (source, net))
    trained = drawn(plain.init, **net_inputs(random_batch(config, source, 3, 1), config.encoder.name))
    checkpoint.save_variables(tmp_path / source / 'variables', trained)
    batch = random_batch(config, net, 3, 2)
    target = {k: v[:, 0] if k in ('frames', 'audio', 'phi') else v for k, v in batch.items()}
    expected, _ = jax.jit(functools.partial(predict_tags, model=plain))(trained, target)
    begun = initial_variables(config, net, plus, batch, '')
    logits, _ = jax.jit(functools.partial(predict_tags, model=plus))(begun, batch)
    np.testing.assert_allclose(logits, 2 * np.asarray(expected) + 3, rtol=1e-4, atol=1e-5)  # nodes x / 2 + 2, read out as 4 h - 5
    if source == 'S':  # of the same reasoning as the others
        config.blender.steps = 1
        plus = make_classifier(config, net, 3)
        alike = initial_variables(config, net, plus, batch, '')['params']['cgcn']
        for part in ('query', 'key'):
            np.testing.assert_allclose(alike[part]['kernel'][0, 0] @ alike[part]['kernel'][0, 0], 0.3 * np.eye(3), rtol=1e-6)


def test_losses_of_other_nodes_are_added(small_config):
    """`loss(target) + w sum_others loss + v sum_nodes loss before the reasoning`, in NumPy of the logits that the net gives."""
    config = scam_plus.get_config()
    config.update({'width': 8, 'batch_norm': 'running'})
    config.data.side, config.start_from = small_config.data.side, {}
    model = make_classifier(config, 'S_short', 3)
    batch = {**example_batch(config, 'S_short', 3, 2), 'tags': np.float32([[1, 0, 0], [0, 1, 1]])}
    batch['frames'] = np.random.default_rng(0).integers(0, 256, batch['frames'].shape, np.uint8)
    variables = drawn(model.init, **net_inputs(batch, 'tiny'))
    logits, out = jax.jit(functools.partial(model.apply, every_node=True))(variables, **net_inputs(batch, 'tiny'))

    def margin(x):
        p = 1 / (1 + np.exp(-np.asarray(x, np.float64)))
        return -(batch['tags'] * np.log(p) + (1 - batch['tags']) * np.log(1 - p)).mean(axis=1)
    others, before = (sum(margin(out[name][:, k]) for k in which) for name, which in (('nodes', (1, 2)), ('before', (0, 1, 2))))
    expected = margin(logits) + 0.7 * others + 0.4 * before
    loss_fn = jax.jit(functools.partial(tag_loss, model=model, jitter=(0.0,) * 4, node_loss=0.7, before_loss=0.4))
    found, _ = loss_fn(variables, batch, jax.random.key(0))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_learning_rate_falls_at_some_passes():
    config = ConfigDict({'schedule': 'constant', 'learning_rate': {'S': 2.0}, 'warmup': 0, 'epochs': {'S': 15.0},
                         'new_multiplier': {'S': 1.0}, 'decay_epochs': {'S': (5.0, 10.0)}, 'bias_multiplier': 1.0, 'momentum': 0.0,
                         'optimizer': {'S': 'sgd'}, 'weight_decay': 0.0})
    params = {'encoder': {'kernel': jnp.zeros(1)}}
    optimizer = optimizer_for(config, 'S', params, 30)
    state, rates = optimizer.init(params), []
    for _ in range(30):
        updates, state = optimizer.update({'encoder': {'kernel': jnp.ones(1)}}, state, params)
        rates.append(-float(updates['encoder']['kernel'][0]))
    np.testing.assert_allclose(rates, [2.0] * 10 + [0.2] * 10 + [0.02] * 10, rtol=1e-5)


def test_a_batch_in_which_nothing_counts_does_no_harm():
    """By the batch's own statistics, as in the release's recipe, they would be those of no example."""
    from configs import scam_coarse
    config = scam_coarse.get_config()
    config.batch_norm, config.width = 'batch', 8
    model, batch = make_classifier(config, 'S', 3), example_batch(config, 'S', 3, 2)
    batch = {**batch, 'frames': np.random.default_rng(0).integers(0, 255, batch['frames'].shape, np.uint8), 'mask': np.zeros(2, bool)}
    variables = drawn(model.init, **net_inputs(batch, config.encoder.name))
    optimizer = optimizer_for(config, 'S', variables['params'], 100)
    state = loop.State(jnp.int32(0), variables, optimizer.init(variables['params']))
    loss_fn = functools.partial(tag_loss, model=model, jitter=tuple(config.jitter))
    new, metrics = jax.jit(functools.partial(loop.update, loss_fn=loss_fn, optimizer=optimizer))(state, batch, jax.random.key(0))
    assert metrics['loss'] == 0 and all(np.isfinite(x).all() for x in jax.tree.leaves(new.variables))


@pytest.mark.parametrize('source', ['S', 'SA', 'ST'])
def test_the_papers_step_at_its_real_size_by_shape(source):
    from configs import scam_coarse
    config = scam_coarse.get_config('paper')
    model = make_classifier(config, source, 28)
    batch = example_batch(config, source, 28, config.batch)
    assert batch['frames'].shape == (20, branch.FRAMES[source], 256, 256, 3)
    made = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), **net_inputs(batch, config.encoder.name)))
    (_, out), variables = made
    optimizer = optimizer_for(config, source, variables['params'], 100)
    state = jax.eval_shape(lambda v: loop.State(jnp.int32(0), v, optimizer.init(v['params'])), {**variables})
    loss_fn = functools.partial(tag_loss, model=model, jitter=tuple(config.jitter))
    new, metrics = jax.eval_shape(functools.partial(loop.update, loss_fn=loss_fn, optimizer=optimizer), state, batch,
                                  jax.random.key(0))
    assert jax.tree.map(lambda x: x.shape, new.variables) == jax.tree.map(lambda x: x.shape, state.variables)
    assert metrics['loss'].shape == ()
    assert out['maps'].shape == (20, 8, 8, 28)


# ------------------------------------------------------------------------------------------------------- folders and files


def test_a_workdir_keeps_its_config(tmp_path):
    config = ConfigDict({'seed': 1, 'data': {'side': 96}})
    open_workdir(config, tmp_path / 'run')
    open_workdir(config, tmp_path / 'run')
    assert read_config(tmp_path / 'run').data.side == 96
    config.data.side = 64
    with pytest.raises(InputError, match=r'run: belongs to a run of another config \(data.side was 96 and is 64\)'):
        open_workdir(config, tmp_path / 'run')
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='file/run: cannot be written'):
        open_workdir(config, tmp_path / 'file' / 'run')
    with pytest.raises(InputError, match='not a run'):
        read_config(tmp_path)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    state = {'params': {'a': jnp.ones((2, 3)), 'b': jnp.zeros(4)}}
    checkpoints = checkpoint.Checkpoints(tmp_path)
    assert checkpoints.restore(state) is None
    checkpoints.save(7, state, {'next_step': 7})
    checkpoints.close()
    restored = checkpoint.Checkpoints(tmp_path).restore(jax.tree.map(jnp.zeros_like, state))
    chex.assert_trees_all_equal(restored.state, state)
    assert restored.data == {'next_step': 7}
    for other in ({'params': {'a': jnp.ones((2, 3))}}, {'params': {'a': jnp.ones((2, 3)), 'b': jnp.zeros(5)}}):
        with pytest.raises(InputError, match='7: a checkpoint of another model .*b'):
            checkpoint.Checkpoints(tmp_path).restore(other)


def test_variables_come_back_and_parts_are_replaced(tmp_path):
    trained = {'params': {'conv': {'kernel': np.ones((2, 2), np.float32)}, 'head': {'bias': np.zeros(1, np.float32)}},
               'batch_stats': {'bn': {'mean': np.ones(2, np.float32)}}}
    checkpoint.save_variables(tmp_path / 'weights', trained)
    loaded = checkpoint.load_variables(tmp_path / 'weights')
    chex.assert_trees_all_equal(loaded, trained)
    fresh = {'params': {'encoder': {'conv': {'kernel': np.zeros((2, 2))}}, 'classifier': {'bias': 5}},
             'batch_stats': {'encoder': {'bn': {'mean': np.zeros(2)}}}}
    result = checkpoint.replace_part(fresh, 'encoder', loaded, 'weights')
    assert result['params']['encoder']['conv']['kernel'].sum() == 4 and result['params']['classifier'] == {'bias': 5}
    assert result['batch_stats']['encoder']['bn']['mean'].sum() == 2
    fresh['params']['encoder']['conv']['kernel'] = np.zeros((3, 3))
    with pytest.raises(InputError, match='weights: its params do not fit the encoder'):
        checkpoint.replace_part(fresh, 'encoder', loaded, 'weights')
    with pytest.raises(InputError, match='nowhere: no such weights'):
        checkpoint.load_variables(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='empty: not the weights of a net'):
        checkpoint.load_variables(tmp_path / 'empty')


def test_the_log_drops_what_a_restart_does_again(tmp_path):
    (tmp_path / 'log.jsonl').write_text('{"step": 10, "loss": 1}\n{"step": 20, "loss": 2}\n{"step": 30, "lo')
    Log(tmp_path, 10).close()
    assert [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()] == [{'step': 10, 'loss': 1}]
