"""Gradient descent with a separate learning rate for each parameter."""
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict


def learning_rate_multipliers(params: Mapping[str, Any], new: float = 10.0, bias: float = 2.0,
                              frozen: Sequence[str] = ()) -> dict[str, Any]:
    """The learning-rate multiplier of each parameter: by default encoder weights 1, their biases 2, new weights 10, new biases 20.

    Args:
        params: of a net. Its top level are the parts of the net, of which all but the encoders are new: they have no pretrained weights.
        new: multiplier of the new parts.
        bias: further multiplier of biases.
        frozen: names of layers whose multiplier is 0.
    Returns:
        A tree like `params`.
    """
    def multiplier(path, _):
        if any(part.key in frozen for part in path):
            return 0.0
        return (1.0 if path[0].key.endswith('encoder') else new) * (bias if path[-1].key == 'bias' else 1.0)
    return jax.tree.map_with_path(multiplier, params)


def learning_rate_schedule(name: str, learning_rate: float, warmup: int, steps: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
        name: 'constant'; 'polynomial', `(1 - step / steps)^0.9`; or 'cosine', a linear warm-up, then a cosine to zero.
        learning_rate: the largest one.
        warmup: steps of the warm-up, at most a quarter of all.
        steps: of the training.
    """
    if name == 'constant':
        return optax.constant_schedule(learning_rate)
    if name == 'polynomial':
        return optax.polynomial_schedule(learning_rate, 0.0, 0.9, max(steps, 1))
    warmup = min(warmup, steps // 4)
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, max(steps, warmup + 1))


def with_decay(rate: optax.Schedule, boundaries: Sequence[int], factor: float = 0.1) -> optax.Schedule:
    """A learning rate that is multiplied by `factor` at each of some steps."""
    decay = optax.piecewise_constant_schedule(1.0, dict.fromkeys(boundaries, factor))
    return lambda step: rate(step) * decay(step)


def make_optimizer(name: str, learning_rate: float | optax.Schedule, scale: Mapping[str, Any], momentum: float = 0.9,
                   weight_decay: float = 5e-4, decayed: Mapping[str, Any] | None = None) -> optax.GradientTransformation:
    """Gradient descent with a learning rate for each parameter.

    Args:
        name: 'sgd', with Nesterov momentum and weight decay in the gradient as in torch (the papers'), or 'adam', with which small
            gates open within the few hundred steps of the embedded default; it has neither momentum nor weight decay to set.
        learning_rate: number or schedule.
        scale: tree of multipliers, see `learning_rate_multipliers`.
        momentum: of 'sgd'.
        weight_decay: of 'sgd'.
        decayed: tree that is True at parameters that decay; None for all.
    """
    descent = {'sgd': (optax.add_decayed_weights(weight_decay, decayed), optax.trace(momentum, nesterov=True)),
               'adam': (optax.scale_by_adam(),)}[name]
    return optax.chain(*descent, optax.scale_by_learning_rate(learning_rate),
                       optax.stateless(lambda updates, params=None: jax.tree.map(lambda u, m: u * m, updates, scale)))


def optimizer_for(config: ConfigDict, name: str, params: Mapping[str, Any], steps: int) -> optax.GradientTransformation:
    """The optimizer of the net `name` with parameters `params`, by the fields of the config, for a training of `steps` steps."""
    rate = learning_rate_schedule(config.schedule, config.learning_rate[name], config.warmup, steps)
    passes = config.get('decay_epochs', {}).get(name, ())
    rate = with_decay(rate, [round(steps * at / config.epochs[name]) for at in passes]) if passes else rate
    scale = learning_rate_multipliers(params, config.new_multiplier[name], config.bias_multiplier, config.get('frozen', ()))
    decayed = jax.tree.map_with_path(lambda path, _: path[-1].key == 'kernel', params) if config.get('decay_kernels_only') else None
    return make_optimizer(config.optimizer[name], rate, scale, config.momentum, config.weight_decay, decayed)
