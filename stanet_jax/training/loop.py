"""One update step and one loop for all trainings; what differs is the loss function and the config."""
import contextlib
import functools
import math
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import chex
import flax
import jax
import jax.numpy as jnp
import optax
import tqdm
from jax.sharding import Mesh
from jaxtyping import Float, Key
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.compilation import optimise
from stanet_jax.data.batches import ExampleSource, iterate_batches
from stanet_jax.training import checkpoint, optimizer, sharding
from stanet_jax.training.log import Log

Batch = Mapping[str, AnyArray]  # the first axis is that of the examples; `mask` is False at those that do not count
LossFn = Callable[[Variables, Batch, jax.Array], tuple[jax.Array, Variables]]  # (variables, batch, key) -> (losses [b], new batch_stats)


@flax.struct.dataclass
class State:
    """What an update changes; JAX also builds states of the shapes or the shardings of these arrays.

    Attributes:
        step: number of updates made, an int32 array.
        variables: `params` and `batch_stats` of the net.
        optimizer: state of the optimizer.
    """
    step: Any
    variables: Variables
    optimizer: Any


class UpdateResult(NamedTuple):
    """What an update gives.

    Attributes:
        state: the new one.
        metrics: `loss`, the mean over the examples that count, and `gradient_norm`.
    """
    state: State
    metrics: dict[str, Float[jax.Array, '']]


# ------------------------------------------------------------------------------------------------------------- update step


def update(state: State, batch: Batch, key: Key[jax.Array, ''], *, loss_fn: LossFn, optimizer: optax.GradientTransformation,
           ) -> UpdateResult:
    """Makes one step of gradient descent, on the mean loss of the examples that count.

    Args:
        state: of the training; donated under jit.
        batch: arrays of the examples, with `mask`.
        key: of the run; the step is folded in.
        loss_fn: a pure function that gives the loss of each example and the new batch statistics.
        optimizer: see `optimizer.make_optimizer`.
    """
    key = jax.random.fold_in(key, state.step)
    params = state.variables['params']
    count = jnp.maximum(batch['mask'].sum(), 1)

    def mean_loss(params):
        losses, batch_stats = loss_fn({**state.variables, 'params': params}, batch, key)
        return jnp.where(batch['mask'], losses, 0).sum() / count, batch_stats

    (loss, batch_stats), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer, params)
    variables = {'params': optax.apply_updates(params, updates), 'batch_stats': batch_stats}
    metrics = {'loss': loss, 'gradient_norm': optax.tree.norm(gradients)}
    return UpdateResult(State(state.step + 1, variables, optimizer_state), metrics)


# -------------------------------------------------------------------------------------------------------------------- loop


def train(folder: pathlib.Path, name: str, config: ConfigDict, mesh: Mesh, *, examples: ExampleSource, initial: Callable[[], Variables],
          loss_fn: LossFn, evaluate: Callable[[Variables], Mapping[str, float]]) -> None:
    """Trains one net and writes its `variables` to `folder`; does nothing where they are there already.

    Args:
        folder: of this net, created in the folder of the run.
        name: the net's, a key of `epochs`, `optimizer`, `learning_rate` and `new_multiplier` in the config.
        config: of the run.
        mesh: see `sharding.make_mesh`.
        examples: to train on.
        initial: gives the initial variables.
        loss_fn: see `update`.
        evaluate: see `fit`.
    """
    if (folder / 'variables').exists():
        print(f'{name}: done already, in {folder}')
        return
    folder.mkdir(parents=True, exist_ok=True)
    variables, steps = initial(), number_of_steps(config.epochs[name], len(examples), config.batch)

    def data(start):
        return iterate_batches(examples, batch=config.batch, slots=sharding.slots(config.batch), seed=config.seed, start=start,
                               steps=steps, workers=config.data.workers)

    variables = fit(folder, name=name, steps=steps, variables=variables, loss_fn=loss_fn, data=data, evaluate=evaluate,
                    optimizer=optimizer.optimizer_for(config, name, variables['params'], steps), config=config, mesh=mesh)
    checkpoint.save_variables(folder / 'variables', variables)


def fit(folder: pathlib.Path, *, name: str, steps: int, variables: Variables, loss_fn: LossFn, optimizer: optax.GradientTransformation,
        data: Callable[[int], Iterator[Batch]], evaluate: Callable[[Variables], Mapping[str, float]], config: ConfigDict,
        mesh: Mesh) -> Variables:
    """Trains from the last checkpoint in `folder`, or else from `variables`, up to step `steps`.

    The order is evaluate, save, next batch, step, log, so that a checkpoint's place in the data matches its weights.

    Args:
        folder: of this training, for checkpoints, `log.jsonl` and TensorBoard events.
        name: shown on the progress bar.
        steps: to make in all.
        variables: to begin from.
        loss_fn: see `update`.
        optimizer: see `update`.
        data: gives an iterator over this process's slices of the batches, from a step on.
        evaluate: gives numbers to log, every `config.evaluate_every` steps.
        config: with `seed`, `evaluate_every`, `save_every`, `log_every`.
        mesh: see `sharding.make_mesh`.
    Returns:
        The trained variables.
    Raises:
        InputError: a checkpoint of a training of another number of steps, as of other clips.
        SystemExit: the process was asked to stop (SIGTERM, Ctrl-C), after saving.
    """
    checkpoints = checkpoint.Checkpoints(folder / 'checkpoints')
    state = State(jnp.int32(0), variables, optimizer.init(variables['params']))
    state = jax.device_put(state, sharding.replicated(mesh))
    start = 0
    restored = checkpoints.restore(state)
    if restored is not None:
        state, start = restored.state, restored.data['next_step']
        if start > steps or restored.data.get('steps', steps) != steps:
            raise InputError(f'{folder}: was begun for {restored.data.get("steps", start)} steps, and is to have {steps}: the clips have '
                             'changed since; delete the folder to train anew')
    chex.clear_trace_counter()

    @functools.partial(jax.jit, donate_argnums=0, compiler_options=optimise(1))
    @chex.assert_max_traces(n=1)
    def step_fn(state, batch, key):
        return update(state, batch, key, loss_fn=loss_fn, optimizer=optimizer)

    key = jax.random.key(config.seed)
    batches = data(start) if start < steps else iter(())
    with Interruption() as interruption, contextlib.closing(Log(folder, start)) as log, tqdm.tqdm(
            total=steps, initial=start, desc=name, unit='step', mininterval=1, disable=jax.process_index() > 0) as progress:
        for step in range(start, steps + 1):
            last = step == steps
            evaluated = step == start and not (last and restored is None)  # before the checkpoint was saved, or at no time for step 0
            if not evaluated and (last or step % config.evaluate_every == 0):
                log.write(step, {f'held_out/{k}': v for k, v in evaluate(state.variables).items()}, progress)
            stop = interruption.asked or checkpoints.interrupted(step)
            if step > start and (last or stop or step % config.save_every == 0):
                log.flush(progress)
                checkpoints.save(step, state, {'next_step': step, 'steps': steps})
            if last or stop:
                break
            state, metrics = step_fn(state, sharding.put(next(batches), mesh), key)
            progress.update()
            if (step + 1) % config.log_every == 0:
                log.later(step + 1, metrics, progress)
    checkpoints.close()
    if not last:
        print(f'{name}: stopped and saved at step {step} of {steps}; the same command goes on from there', flush=True)
        sys.exit(0)
    return state.variables


class Interruption(contextlib.AbstractContextManager):
    """Notes SIGTERM and Ctrl-C instead of ending the process, so that the loop can save first; a second one ends it.

    Attributes:
        asked: whether the process was asked to stop.
    """

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


def number_of_steps(epochs: float, examples: int, batch: int) -> int:
    """The number of steps of `epochs` passes over `examples` examples in batches of `batch`: at least 1, except for 0 passes.

    The number of passes may be a fraction.
    """
    return max(1, math.ceil(epochs * examples / batch)) if epochs else 0
