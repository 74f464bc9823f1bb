"""Depthwise convolutions on a CPU: tap by tap, as `models/convolution.py` has them, against XLA's grouped ones and torch's.

    python -m benchmarks.depthwise --rounds=5

Every layer of EfficientNet-Lite0 that has one, at a batch of 4 images of 256 pixels, forward, in float32. The three take turns, `--rounds`
times; printed is the median of each, in milliseconds, and how many times as long as ours the others take. torch is left out where it is not
installed; its channels-last form is taken, which is its faster one.
"""
import argparse
import functools
import time
from collections.abc import Callable

import jax
import numpy as np

from stanet_jax.models.convolution import convolve

# Side of the input, channels, kernel, stride, and how many layers are so.
LAYERS = ((128, 32, 3, 1, 1), (128, 96, 3, 2, 1), (64, 144, 3, 1, 1), (64, 144, 5, 2, 1), (32, 240, 5, 1, 1), (32, 240, 3, 2, 1),
          (16, 480, 3, 1, 2), (16, 480, 5, 1, 1), (16, 672, 5, 1, 2), (16, 672, 5, 2, 1), (8, 1152, 5, 1, 3), (8, 1152, 3, 1, 1))
BATCH = 4


def grouped(x, kernel, stride):
    """XLA's own convolution of as many groups as channels."""
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
                                        feature_group_count=x.shape[-1])


def ours(x, kernel, stride):
    """The package's convolution."""
    return convolve(x, kernel, (stride, stride), 'SAME', feature_group_count=x.shape[-1],
                    dimension_numbers=jax.lax.conv_dimension_numbers(x.shape, kernel.shape, ('NHWC', 'HWIO', 'NHWC')))


def torchs(x, kernel, stride) -> Callable[[], object] | None:
    """torch's convolution of the same layer, ready to be called; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    last = torch.channels_last
    image = torch.from_numpy(x.transpose(0, 3, 1, 2)).contiguous(memory_format=last)
    weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    side = kernel.shape[0] // 2

    def call():
        with torch.inference_mode():
            return torch.nn.functional.conv2d(image, weight, stride=stride, padding=side, groups=x.shape[-1])
    return call


def seconds(call: Callable[[], object], times: int = 5) -> float:
    """How long a call takes, of so many after one another."""
    start = time.perf_counter()
    for _ in range(times):
        jax.block_until_ready(call())
    return (time.perf_counter() - start) / times


def measure(layer: tuple[int, ...], rounds: int) -> dict[str, float]:
    """The median seconds of each way for a layer, taken in turns."""
    side, channels, kernel, stride, _ = layer
    rng = np.random.default_rng(0)
    x, k = np.float32(rng.normal(size=(BATCH, side, side, channels))), np.float32(rng.normal(size=(kernel, kernel, 1, channels)))
    on_device = jax.device_put(x), jax.device_put(k)
    calls = {name: functools.partial(jax.jit(functools.partial(way, stride=stride)), *on_device) for name, way in
             (('ours', ours), ('XLA, grouped', grouped))}
    if other := torchs(x, k, stride):
        calls['torch'] = other
    for call in calls.values():
        jax.block_until_ready(call())
    taken = [{name: seconds(call) for name, call in calls.items()} for _ in range(rounds)]
    return {name: float(np.median([row[name] for row in taken])) for name in calls}


def main():
    parser = argparse.ArgumentParser(description='Measures depthwise convolutions.')
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    totals: dict[str, float] = {}
    for layer in LAYERS:
        found = measure(layer, args.rounds)
        side, channels, kernel, stride, count = layer
        cells = '   '.join(f'{name} {1000 * value:7.2f} ms ({value / found["ours"]:5.1f})' for name, value in found.items())
        print(f'{side:4} px {channels:5} channels  {kernel}x{kernel} / {stride}   {cells}', flush=True)
        for name, value in found.items():
            totals[name] = totals.get(name, 0) + count * value
    cells = '   '.join(f'{name} {1000 * value:7.2f} ms ({value / totals["ours"]:5.1f})' for name, value in totals.items())
    print(f'all {sum(layer[-1] for layer in LAYERS)} layers, {BATCH} images:  {cells}')


if __name__ == '__main__':
    main()
