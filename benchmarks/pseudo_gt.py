"""How fast pseudo-fixations are made, and where the time goes.

    python -m benchmarks.pseudo_gt --coarse=runs/coarse --clips=32

Makes the coarse maps of some test clips as `distill.py` does, and prints the frames per second of the whole; then does the three parts of
the work alone, on the same clips: reading (decoding the frames, the sound's spectrograms), the nets with the fusion, and writing.
Their shares are of the parts' sum; in the whole they overlap, as far as there are cores.
"""
import argparse
import pathlib
import tempfile
import time

import jax
from absl import logging

from configs import pseudo_gt as recipe
from stanet_jax.data.annotations import Annotations, clip_names
from stanet_jax.data.stretches import iterate_stretches, stretches
from stanet_jax.stages import maps
from stanet_jax.stages.examples import open_clips
from stanet_jax.stages.nets import make_classifier
from stanet_jax.stages.source_maps import iterate_source_maps, make_source_maps_fn
from stanet_jax.training import checkpoint
from stanet_jax.workdir import read_config


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(config, clips, nets, out):
    """Seconds that the parts and the whole take, {'reading', 'nets', 'writing', 'whole'}, and how many frames there are."""
    models = {s: make_classifier(nets, s, len(clips.categories)) for s in config.sources}
    variables = {s: checkpoint.load_variables(pathlib.Path(config.coarse) / s / 'variables') for s in config.sources}
    annotations, names, took = Annotations(clips), clip_names(clips), {}
    look = make_source_maps_fn(models, variables, {}, {})
    maps.make_split_maps(config, clips, list(models), look, annotations, out / 'first')  # compiles the nets and warms the files
    took['whole'], _ = seconds(lambda: maps.make_split_maps(config, clips, list(models), look, annotations, out / 'whole'))

    items = stretches(clips, range(len(clips)), config.stretch)
    took['reading'], batches = seconds(lambda: list(iterate_stretches(
        clips, annotations, items, config.stretch, jax.local_device_count(), config.data.workers)))
    clip, seen = next(iterate_source_maps(config, clips, annotations, range(len(clips)), list(models), look))
    fused = maps.make_fuse_fn(config, clips)
    made = fused(seen)
    took['nets'], _ = seconds(lambda: ([jax.device_get(look(batch)) for batch in batches], [fused(seen) for _ in range(len(clips))]))
    lines = [maps.manifest_row(clips, names[clip], clips.clips[clip], k, seen, made, list(models), '') for k in range(len(made['maps']))]
    took['writing'], _ = seconds(lambda: [maps.write_maps(made['maps'], lines, out / f'clip{i}') for i in range(len(clips))])
    return took, sum(clip['frames'] for clip in clips.clips)


def main():
    parser = argparse.ArgumentParser(description='Measures the making of pseudo-fixations.')
    parser.add_argument('--coarse', default='runs/coarse', help='a run of configs/scam_coarse.py')
    parser.add_argument('--clips', type=int, default=32, help='how many test clips')
    args = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    nets, config = read_config(args.coarse), recipe.get_config()
    config.data, config.coarse, config.switch = nets.data, args.coarse, ''
    clips = open_clips(nets)['test']
    with tempfile.TemporaryDirectory() as out:
        took, frames = measure(config, clips.only(range(min(args.clips, len(clips)))), nets, pathlib.Path(out))
    parts = ('reading', 'nets', 'writing')
    total = sum(took[part] for part in parts)
    print(f'{jax.device_count()} x {jax.devices()[0].device_kind}, {frames} frames of {clips.side} pixels, {", ".join(config.sources)}')
    print(f'whole: {frames / took["whole"]:.1f} frames a second')
    for part in parts:
        print(f'{part:8} alone: {frames / took[part]:8.1f} frames a second, {took[part] / total:.0%} of the work')


if __name__ == '__main__':
    main()
