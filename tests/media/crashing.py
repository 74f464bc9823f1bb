"""What decoders do to the process that they run in, for the child process to import."""
import os
import signal
import sys
import time

import numpy as np


def crash(path, after=0, **settings):
    """Yields some arrays, then crashes by a real signal."""
    yield from (np.full(5, k) for k in range(after))
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(path, after=0):
    """Yields some arrays, then nothing any more."""
    yield from (np.full(5, k) for k in range(after))
    time.sleep(600)


def count_slowly(path, frames, seconds):
    """Decodes some frames, each of which takes a while, before it returns."""
    from stanet_jax.media.container import on_progress
    for _ in range(frames):
        time.sleep(seconds)
        for progress in on_progress:
            progress()
    return frames


def grow(path, sizes):
    """Yields pairs of a number and an array, of several sizes."""
    for size in sizes:
        yield size, np.arange(size, dtype=np.uint16)


def fail(path, error):
    """Raises an error."""
    raise error


def tell(path):
    """Says which process this is, where it is and whether it knows JAX."""
    return os.getpid(), os.getcwd(), 'jax' in sys.modules


def take(path, bytes_):
    """Takes memory."""
    return len(np.ones(bytes_, np.uint8))
