"""Whether the input pipeline is fast enough that trainings never wait for it.

    python -m benchmarks.input_pipeline --root=data/synthave --seconds=10

For each net of `configs/scam_coarse.py` it measures how many fragments per second are

    fed       by the input pipeline alone, which reads, decodes, crops and batches with the config's settings, and
    consumed  by the net's update step alone, whose batch is on the device already,

in alternating rounds, and prints the medians and their ratio. S, SA and ST must have at least 2.0, as the two share the cores in a
training; A, a small net on sound alone, may wait for its spectrograms. Other work on the machine slows the two unequally.
"""
import argparse
import functools
import os
import statistics
import time

import jax
from absl import logging

from configs import scam_coarse
from stanet_jax.data.batches import iterate_batches
from stanet_jax.stages.examples import make_examples, open_clips
from stanet_jax.stages.nets import example_batch, initial_variables, make_classifier, tag_loss
from stanet_jax.training import loop, sharding
from stanet_jax.training.optimizer import optimizer_for

ROUNDS = 5


def consumer(config, source, clips, batch):
    """A function `n -> None` that makes n updates of an untrained net, one after the other, on the same batch."""
    mesh, classes = sharding.make_mesh(), len(clips.categories)
    model = make_classifier(config, source, classes)
    example = example_batch(config, source, classes, 1)
    variables = initial_variables(config, source, model, example, workdir='')
    steps = loop.number_of_steps(config.epochs[source], len(clips) * config.data.frames_per_clip, config.batch)
    optimizer = optimizer_for(config, source, variables['params'], steps)
    loss_fn = functools.partial(tag_loss, model=model, jitter=tuple(config.jitter))
    step_fn = jax.jit(functools.partial(loop.update, loss_fn=loss_fn, optimizer=optimizer), donate_argnums=0)
    state = loop.State(jax.numpy.int32(0), variables, optimizer.init(variables['params']))
    state, batch, key = jax.device_put(state, sharding.replicated(mesh)), sharding.put(batch, mesh), jax.random.key(config.seed)

    def run(n):
        nonlocal state
        for _ in range(n):
            state, _ = step_fn(state, batch, key)
        jax.block_until_ready(state)
    return run


def measure(config, source, clips, seconds):
    """The rates (fed, consumed) in fragments per second, each measured for about `seconds` in all."""
    def rate(run, n):
        start = time.perf_counter()
        run(n)
        return n * config.batch / (time.perf_counter() - start)

    examples = make_examples(config, source, clips, config.data.frames_per_clip)
    feed = functools.partial(iterate_batches, examples, batch=config.batch, slots=range(sharding.padded(config.batch)),
                             seed=config.seed, workers=config.data.workers)  # as loop.train reads
    runs = [lambda n: sum(1 for _ in feed(steps=n)), consumer(config, source, clips, next(feed(steps=1)))]
    for run in runs:
        run(4)  # compiles, and opens the files
    steps = [max(1, round(seconds / ROUNDS * rate(run, 4) / config.batch)) for run in runs]
    rounds = [[rate(run, n) for run, n in zip(runs, steps, strict=True)] for _ in range(ROUNDS)]
    return [statistics.median(rates) for rates in zip(*rounds, strict=True)]


def main():
    """Measures each net and prints a table."""
    config = scam_coarse.get_config()
    config.switch = ''  # labels are read as fast as nothing
    parser = argparse.ArgumentParser(description='Measures whether the input pipeline keeps up with the nets.')
    parser.add_argument('--root', default='data/synthave', help='a SynthAVE set; made if it is not there')
    parser.add_argument('--seconds', type=float, default=10, help='for each of the two measurements of each net')
    parser.add_argument('--nets', nargs='+', default=config.nets, choices=config.nets)
    args = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    config.data.root, config.start_from = args.root, {}
    clips = open_clips(config)['train']
    print(f'{os.cpu_count()} cores, JAX {jax.__version__}, {jax.device_count()} x {jax.devices()[0].device_kind}; '
          'fragments a second; fed / consumed must be at least 2.0 for S, SA and ST')
    print(f'{"net":4}{"fed":>10}{"consumed":>10}{"ratio":>8}', flush=True)
    for source in args.nets:
        fed, consumed = measure(config, source, clips, args.seconds)
        print(f'{source:4}{fed:10.1f}{consumed:10.1f}{fed / consumed:8.2f}', flush=True)


if __name__ == '__main__':
    main()
