"""One update step and one loop for all trainings; what differs is the loss function and the config."""
import contextlib
import functools
import json
import math
import os
import pathlib
import signal
import sys
from typing import Any

import chex
import flax
import jax
import jax.numpy as jnp
import ml_collections
import optax
import tensorboardX
import tqdm

from stanet_jax import InputError
from stanet_jax.data import fragments
from stanet_jax.models import backbones
from stanet_jax.training import checkpoint, sharding


@flax.struct.dataclass
class State:
    """What an update changes: `variables` are `params` and `batch_stats`, `step` counts the updates made."""
    step: jax.Array
    variables: Any
    optimizer: Any


# ------------------------------------------------------------------------------------------------------------------ config


def need(field, value, allowed, why):
    """Refuses a config's value that cannot be meant, with the field's name."""
    if not allowed:
        raise InputError(f'config.{field}={value!r}: {why}')


def check(config, known):
    """Refuses a config whose fields that all trainings read cannot be meant; `known` are the nets that it may name."""
    need('nets', config.nets, config.nets and set(config.nets) <= set(known), f'must name nets out of {", ".join(known)}')
    for part, sort in (('encoder', backbones.IMAGE), ('audio_encoder', backbones.SOUND)):
        if part in config:
            need(f'{part}.name', config[part].name, config[part].name in sort, f'must be one of {", ".join(sort)}')
            need(f'{part}.weights', config[part].weights, not config[part].weights or pathlib.Path(config[part].weights).is_dir(),
                 "no such folder; python -m stanet_jax.convert makes it of torch's file, and '' begins from random weights")
    for field, choices in (('batch_norm', ('batch', 'running')), ('schedule', ('constant', 'cosine', 'polynomial')),
                           ('dtype', ('auto', 'float32', 'bfloat16'))):
        need(field, config[field], config[field] in choices, f'must be one of {", ".join(choices)}')
    for field in ('batch', 'evaluate_every', 'save_every', 'log_every'):
        need(field, config[field], config[field] > 0, 'must be above 0')
    need('data.side', config.data.side, config.data.side > 0, 'must be above 0')
    need('data.workers', config.data.workers, config.data.workers >= 0, 'must be 0 or more')
    for net in config.nets:
        for field in ('epochs', 'learning_rate', 'new_multiplier'):
            given, taken = config[field].get(net), field == 'epochs' and isinstance(config.start_from.get(net), str)
            need(f'{field}.{net}', given, (given or 0) > 0 or taken and given == 0, 'must be a number above 0')
        need(f'optimizer.{net}', config.optimizer.get(net), config.optimizer.get(net) in ('sgd', 'adam'), 'must be sgd or adam')
    need('jitter', config.jitter, len(config.jitter) == 4 and min(config.jitter) >= 0, 'must be four numbers of at least 0')


# --------------------------------------------------------------------------------------------------------------- optimizer


def multipliers(params, new=10.0, bias=2.0, frozen=()):
    """The learning-rate multiplier of each parameter: encoder weights 1, their biases 2, new weights 10, new biases 20.

    New is what no pretrained weights exist for: all parts of the net (the top level of `params`) but the encoders. `frozen` are names
    of layers whose multiplier is 0.
    """
    def multiplier(path, _):
        if any(part.key in frozen for part in path):
            return 0.0
        return (1.0 if path[0].key.endswith('encoder') else new) * (bias if path[-1].key == 'bias' else 1.0)
    return jax.tree.map_with_path(multiplier, params)


def schedule(name, learning_rate, warmup, steps):
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
        scale: tree of multipliers, see `multipliers`.
        decayed: tree that is True where weights decay; None for everywhere.
    """
    descent = {'sgd': (optax.add_decayed_weights(weight_decay, decayed), optax.trace(momentum, nesterov=True)),
               'adam': (optax.scale_by_adam(),)}[name]
    return optax.chain(*descent, optax.scale_by_learning_rate(learning_rate),
                       optax.stateless(lambda updates, params=None: jax.tree.map(lambda u, m: u * m, updates, scale)))


def optimizer_of(config, name, params, steps):
    """The optimizer of the net `name`, as the config has it."""
    rate = schedule(config.schedule, config.learning_rate[name], config.warmup, steps)
    scale = multipliers(params, config.new_multiplier[name], config.bias_multiplier, config.get('frozen', ()))
    only = jax.tree.map_with_path(lambda path, _: path[-1].key == 'kernel', params) if config.get('decay_kernels_only') else None
    return make_optimizer(config.optimizer[name], rate, scale, config.momentum, config.weight_decay, only)


# ------------------------------------------------------------------------------------------------------------- update step


def update(state, batch, key, *, loss_fn, optimizer, axis=None):
    """One step.

    Args:
        state: `State`; under jit it is donated.
        batch: tree of arrays, axis 0 the examples; `mask` [b] tells which of them count.
        key: of the run; the step is folded in.
        loss_fn: `(variables, batch, key) -> (losses [b], new batch_stats)`, a pure function.
        optimizer: optax transformation.
        axis: name of the mapped axis under `jax.pmap`, over whose devices sums are taken; None under jit.
    Returns:
        The new state, and `loss` and `gradient_norm`.
    """
    key = jax.random.fold_in(key, state.step)
    params = state.variables['params']
    total = functools.partial(jax.lax.psum, axis_name=axis) if axis else lambda x: x
    count = jnp.maximum(total(batch['mask'].sum()), 1)

    def mean_loss(params):
        losses, batch_stats = loss_fn({**state.variables, 'params': params}, batch, key)
        return jnp.where(batch['mask'], losses, 0).sum() / count, batch_stats

    (loss, batch_stats), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
    loss, gradients = total((loss, gradients))
    updates, optimizer_state = optimizer.update(gradients, state.optimizer, params)
    variables = {'params': optax.apply_updates(params, updates), 'batch_stats': batch_stats}
    metrics = {'loss': loss, 'gradient_norm': optax.tree.norm(gradients)}
    return State(state.step + 1, variables, optimizer_state), metrics


# -------------------------------------------------------------------------------------------------------------------- loop


def train(folder, name, config, mesh, *, examples, initial, loss_fn, evaluate):
    """Trains one net as the config's fields of its name have it, unless that is done, and leaves its `variables` in `folder`.

    Args:
        folder: of this net, made in the folder of the run.
        name: the net's, a key of `epochs`, `optimizer`, `learning_rate` and `new_multiplier` in the config.
        examples: a `fragments.Examples`.
        initial: `() -> variables` to begin from.
        loss_fn: see `update`; evaluate: see `fit`.
    """
    if (folder / 'variables').exists():
        print(f'{name}: done already, in {folder}')
        return
    folder.mkdir(parents=True, exist_ok=True)
    variables, steps = initial(), number_of_steps(config.epochs[name], len(examples), config.batch)

    def data(start):
        return fragments.batches(examples, batch=config.batch, slots=sharding.slots(config.batch), seed=config.seed, start=start,
                                 steps=steps, workers=config.data.workers)

    variables = fit(folder, name=name, steps=steps, variables=variables, loss_fn=loss_fn, data=data, evaluate=evaluate,
                    optimizer=optimizer_of(config, name, variables['params'], steps), config=config, mesh=mesh)
    checkpoint.save_variables(folder / 'variables', variables)


def fit(folder, *, name, steps, variables, loss_fn, optimizer, data, evaluate, config, mesh):
    """Trains from `variables`, or from the last checkpoint in `folder`, to `steps`.

    The order is evaluate, save, next batch, step, log, so that a checkpoint's data place is that of its weights.

    Args:
        folder: of this training: checkpoints, `log.jsonl` and TensorBoard events go there.
        name: shown on the progress line.
        loss_fn, optimizer: see `update`.
        data: `start -> iterator` over this process's slices of the batches from step `start` on.
        evaluate: `variables -> dict of numbers`, every `config.evaluate_every` steps.
        config: with `seed`, `evaluate_every`, `save_every`, `log_every`.
        mesh: see `sharding`.
    Returns:
        The variables after `steps`.
    Raises:
        SystemExit: the process was asked to stop (SIGTERM, Ctrl-C), after saving.
    """
    checkpoints = checkpoint.Checkpoints(folder / 'checkpoints')
    state = State(jnp.int32(0), variables, optimizer.init(variables['params']))
    state = jax.device_put(state, sharding.replicated(mesh))
    start = 0
    if restored := checkpoints.restore(state):
        state, start = restored[0], restored[1]['next_step']
    chex.clear_trace_counter()

    @functools.partial(jax.jit, donate_argnums=0)
    @chex.assert_max_traces(n=1)
    def step_fn(state, batch, key):
        return update(state, batch, key, loss_fn=loss_fn, optimizer=optimizer)

    key = jax.random.key(config.seed)
    log = Log(folder, start)
    batches = data(start) if start < steps else None
    with Interruption() as interruption, tqdm.tqdm(
            total=steps, initial=start, desc=name, unit='step', mininterval=1, disable=jax.process_index() > 0) as progress:
        for step in range(start, steps + 1):
            last = step == steps
            if last or step > start and step % config.evaluate_every == 0:
                log.write(step, {f'held_out/{k}': v for k, v in evaluate(state.variables).items()}, progress)
            stop = interruption.asked or checkpoints.interrupted(step)
            if step > start and (last or stop or step % config.save_every == 0):
                log.flush(progress)
                checkpoints.save(step, state, {'next_step': step, 'seed': config.seed})
            if last or stop:
                break
            state, metrics = step_fn(state, sharding.put(next(batches), mesh), key)
            progress.update()
            if (step + 1) % config.log_every == 0:
                log.later(step + 1, metrics, progress)
    log.close()
    checkpoints.close()
    if not last:
        print(f'{name}: stopped and saved at step {step} of {steps}; the same command goes on from there', flush=True)
        sys.exit(0)
    return state.variables


class Interruption(contextlib.AbstractContextManager):
    """Notes SIGTERM and Ctrl-C instead of dying of them, so that the loop can save first; a second one kills."""

    def __init__(self):
        self.asked = False

    def __enter__(self):
        # In a run of several processes SIGTERM is left to JAX, which makes all of them stop at the same step.
        signals = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
        self._before = {s: signal.signal(s, self._note) for s in signals}
        return self

    def _note(self, number, frame):
        self.asked = True
        signal.signal(number, self._before[number])

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Log:
    """`log.jsonl` and TensorBoard, by process 0. Lines of steps that a restart does again are dropped."""

    def __init__(self, folder, start):
        self._file, self._waiting = None, None
        if jax.process_index() == 0:
            path = pathlib.Path(folder) / 'log.jsonl'
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in lines if line.endswith('}') and json.loads(line)['step'] <= start]
            replace_text(path, ''.join(line + '\n' for line in kept))
            self._file = open(path, 'a')
            self._board = tensorboardX.SummaryWriter(str(folder), purge_step=start + 1)

    def later(self, step, metrics, progress):
        """Writes the metrics that were given the time before: those of this step may not have been computed yet."""
        self.flush(progress)
        self._waiting = step, metrics

    def flush(self, progress):
        if self._waiting:
            self.write(*self._waiting, progress)
            self._waiting = None

    def write(self, step, values, progress):
        if self._file:
            self._file.write(json.dumps({'step': step, **{k: round(float(v), 6) for k, v in values.items()}}) + '\n')
            self._file.flush()
            for k, v in values.items():
                self._board.add_scalar(k, v, step)
            progress.set_postfix({k.split('/')[-1]: f'{v:.3f}' for k, v in values.items() if k in SHOWN}, refresh=False)

    def close(self):
        if self._file:
            self._file.close()
            self._board.close()


SHOWN = ('loss', 'held_out/accuracy', 'held_out/cc')


def replace_text(path, text):
    """Writes a file whole or not at all."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    temporary.write_text(text)
    temporary.replace(path)


def number_of_steps(epochs, examples, batch):
    """Steps of `epochs` passes (a fraction will do) over `examples` in batches of `batch`; at least 1, but for 0 passes."""
    return max(1, math.ceil(epochs * examples / batch)) if epochs else 0


def open_workdir(config, workdir):
    """The folder of a run, made if it is not there; it keeps the config, and takes no other one afterwards.

    Raises:
        InputError: it cannot be written, or belongs to a run of another config.
    """
    workdir = pathlib.Path(workdir)
    text = json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'
    path = workdir / 'config.json'
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            was, now = _flat(json.loads(path.read_text())), _flat(json.loads(text))
            changed = [f'{k} was {was.get(k)!r} and is {now.get(k)!r}' for k in sorted(was.keys() | now.keys())
                       if was.get(k) != now.get(k)]
            if changed:
                raise InputError(f'{workdir}: belongs to a run of another config ({"; ".join(changed[:3])}); give another --workdir')
        elif jax.process_index() == 0:
            replace_text(path, text)
    except json.JSONDecodeError as error:
        raise InputError(f'{path}: not a run\'s config ({error}); give another --workdir') from error
    except OSError as error:
        raise InputError(f'{workdir}: cannot be written ({error.strerror}); give another --workdir') from error
    return workdir


def _flat(tree, prefix=''):
    items = [_flat(v, f'{prefix}{k}.') if isinstance(v, dict) else {prefix + k: v} for k, v in tree.items()]
    return {k: v for item in items for k, v in item.items()}


def read_config(workdir):
    """The config of the run in a folder."""
    path = pathlib.Path(workdir) / 'config.json'
    try:
        return ml_collections.ConfigDict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: not a run ({error.__class__.__name__}); give the --workdir of one that train.py made') from error
