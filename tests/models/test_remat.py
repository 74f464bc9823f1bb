"""Rematerialisation: the same variables, loss and gradients, and a plan of less memory."""
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import paper_steps
from configs import scam_coarse
from stanet_jax import InputError
from stanet_jax.models import backbones
from stanet_jax.stages import nets
from stanet_jax.training import checks
from tests.variables import drawn

SMALL = {'resnext101_32x8d': {'layers': (1, 2, 1, 1), 'groups': 2, 'width_per_group': 4, 'batch_norm': 'batch'}, 'vgg16': {}}


@pytest.mark.parametrize('name', SMALL)
def test_remat_changes_memory_alone(name):
    x = np.float32(np.random.default_rng(0).normal(size=(2, 48, 48, 3)))
    plain, remat = (backbones.create(name, remat=remat, **SMALL[name]) for remat in (False, True))
    variables, same = drawn(plain.init, x), jax.eval_shape(remat.init, jax.random.key(0), x)
    chex.assert_trees_all_equal_shapes_and_dtypes(variables, same)
    if name != 'vgg16':  # what is drawn, too
        chex.assert_trees_all_equal(*(jax.jit(net.init)(jax.random.key(0), x) for net in (plain, remat)))

    def compiled(net):
        def loss(params):
            found, stats = net.apply({**variables, 'params': params}, x, train=True, mutable=['batch_stats'])
            return sum(jnp.mean(found[level]**2) for level in ('C3', 'C4', 'C5')), stats
        step = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(variables['params'])
        return step.compile(compiler_options=paper_steps.KEEP_BARRIERS)

    without, with_it = compiled(plain), compiled(remat)
    chex.assert_trees_all_close(with_it(variables['params']), without(variables['params']), rtol=1e-4, atol=1e-5)
    assert with_it.memory_analysis().temp_size_in_bytes < 0.9 * without.memory_analysis().temp_size_in_bytes
    assert with_it.cost_analysis()['flops'] > 1.2 * without.cost_analysis()['flops']


def test_a_config_asks_for_it():
    config = scam_coarse.get_config('paper')
    config.remat, config.encoder.weights, config.audio_encoder.weights = True, '', ''
    checks.check_training(config, ('S', 'SA', 'ST'))
    assert nets.make_classifier(config, 'ST', 28).remat and not nets.make_classifier(scam_coarse.get_config('paper'), 'ST', 28).remat
    config.encoder.name = 'tiny'
    with pytest.raises(InputError, match=r"config.remat=True: config.encoder.name='tiny' has no such; only vgg16"):
        checks.check_training(config, ('S', 'SA', 'ST'))
