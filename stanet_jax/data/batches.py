"""Batches of examples, read by grain: shuffled and augmented for a training, or in order."""
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import grain
import numpy as np

Item = TypeVar('Item')


@runtime_checkable
class ExampleSource(Protocol):
    """Examples by their index, as `fragments.Examples` and `eps.images.ImageExamples` give them."""

    def __len__(self) -> int: ...

    def example(self, index: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Gives an example as a dict of arrays, augmented by `rng`; its `mask` tells whether it counts."""
        ...


def iterate_in_order(load: Callable[[Item], dict[str, Any]], chosen: list[Item], batch: int, workers: int) -> Iterator[Any]:
    """Yields batches of `load(item)` of the chosen items, in order; the last one is filled up with its last example.

    Args:
        load: a function of a module, or a `functools.partial` of one, so that it can be sent to other processes.
        chosen: items to load, at least one.
        batch: examples of a batch.
        workers: processes that read; 0 reads in threads of this one.
    """
    chosen = [*chosen, *chosen[-1:] * (-len(chosen) % batch)]
    return _read(grain.MapDataset.source(chosen).map(load).batch(batch), workers)


def iterate_batches(examples: ExampleSource, *, batch: int, slots: Sequence[int], seed: int | None = None, start: int = 0,
                    steps: int | None = None, workers: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Yields this process's slices of the batches from step `start` on.

    A batch has `batch` places and is padded to a multiple of the number of devices: what is in the padding, or after the last example
    of a single pass, is zeros with `mask` False.

    Args:
        examples: to draw from.
        batch: examples of a global batch.
        slots: this process's places in a padded batch, see `sharding.slots`.
        seed: for a training, shuffled and augmented, epoch after epoch; None for one pass in order, without augmentation.
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
