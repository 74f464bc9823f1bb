"""What the box around decoders costs: films read, and predicted, with their decoder in a child process and in this one, by turns.

    python -m benchmarks.decoding --checkpoint=default

Makes films with sound of several sizes, 25 frames a second. Prints frames per second of each way, medians over the rounds, and by how much
of the time the box is slower in the median round (negative: faster, as the child decodes beside).
"""
import argparse
import contextlib
import pathlib
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Callable

import numpy as np

from benchmarks.prediction import write_video
from stanet_jax import InputError
from stanet_jax.inference import predictor, videos
from stanet_jax.media import box, clip
from stanet_jax.media.moments import read_moments

LEAST = 20  # seconds that each work is measured for


@contextlib.contextmanager
def without_box():
    """Inside, films are decoded in this process."""
    with unittest.mock.patch.multiple(box, iterate=lambda read, *args, **fields: read(*args, **fields),
                                      call=lambda read, *args, **fields: read(*args, **fields)):
        yield


def seconds_of(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def slower(work: Callable[[], object], frames: int, rounds: int) -> tuple[float, float, float]:
    """Frames per second in the box and without it, and what part of the time without it the box takes more.

    There are at least so many rounds, and of a short work as many more as `LEAST` seconds have room for.
    """
    found: list[list[float]] = [[], []]
    work()
    start = time.perf_counter()
    while len(found[0]) < rounds or time.perf_counter() - start < LEAST:
        for way in (0, 1) if len(found[0]) % 2 else (1, 0):
            with contextlib.nullcontext() if way == 0 else without_box():
                found[way].append(seconds_of(work))
    boxed, plain = np.median(found, axis=1)
    return frames / boxed, frames / plain, float(np.median(np.divide(*found))) - 1


def main():
    """Measures each size and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--checkpoint', default='default', help='student that predicts')
    parser.add_argument('--seconds', type=float, default=8, help='of each film')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--sizes', nargs='+', default=['160x120', '640x360', '1280x720'])
    args = parser.parse_args()
    try:
        student, frames = predictor.Predictor(args.checkpoint), int(25 * args.seconds)
    except InputError as error:
        sys.exit(f'error: {error}')
    print('| film | work | frames a second, in the box | in one process | the box takes more by |\n|---|---|---|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            film = pathlib.Path(folder) / f'{size}.mp4'
            width, height = map(int, size.split('x'))
            write_video(film, args.seconds, (width, height))
            works = {'prepared: eight of its frames a second, of 256 pixels': lambda film=film: box.call(clip.read_clip, film, 8, 256),
                     'read': lambda film=film: list(box.iterate(read_moments, film, student.side, student.front_end, with_frames=True)),
                     'predicted, with maps and overlay': lambda film=film: videos.predict_video(student, film, folder)}
            for name, work in works.items():
                boxed, plain, more = slower(work, frames, args.rounds)
                print(f'| {size} | {name} | {boxed:.1f} | {plain:.1f} | {more:+.1%} |', flush=True)


if __name__ == '__main__':
    main()
