"""What every source makes of every frame: class activation maps and confidences, for whole clips."""
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import scam
from stanet_jax.data import augmentation
from stanet_jax.data.stretches import iterate_stretches, stretches
from stanet_jax.models import branch
from stanet_jax.stages.nets import make_classifier, predict_tags
from stanet_jax.training import checkpoint, sharding
from stanet_jax.workdir import read_config

# --------------------------------------------------------------------------------------------------------------- on devices


class SourceMaps(NamedTuple):
    """Class activation maps [b, n, s, h', w'] in [0, 1] of the tag, and confidences [b, n, s, c], of s sources and n frames each."""
    cams: Any
    confidence: Any


def source_maps(variables, batch, *, models):
    """Every source's view of stretches of n frames, each cropped to its box.

    Args:
        variables: {source: variables}; models: {source: Classifier}.
        batch: `frames` uint8 [b, n + 2, h, w, 3], n frames and one more at each end; `boxes` [b, n, 4], (y0, x0, y1, x1) in pixels;
            `tags` [b, c]; `audio` [b, n, 257, T] and `phi` [b, n].
    Returns:
        SourceMaps
    """
    b, n = batch['boxes'].shape[:2]
    shape = batch['frames'].shape[2:4]

    def triples(frames, boxes):
        neighbours = jnp.stack([frames[k:k + n] for k in range(3)], axis=1)
        cut = jax.vmap(jax.vmap(functools.partial(scam.crop, shape=shape), in_axes=(0, None)))
        return cut(neighbours.astype(jnp.float32), boxes)

    frames = jax.vmap(triples)(batch['frames'], batch['boxes']).reshape(b * n, 3, *shape, 3)
    tags = jnp.repeat(batch['tags'], n, axis=0)
    cams, confidences = [], []
    for source, model in models.items():
        example = {'frames': frames if branch.FRAMES[source] == 3 else frames[:, 1:2], 'tags': tags,
                   'audio': batch['audio'].reshape(b * n, *batch['audio'].shape[2:]), 'phi': batch['phi'].reshape(b * n)}
        logits, cam = predict_tags(variables[source], example, model=model)
        cams.append(cam)
        confidences.append(jax.nn.softmax(logits))
    return SourceMaps(jnp.stack(cams, 1).reshape(b, n, len(models), *cams[0].shape[1:]),
                      jnp.stack(confidences, 1).reshape(b, n, len(models), -1))


def plus_maps(variables, batch, *, models, side):
    """The views of S+, SA+ and ST+ of whole clips; each net encodes a frame once, however many fragments it is in.

    Args:
        variables: {net: variables}; models: {net: ClassifierPlus}.
        batch: as `source_maps` takes it, n frames being all of a clip, and, see `read_companions`, `length` [b], `places` {net: [b, n, m]},
            `cross_frames` [b, m, 3, h, w, 3], `cross_audio` [b, m, 257, T] and `cross_phi` [b, m].
        side: of the frames that the nets were trained on; others are resized.
    Returns:
        As `source_maps`.
    """
    b, n = batch['phi'].shape
    last, cams, confidences = batch['length'] - 1, [], []
    for net, model in models.items():
        source, _, granularity = net.partition('_')
        reach, apply = jnp.arange(branch.FRAMES[source]) - branch.FRAMES[source] // 2, functools.partial(model.apply, variables[net])

        def nodes_of(seen, heard, phi, apply=apply):  # [b, k, t, h', w', f], [b, k, d], [b, k] -> [b, k, h', w', c]
            flat = (None if x is None else x.reshape(-1, *x.shape[2:]) for x in (seen, heard, phi))
            nodes = apply(*flat, method='node')
            return nodes.reshape(*seen.shape[:2], *nodes.shape[1:])

        def see(frames, apply=apply):  # [b, ..., h, w, 3] -> C5
            x = augmentation.normalise(frames)
            x = x if x.shape[-2] == side else jax.image.resize(x, (*x.shape[:-3], side, side, 3), 'linear')
            return apply(x, method='encode_frames')['C5']

        def at(values, places, last=last):  # [b, k, ...], [b, ...] -> [b, ..., ...]: the values at these places of each clip
            return jax.vmap(lambda of, where, end: of[jnp.clip(where, 0, end)])(values, places, last)

        # The nodes of all moments from one before the first, whose frames are all the first, to one after the last.
        moments = jnp.broadcast_to(jnp.arange(-1, n + 1), (b, n + 2))
        seen = at(see(batch['frames'][:, 1:-1]), moments[..., None] + reach)
        sound = (at(apply(batch['audio'], method='encode_audio'), moments), at(batch['phi'], moments)) if source == 'SA' else (None, None)
        nodes = nodes_of(seen, *sound)
        targets = nodes[:, 1:-1, None]
        if granularity == 'cross':
            seen = see(batch['cross_frames'][:, :, 1 + reach])
            sound = (apply(batch['cross_audio'], method='encode_audio'), batch['cross_phi']) if source == 'SA' else (None, None)
            found = nodes_of(seen, *sound)[:, None]
            found = jnp.broadcast_to(found, (b, n, *found.shape[2:]))
        else:
            found = at(nodes, batch['places'][net] + 1, last + 2)
        every = jnp.concatenate([targets, found], axis=2)
        logits, out = apply(every.reshape(b * n, *every.shape[2:]), method='reason')
        cams.append(scam.class_activation(out['maps'], jnp.repeat(batch['tags'], n, axis=0)))
        confidences.append(jax.nn.softmax(logits))
    return SourceMaps(jnp.stack(cams, 1).reshape(b, n, len(models), *cams[0].shape[1:]),
                      jnp.stack(confidences, 1).reshape(b, n, len(models), -1))


class Nets(NamedTuple):
    """Trained nets of a run, in the order of their sources.

    Attributes:
        models: {net: Classifier}; variables: {net: variables}.
        side: pixels of the frames that they were trained on.
        fragments: how many others each of S+, SA+ and ST+ sees.
    """
    models: dict
    variables: dict
    side: int = 0
    fragments: int = 0


def load_nets(run, sources, classes):
    """The nets of the run in a folder that are among the sources; none where `run` is ''."""
    if not run:
        return Nets({}, {})
    config = read_config(run)
    names = [s for s in config.nets if s in sources]
    return Nets({s: make_classifier(config, s, classes) for s in names},
                {s: checkpoint.load_variables(pathlib.Path(run) / s / 'variables') for s in names},
                config.data.side, config.get('fragments', 0))


def make_source_maps_fn(nets, plus):
    """`batch -> (source_maps of nets, plus_maps of plus)`, None where there are none, compiled for this process's devices.

    A batch holds a stretch for each device.
    """
    def source_maps_fn(variables, batch):
        return (source_maps(variables[0], batch, models=nets.models) if nets.models else None,
                plus_maps(variables[1], batch, models=plus.models, side=plus.side) if plus.models else None)

    return sharding.on_local_devices(source_maps_fn, (nets.variables, plus.variables))


class ClipSources(NamedTuple):
    """What the sources make of the t frames of a clip.

    Attributes:
        plain: `SourceMaps` of S, SA and ST, [t, ...], or None.
        plus: the same of the nets of SCAM+, which see whole frames, or None.
        boxes: [t, 4], where the frames were cropped for the plain ones, in pixels; phi: [t], the audio switch; tags: [c].
    """
    plain: SourceMaps | None
    plus: SourceMaps | None
    boxes: np.ndarray
    phi: np.ndarray
    tags: np.ndarray


def iterate_source_maps(clips, annotations, chosen, source_maps_fn, plus, *, stretch, workers):
    """Yields (clip, ClipSources) of the chosen clips.

    Args:
        clips: a `clips.Clips`; annotations: of them.
        source_maps_fn: see `make_source_maps_fn`; plus: its `Nets` of SCAM+, with any of which stretches are whole clips.
        stretch: frames that a device takes at once; workers: processes that read, 0 for threads.
    """
    devices, parts = jax.local_device_count(), []
    length = max(clip['frames'] for clip in clips.clips) if plus.models else stretch
    items = stretches(clips, chosen, length)
    batches = iterate_stretches(clips, annotations, items, length, devices, workers, tuple(plus.models), plus.fragments) if items else ()
    for number, batch in enumerate(batches):
        seen = (*jax.device_get(source_maps_fn(batch)), batch['boxes'], batch['phi'])
        for i, (clip, start) in enumerate(items[number * devices:(number + 1) * devices]):
            frames = clips.clips[clip]['frames']
            parts.append(jax.tree.map(lambda x, i=i, end=frames - start: x[i, :end], seen))
            if start + length >= frames:
                yield clip, ClipSources(*jax.tree.map(lambda *x: np.concatenate(x), *parts), batch['tags'][i])
                parts = []
