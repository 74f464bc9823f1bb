"""Batches by way of grain: shuffled and augmented for a training, or in order."""
import functools

import grain
import numpy as np


def iterate_in_order(load, chosen, batch, workers):
    """Batches of `load(i)` of the chosen i, in order, by way of grain; the last one filled up with its last example.

    `load` is a function of a module, or a `functools.partial` of one, so that it reaches the `workers`, processes that read (0: threads).
    """
    chosen = [*chosen, *chosen[-1:] * (-len(chosen) % batch)]
    return _read(grain.MapDataset.source(chosen).map(load).batch(batch), workers)


def iterate_batches(examples, *, batch, slots, seed=None, start=0, steps=None, workers=0):
    """Yields batches by way of grain, from step `start` on.

    Every process loads its own slice: the places `slots` of the batch, of which the first `batch` are filled; the others, which
    round the batch up to a multiple of the devices, are zeros with `mask` False.

    Args:
        examples: `Examples`.
        batch: examples of a global batch.
        slots: range of this process's places in a batch, see `sharding.slots`.
        seed: for training, shuffled and augmented, epoch after epoch; None for one pass in order, as it is.
        start, steps: the first step and the one to stop before, both counted from 0 (by default all of one epoch).
        workers: processes that read; 0 reads in threads of this one.
    """
    size = len(examples)
    order = grain.MapDataset.range(size)
    if seed is not None:
        order = order.seed(seed).shuffle().repeat()
    steps = -(-size // batch) if steps is None else steps
    # A whole batch at a time: grain's bookkeeping of single examples costs as much as reading one.
    load = functools.partial(_load_batch, examples, order, batch, slots, seed)
    return _read(grain.MapDataset.range(start, steps).map(load), workers)


def _read(dataset, workers):
    reading = dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    return iter(reading.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)) if workers else reading)


def _load_batch(examples, order, batch, slots, seed, step):
    loaded = [_load_example(examples, order, batch, seed, step * batch + slot, slot) for slot in slots]
    return {k: np.stack([e[k] for e in loaded]) for k in loaded[0]}


def _load_example(examples, order, batch, seed, number, slot):
    size = len(examples)
    if slot >= batch or seed is None and number >= size:
        return {k: np.zeros_like(v) for k, v in examples.example(0).items()}
    index = order[number]
    return examples.example(index, None if seed is None else np.random.default_rng([seed, number // size, index]))
