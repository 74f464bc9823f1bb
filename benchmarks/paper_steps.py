"""The memory, as the compiled program plans it, and the time of a training step of each net at the papers' size and batch.

    python -m benchmarks.paper_steps                                the plans of every net; nothing is computed
    python -m benchmarks.paper_steps --run --nets=S,STA             also steps on random input, where they fit in --memory

    python -m benchmarks.paper_steps --recipe=release               of another recipe than `:paper`: `cvpr` or `release`
    python -m benchmarks.paper_steps --remat                        with `--config.remat=True`: less memory, more operations

A batch is split over all devices in sight; memory is that of one of them. On a CPU
`XLA_FLAGS=--xla_force_host_platform_device_count=8` shows eight.

Prints, for each net of the recipe: parameters, gigabytes of arguments (variables, optimizer, batch) and of temporary memory
that XLA plans, operations; with --run also the seconds of a step, and with --peak (teraflops of the device) the share of it.
"""
import argparse
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from configs import audio_switch as switch_config
from configs import scam_coarse, scam_fine, scam_plus, sta, sta_plus
from stanet_jax.models.branch import parse_net
from stanet_jax.stages import audio_switch, students
from stanet_jax.stages.nets import example_batch, make_classifier, make_tag_loss, net_inputs, tag_loss
from stanet_jax.training import loop, sharding
from stanet_jax.training.optimizer import optimizer_for

STAGES = {'coarse': scam_coarse, 'switch': switch_config, 'fine': scam_fine, 'plus': scam_plus, 'sta': sta, 'sta_plus': sta_plus}
CLASSES = 28  # of AVE
GB = 1e9
# XLA's compiler for CPUs drops the barriers that keep it from undoing rematerialisation before it looks for what to undo; others do not.
KEEP_BARRIERS = {'xla_disable_hlo_passes': 'cse_barrier_expander'}


RECIPES = ('paper', 'cvpr', 'release')


def stages_of(recipe):
    """The stages of a recipe; STANet of 2021 has no SCAM+ and no STA+."""
    return [stage for stage in STAGES if recipe != 'cvpr' or 'plus' not in stage]


def config_of(stage, recipe='paper', dtype='auto', batch=0, remat=False):
    """The config of a stage of a recipe, to compute in a type, with another batch, or with rematerialisation."""
    config = STAGES[stage].get_config(recipe)
    config.dtype, config.batch, config.remat = dtype, batch or config.batch, remat
    return config


class Net(NamedTuple):
    """A net of a stage.

    Attributes:
        model: its module.
        loss: see `loop.update`.
        batch: of examples, of zeros.
        variables: their shapes.
    """
    model: Any
    loss: Any
    batch: Any
    variables: Any


def make_net(config, net):
    """The net of this name of a config, and a batch for it."""
    if config.task == 'student':
        model, classes = students.make_student(config, net), 1
        loss = functools.partial(students.student_loss, model=model, jitter=tuple(config.jitter), loss=config.loss)
    elif net == 'switch':
        model, classes = audio_switch.make_switch(config), 1
        loss = functools.partial(tag_loss, model=model, jitter=tuple(config.jitter))
    else:
        model, classes = make_classifier(config, net, CLASSES), CLASSES
        loss = make_tag_loss(config, net, model)
    example = example_batch(config, 'SA' if net == 'switch' else net, classes, config.batch)
    if config.task == 'student':
        lead = example['frames'].shape[:-4]
        example['target'] = np.zeros((*lead, config.data.side, config.data.side), np.uint8)
        example |= {'known': np.ones(lead, bool)} if parse_net(net).granularity else {}
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), **net_inputs(example, config.encoder.name)))
    return Net(model, loss, example, {'params': variables['params'], 'batch_stats': variables.get('batch_stats', {})})


def make_step(config, name, net):
    """The jitted update step `(state, batch, key)` of a net, and the shapes of its state."""
    optimizer = optimizer_for(config, name, net.variables['params'], 1000)
    state = jax.eval_shape(lambda v: loop.State(jnp.int32(0), v, optimizer.init(v['params'])), net.variables)
    return jax.jit(functools.partial(loop.update, loss_fn=net.loss, optimizer=optimizer), donate_argnums=0), state


def step_of(stage, name, dtype, batch=0, recipe='paper', remat=False):
    """The jitted update step `(state, batch, key)` of a net of the papers, the shapes of its state, and a batch of zeros."""
    config = config_of(stage, recipe, dtype, batch, remat)
    net = make_net(config, name)
    return *make_step(config, name, net), net.batch


def lower_step(step, state, batch, mesh):
    """The step lowered for a batch that is split over the devices of a mesh."""
    split, whole = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)) for axes in (('data',), ()))
    state, batch = (jax.tree.map(lambda x, of=of: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=of), tree)
                    for tree, of in ((state, whole), (batch, split)))
    return step.lower(state, batch, jax.random.key(0))


def compile_step(step, state, batch, mesh, remat=False):
    """The compiled step of a batch that is split over the devices of a mesh; with `remat` as accelerators compile it."""
    return lower_step(step, state, batch, mesh).compile(
        compiler_options=KEEP_BARRIERS if remat and jax.default_backend() == 'cpu' else None)


def random_like(shapes):
    """Arrays of the given shapes: small random numbers for floats, zeros for other types; running variances and masks are ones."""
    rng = np.random.default_rng(0)

    def leaf(path, x):
        name = getattr(path[-1], 'key', '')
        if name in ('var', 'mask', 'known'):
            return np.ones(x.shape, x.dtype)
        return (rng.standard_normal(x.shape, np.float32) * 0.02).astype(x.dtype) if x.dtype == np.float32 else np.zeros(x.shape, x.dtype)
    return jax.tree_util.tree_map_with_path(leaf, shapes)


def measure(compiled, mesh, state, batch, rounds):
    """The seconds of a step: the least of some rounds, after one to warm up."""
    state, seconds = jax.device_put(random_like(state), sharding.replicated(mesh)), []
    batch, key = sharding.put(random_like(batch), mesh), jax.random.key(0)
    for _ in range(rounds + 1):
        start = time.perf_counter()
        state, metrics = compiled(state, batch, key)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def main():
    """Plans, and with --run times, the steps and prints a table."""
    parser = argparse.ArgumentParser(description='Plans and times a training step of each net at the papers\' size.')
    parser.add_argument('--nets', default='', help='names, as S, ST_long or STA; all by default')
    parser.add_argument('--recipe', default='paper', choices=RECIPES)
    parser.add_argument('--stages', default='', help='all of the recipe by default')
    parser.add_argument('--dtype', default='auto', choices=('auto', 'float32', 'bfloat16'))
    parser.add_argument('--batch', type=int, default=0, help="another batch than the papers'")
    parser.add_argument('--remat', action='store_true', help='compute the inside of the encoders again in the backward pass')
    parser.add_argument('--run', action='store_true', help='compute steps, too, where they fit')
    parser.add_argument('--memory', type=float, default=20, help='gigabytes that a step may take')
    parser.add_argument('--peak', type=float, default=0, help='teraflops of the device in this type')
    parser.add_argument('--rounds', type=int, default=1)
    args = parser.parse_args()
    mesh = sharding.make_mesh()
    print(f'{jax.device_count()} x {jax.devices()[0].device_kind}, {args.dtype}, recipe {args.recipe}{", remat" if args.remat else ""}')
    print(f'{"stage":>9}{"net":>10}{"batch":>6}{"side":>5}{"parameters":>12}{"args GB":>9}{"temp GB":>9}{"Tflop":>7}{"compile s":>10}'
          f'{"step s":>8}{"of peak":>8}')
    for stage in args.stages.split(',') if args.stages else stages_of(args.recipe):
        config = STAGES[stage].get_config(args.recipe)
        for net in config.nets:
            if args.nets and net not in args.nets.split(','):
                continue
            step, state, batch = step_of(stage, net, args.dtype, sharding.padded(args.batch or config.batch), args.recipe, args.remat)
            start = time.perf_counter()
            compiled = compile_step(step, state, batch, mesh, args.remat)
            took, plan = time.perf_counter() - start, compiled.memory_analysis()
            given, temp = plan.argument_size_in_bytes / GB, plan.temp_size_in_bytes / GB
            flops = compiled.cost_analysis().get('flops', float('nan')) / 1e12
            fits = args.run and given + temp < args.memory
            seconds = measure(compiled, mesh, state, batch, args.rounds) if fits else float('nan')
            share = f'{flops / seconds / args.peak:8.2f}' if fits and args.peak else f'{"-":>8}'
            parameters = sum(x.size for x in jax.tree.leaves(state.variables['params']))
            side = batch['frames'].shape[-2] if 'frames' in batch else '-'
            print(f'{stage:>9}{net:>10}{len(batch["mask"]):6}{side:>5}{parameters:12,}{given:9.2f}{temp:9.2f}{flops:7.2f}'
                  f'{took:10.0f}{seconds:8.2f}{share}', flush=True)


if __name__ == '__main__':
    main()
