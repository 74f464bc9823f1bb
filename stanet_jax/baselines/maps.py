"""Stage: class activation maps of a trained S, by the methods that the papers compare with, for every frame of a data set (TPAMI Table 7).

    <workdir>/<method>/<split>/<clip>/maps/eyeMap_%05d.png     8 bit, of the frame's size, of the clip's tag
    <workdir>/<method>/<split>/manifest.jsonl                  a line for each frame

`stanet evaluate --maps=<workdir>/<method>/test` scores them, and `<workdir>/<method>` may stand for pseudo-fixations: what a student learns
of them is what the papers' ablations measure. A clip's folder appears when it is complete. After an interruption the clips that are
missing are made, the others are kept.
"""
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from stanet_jax.baselines.cam import METHODS
from stanet_jax.baselines.classifier import SAMPLES, class_maps, load_classifier
from stanet_jax.data.clips import Clips
from stanet_jax.stages.examples import check_data, open_frames
from stanet_jax.stages.maps import write_maps
from stanet_jax.training import sharding
from stanet_jax.training.checks import require
from stanet_jax.workdir import barrier, open_workdir, replace_text, write_missing

# (frames [t, h, w, 3], classes of the clip's tags) -> maps of the frames' size, from 0 to 255.
MapsOfClip = Callable[[UInt8[np.ndarray, 't h w 3'], Int[np.ndarray, ' n']], UInt8[np.ndarray, 't h w']]


def check(config: ConfigDict) -> None:
    """Checks the fields of a config of this stage; InputError for a value that is not allowed, whose message names the field."""
    check_data(config)
    require('methods', config.methods, set(config.methods) <= set(METHODS), f'must name methods out of {", ".join(METHODS)}')
    for method, samples in config.samples.items():
        require(f'samples.{method}', samples, method in SAMPLES and samples > 0, f'must be above 0; {", ".join(SAMPLES)} take samples')
    require('batch', config.batch, config.batch > 0, 'must be above 0')
    require('splits', config.splits, bool(config.splits) and set(config.splits) <= {'train', 'validation', 'test'},
            'must name splits out of train, validation, test')


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Makes the maps of every clip of `config.splits` that has none yet, each process a share of them. See `configs/cam_baselines.py`."""
    check(config)
    net = load_classifier(config.classifier)
    workdir, data = open_workdir(config, workdir), open_frames(config, net.side)
    methods = config.methods or METHODS
    for method in methods:
        samples = config.samples.get(method, 0)
        function = functools.partial(_of_batch, model=net.model, method=method, samples=samples)
        compiled = sharding.on_local_devices(function, net.variables)
        for split, clips in ((split, data[split]) for split in config.splits if split in data):
            most = max(len(clip['tags']) for clip in clips.clips)
            about = {'method': method} | ({'samples': samples or SAMPLES[method]} if method in SAMPLES else {})
            write_split(workdir / method / split, clips, make_maps_fn(compiled, config.batch, most), about)
    print(f'{workdir}: maps by {", ".join(methods)}')


def _of_batch(variables, batch, *, model, method, samples):
    maps = class_maps(variables, batch['frames'], batch['tags'], model=model, method=method, samples=samples)
    return jnp.round(255 * maps).astype(jnp.uint8)


def make_maps_fn(compiled: Callable[[Mapping[str, np.ndarray]], jax.Array], batch: int, most: int) -> MapsOfClip:
    """`(frames, tags) -> maps`, by a function of batches of `frames` and `tags`.

    Args:
        compiled: the function, on this process's devices.
        batch: frames of a device at a time.
        most: tags of a clip, at most.
    """
    size = batch * jax.local_device_count()

    def maps_of_clip(frames, tags):
        found, classes = [], np.pad(tags, (0, most - len(tags)), constant_values=-1)
        for start in range(0, len(frames), size):
            places = np.minimum(np.arange(start, start + size), len(frames) - 1)  # the last batch is filled up
            found.append(np.asarray(compiled({'frames': frames[places], 'tags': np.tile(classes, (size, 1))})))
        return np.concatenate(found)[:len(frames)]
    return maps_of_clip


def write_split(out: pathlib.Path, clips: Clips, maps_of_clip: MapsOfClip, about: Mapping[str, object]) -> None:
    """Writes the maps of one split that are missing, and its manifest, whose lines also say what is `about` all of them."""
    names = clips.names

    def make(missing: list[int]) -> Iterator[tuple[int, Callable[[pathlib.Path], object]]]:
        for clip in missing:
            frames = np.stack([clips.frame(clip, k) for k in range(clips.clips[clip]['frames'])])
            maps = maps_of_clip(frames, np.asarray(clips.clips[clip]['tags'], np.int32))
            rows = [{'clip': names[clip], 'frame': k + 1, 'tag': clips.tag_names(clip), 'empty': not map_.any(), **about}
                    for k, map_ in enumerate(maps)]
            yield clip, functools.partial(write_maps, maps, rows)

    write_missing(out, names, [clip['frames'] for clip in clips.clips], make, 'frame')
    if jax.process_index() == 0:
        replace_text(out / 'manifest.jsonl', ''.join((out / name / 'frames.jsonl').read_text() for name in names))
    barrier(f'{out} listed')
