"""How fast clips are prepared, in threads and by Apache Beam on one machine, and whether both write the same records.

    python -m benchmarks.preparation --clips=2000 --workers 1 2

It writes so many short videos with sound in VGGSound's layout, prepares them the plain way, by threads, and by Beam's DirectRunner, by
processes where there are several workers, compares the records byte for byte, and ends in an error where they differ. Beam's time has the
start of its processes in it, which does not grow with the clips.
"""
import argparse
import itertools
import os
import pathlib
import shutil
import tempfile
import time
from fractions import Fraction

import av
import numpy as np
import tqdm
from absl import logging
from array_record.python.array_record_data_source import ArrayRecordDataSource

from stanet_jax.data import preparation, vggsound

RATE, LABELS = 25, 10


def write_video(path: pathlib.Path, seconds: float, size: tuple[int, int], seed: int) -> None:
    """Writes an H.264 film of moving blocks with a tone, AAC, that are drawn by a seed; `size` is (height, width) in pixels."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (size[0] // 16, size[1] // 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), 'w') as container:
        film = container.add_stream('libx264', rate=RATE, width=blocks.shape[1], height=blocks.shape[0], pix_fmt='yuv420p',
                                    options={'preset': 'ultrafast'})
        sound = container.add_stream('aac', rate=44100, layout='mono')
        for i in range(round(seconds * RATE)):
            frame = av.VideoFrame.from_ndarray(np.roll(blocks, (2 * i, 3 * i), (0, 1)), format='rgb24')
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(film.encode(frame))
        container.mux(film.encode())
        tone = np.sin(2 * np.pi * rng.uniform(200, 2000) * np.arange(round(seconds * 44100)) / 44100)
        wave = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format='fltp', layout='mono')
        wave.sample_rate, wave.pts, wave.time_base = 44100, 0, Fraction(1, 44100)
        container.mux(sound.encode(wave))
        container.mux(sound.encode())


def write_set(root: pathlib.Path, clips: int, seconds: float, size: tuple[int, int]) -> None:
    """Writes that many clips, each a video of its own, in the layout of VGGSound."""
    lines = []
    for i in tqdm.tqdm(range(clips), 'Writing', mininterval=1):
        write_video(root / f'{i:011d}_000000.mp4', seconds, size, i)
        lines.append(f'{i:011d},0,label {i % LABELS},{"test" if i % 10 == 9 else "train"}\n')
    (root / 'vggsound.csv').write_text(''.join(lines))


def same_records(one, other) -> bool:
    """Whether two prepared sets have the same metadata and, byte for byte, the same records."""
    if dict(one.info.metadata) != dict(other.info.metadata) or set(one.info.splits) != set(other.info.splits):
        return False
    for split in one.info.splits:
        a, b = (ArrayRecordDataSource(list(of.info.splits[split].file_instructions)) for of in (one, other))
        if len(a) != len(b) or any(a[i] != b[i] for i in range(len(a))):
            return False
    return True


def main():
    """Writes the clips, prepares them in each way and prints a table."""
    parser = argparse.ArgumentParser(description='Measures how fast clips are prepared, in threads and by Apache Beam.')
    parser.add_argument('--clips', type=int, default=2000)
    parser.add_argument('--seconds', type=float, default=2.0, help='length of a clip')
    parser.add_argument('--height', type=int, default=144)
    parser.add_argument('--width', type=int, default=192)
    parser.add_argument('--side', type=int, default=96, help='of a stored frame, in pixels')
    parser.add_argument('--rate', type=float, default=8.0, help='stored frames a second')
    parser.add_argument('--workers', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--by', nargs='+', default=['threads', 'Beam'], choices=['threads', 'Beam'])
    parser.add_argument('--workdir', help='where the clips are written, and removed again; a temporary folder by default')
    args = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    rows, first = [], None
    with tempfile.TemporaryDirectory(dir=args.workdir) as folder:
        root = pathlib.Path(folder, 'set')
        root.mkdir()
        write_set(root, args.clips, args.seconds, (args.height, args.width))
        warm_up = pathlib.Path(folder, 'one')
        warm_up.mkdir()
        write_set(warm_up, 1, 1.0, (64, 64))
        preparation.prepare(vggsound.source(warm_up), args.side, args.rate)  # imports what is imported at the first call
        for way, workers in itertools.product(args.by, args.workers):
            options = (f'--direct_num_workers={workers}', '--direct_running_mode=multi_processing', '--default_sdk_harness_log_level=ERROR')
            beam = {'beam': 'DirectRunner', 'beam_options': options if workers > 1 else ()} if way == 'Beam' else {'workers': workers}
            start = time.perf_counter()
            made = preparation.prepare(vggsound.source(root), args.side, args.rate, pathlib.Path(folder, f'{way}{workers}'), **beam)
            seconds = time.perf_counter() - start
            if first is not None and not same_records(first, made):
                raise SystemExit(f'{way} with {workers} workers wrote other records than {rows[0][0]} with {rows[0][1]}')
            clips = [clip for split in made.info.metadata['splits'].values() for clip in split]
            rows.append((way, workers, seconds, len(clips), sum(clip['frames'] for clip in clips)))
            if first is None:
                first = made
            else:
                shutil.rmtree(made.data_dir)
    print(f'{os.cpu_count()} cores; {args.clips} clips of {args.seconds:g} s, {args.width}x{args.height}, to {args.side} pixels, '
          f'{args.rate:g} frames a second; all records are the same')
    print(f'{"by":10}{"workers":>8}{"seconds":>10}{"clips a s":>12}{"records a s":>13}')
    for way, workers, seconds, clips, frames in rows:
        print(f'{way:10}{workers:8}{seconds:10.1f}{clips / seconds:12.1f}{frames / seconds:13.1f}')


if __name__ == '__main__':
    main()
