"""How fast a folder of maps is scored, with the reading of all files, by one process and by several.

    python -m benchmarks.evaluation --videos=4 --frames=200 --workers=2

Makes a fixation set with frames of 640x360 pixels, of which DIEM has about 240,000, and maps, and scores these under a protocol with one
process and with `--workers`. Prints frames per second, in all and for each process, and the hours that 240,000 frames would take.
"""
import argparse
import os
import pathlib
import tempfile
import time

import numpy as np
import PIL.Image
import scipy.io
import scipy.ndimage

from stanet_jax.evaluation import fixations, protocols, scoring
from stanet_jax.evaluation.map_sources import open_map_folders

DIEM = 240_000


def write_set(root, videos, frames, shape, points, rng):
    """Writes a set of videos in which `points` pixels of each frame are fixated, and maps of half the size."""
    small = shape[0] // 2, shape[1] // 2
    for v in range(videos):
        notes, maps = root / 'annotations' / 'Made' / f'video{v}', root / 'model' / f'video{v}' / 'maps'
        (notes / 'maps').mkdir(parents=True)
        maps.mkdir(parents=True)
        for k in range(frames):
            fixations = np.zeros(shape)
            fixations[rng.integers(shape[0], size=points), rng.integers(shape[1], size=points)] = 1
            scipy.io.savemat(notes / f'fixMap_{k + 1:05d}.mat', {'eyeMap': fixations}, do_compression=True)
            density = scipy.ndimage.gaussian_filter(fixations, shape[0] / 20)
            PIL.Image.fromarray(np.uint8(255 * density / density.max())).save(notes / 'maps' / f'eyeMap_{k + 1:05d}.jpg')
            map_ = scipy.ndimage.gaussian_filter(rng.random(small), small[0] / 10)
            map_ = np.uint8(255 * (map_ - map_.min()) / (map_.max() - map_.min()))
            PIL.Image.fromarray(map_).save(maps / f'eyeMap_{k + 1:05d}.png', compress_level=1)


def main():
    """Measures both and prints a table."""
    parser = argparse.ArgumentParser(description='Measures the scoring of a folder of maps.')
    parser.add_argument('--videos', type=int, default=4)
    parser.add_argument('--frames', type=int, default=200, help='of each video')
    parser.add_argument('--height', type=int, default=360)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--points', type=int, default=40, help='fixated pixels of a frame')
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--protocol', default='stavis', choices=protocols.PROTOCOLS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, rules = pathlib.Path(folder), protocols.PROTOCOLS[args.protocol]
        write_set(root, args.videos, args.frames, (args.height, args.width), args.points, np.random.default_rng(0))
        _, videos, _ = fixations.open_set(root)
        maps, videos, _ = open_map_folders({'model': root / 'model'}, videos)
        scoring.score_all(maps, videos[:1], rules, 'warm')
        lines, scores = [f'{"processes":>10}{"frames/s":>10}{"each":>8}{"hours for DIEM":>16}'], []
        for workers in (1, args.workers):
            start = time.perf_counter()
            found = scoring.score_all(maps, videos, rules, f'{workers} processes', workers=workers)['model']
            rate = found.frames / (time.perf_counter() - start)
            scores.append(list(found.scores.values()))
            lines.append(f'{workers:>10}{rate:10.1f}{rate / workers:8.1f}{DIEM / rate / 3600:16.1f}')
    np.testing.assert_allclose(*scores, atol=1e-4)
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
