"""The speed of making pseudo-fixations, and the shares of its parts.

    python -m benchmarks.pseudo_gt --coarse=runs/coarse --clips=32

Makes the coarse maps of some test clips as `distill.py` does and prints the frames per second of the whole; then does the three parts of
the work alone, on the same clips: reading (frames and the sound's spectrograms), the nets with the fusion, and writing. Shares are of the
sum of the parts; in the whole the parts overlap, as far as there are cores.
"""
import argparse
import functools
import pathlib
import tempfile
import time

import jax
from absl import logging

from configs import pseudo_gt as recipe
from stanet_jax.data.annotations import Annotations
from stanet_jax.data.stretches import iterate_stretches, stretches
from stanet_jax.stages import maps
from stanet_jax.stages.examples import open_clips
from stanet_jax.stages.source_maps import iterate_source_maps, load_nets, make_source_maps_fn
from stanet_jax.workdir import read_config


def seconds(work):
    """The seconds that a function takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(config, clips, out):
    """The seconds that the parts and the whole take, {'reading', 'nets', 'writing', 'whole'}, and the number of frames."""
    nets, plus = load_nets(config.nets, config.sources, len(clips.categories)), load_nets('', (), 0)
    source_maps_fn, fuse_clip, took = make_source_maps_fn(nets, plus), maps.make_fuse_fn(clips, config.fusion, config.reach), {}
    sources_of = functools.partial(iterate_source_maps, clips, Annotations(clips), source_maps_fn=source_maps_fn, plus=plus,
                                   stretch=config.stretch, workers=config.data.workers, front_end='log_spectrogram')
    kinds = {name: [maps.make_kind(config, out / name, clips, nets, plus)] for name in ('first', 'whole')}
    maps.write_split(kinds['first'], clips, sources_of)  # compiles the nets and warms the files
    took['whole'], _ = seconds(lambda: maps.write_split(kinds['whole'], clips, sources_of))

    items = stretches(clips, range(len(clips)), config.stretch)
    took['reading'], batches = seconds(lambda: list(iterate_stretches(
        clips, Annotations(clips), items, config.stretch, jax.local_device_count(), config.data.workers, 'log_spectrogram')))
    clip, seen = next(sources_of(range(len(clips))))
    made = fuse_clip(clip, seen)
    took['nets'], _ = seconds(lambda: ([jax.device_get(source_maps_fn(batch)) for batch in batches],
                                       [fuse_clip(clip, seen) for _ in range(len(clips))]))
    rows = [maps.manifest_row(clips, clip, k, seen, made, tuple(nets.models)) for k in range(len(made.maps))]
    took['writing'], _ = seconds(lambda: [maps.write_maps(made.maps, rows, out / f'clip{i}') for i in range(len(clips))])
    return took, sum(clip['frames'] for clip in clips.clips)


def main():
    """Measures and prints the rates."""
    parser = argparse.ArgumentParser(description='Measures the making of pseudo-fixations.')
    parser.add_argument('--coarse', default='runs/coarse', help='a run of configs/scam_coarse.py')
    parser.add_argument('--clips', type=int, default=32, help='how many test clips')
    args = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    config, clips = recipe.get_config('coarse'), open_clips(read_config(args.coarse))['test']
    config.nets = args.coarse
    with tempfile.TemporaryDirectory() as out:
        took, frames = measure(config, clips.only(range(min(args.clips, len(clips)))), pathlib.Path(out))
    parts = ('reading', 'nets', 'writing')
    total = sum(took[part] for part in parts)
    print(f'{jax.device_count()} x {jax.devices()[0].device_kind}, {frames} frames of {clips.side} pixels, {", ".join(config.sources)}')
    print(f'whole: {frames / took["whole"]:.1f} frames a second')
    for part in parts:
        print(f'{part:8} alone: {frames / took[part]:8.1f} frames a second, {took[part] / total:.0%} of the work')


if __name__ == '__main__':
    main()
