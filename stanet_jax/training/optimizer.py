"""Gradient descent with a learning rate of its own for each parameter."""
import jax
import optax

# --------------------------------------------------------------------------------------------------------------- optimizer


def learning_rate_multipliers(params, new=10.0, bias=2.0, frozen=()):
    """The learning-rate multiplier of each parameter: encoder weights 1, their biases 2, new weights 10, new biases 20.

    New is what no pretrained weights exist for: all parts of the net (the top level of `params`) but the encoders. `frozen` are names
    of layers whose multiplier is 0.
    """
    def multiplier(path, _):
        if any(part.key in frozen for part in path):
            return 0.0
        return (1.0 if path[0].key.endswith('encoder') else new) * (bias if path[-1].key == 'bias' else 1.0)
    return jax.tree.map_with_path(multiplier, params)


def learning_rate_schedule(name, learning_rate, warmup, steps):
    """Learning rate by step: 'constant'; 'polynomial', `(1 - step / steps)^0.9`; 'cosine', a linear warm-up and a cosine to zero."""
    if name == 'constant':
        return optax.constant_schedule(learning_rate)
    if name == 'polynomial':
        return optax.polynomial_schedule(learning_rate, 0.0, 0.9, max(steps, 1))
    warmup = min(warmup, steps // 4)
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, max(steps, warmup + 1))


def make_optimizer(name, learning_rate, scale, momentum=0.9, weight_decay=5e-4, decayed=None):
    """Gradient descent with a learning rate for each parameter.

    Args:
        name: 'sgd', with Nesterov momentum and weight decay in the gradient as torch has them (the papers'), or 'adam', which gets
            small gates to open within the few hundred steps of the embedded default; it takes no weight decay.
        learning_rate: number or schedule.
        scale: tree of multipliers, see `learning_rate_multipliers`.
        decayed: tree that is True where weights decay; None for everywhere.
    """
    descent = {'sgd': (optax.add_decayed_weights(weight_decay, decayed), optax.trace(momentum, nesterov=True)),
               'adam': (optax.scale_by_adam(),)}[name]
    return optax.chain(*descent, optax.scale_by_learning_rate(learning_rate),
                       optax.stateless(lambda updates, params=None: jax.tree.map(lambda u, m: u * m, updates, scale)))


def optimizer_for(config, name, params, steps):
    """The optimizer of the net `name`, as the config has it."""
    rate = learning_rate_schedule(config.schedule, config.learning_rate[name], config.warmup, steps)
    scale = learning_rate_multipliers(params, config.new_multiplier[name], config.bias_multiplier, config.get('frozen', ()))
    only = jax.tree.map_with_path(lambda path, _: path[-1].key == 'kernel', params) if config.get('decay_kernels_only') else None
    return make_optimizer(config.optimizer[name], rate, scale, config.momentum, config.weight_decay, only)
