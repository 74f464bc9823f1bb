"""The class activation maps and confidences of all sources (S, SA, ST and S+, SA+, ST+) for every frame of a clip."""
import functools
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num
from ml_collections import ConfigDict

from stanet_jax import InputError, scam
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data.clips import Clips
from stanet_jax.data.stretches import iterate_stretches, stretches
from stanet_jax.models import backbones, branch
from stanet_jax.models.classifiers import Classifier
from stanet_jax.models.release import parts
from stanet_jax.stages import released
from stanet_jax.stages.features import crop_triples
from stanet_jax.stages.nets import make_classifier, predict_tags
from stanet_jax.training import checkpoint, sharding
from stanet_jax.workdir import read_config

# --------------------------------------------------------------------------------------------------------------- on devices


class SourceMaps(NamedTuple):
    """What s sources predict for frames, which are n of each of b clips, or t of one.

    Attributes:
        cams: class activation maps of the clip's tag, in [0, 1].
        confidence: probabilities of the c classes.
    """
    cams: Float[AnyArray, '*frames s h w']
    confidence: Float[AnyArray, '*frames s c']


def source_maps(variables: Mapping[str, Variables], batch: Mapping[str, Any], *, models: Mapping[str, Any],
                centred: bool = False) -> SourceMaps:
    """The maps of S, SA and ST for stretches of n frames, each frame cropped to its box.

    Args:
        variables: by source.
        batch: see `stretches.read_stretch`: `frames` uint8 [b, n + 2, h, w, 3], the n frames and one more at each end; `boxes`
            [b, n, 4], (y0, x0, y1, x1) in pixels; `tags` [b, c]; `audio` [b, n, f, t]; and `phi` [b, n], the audio switch; or `C5` and
            `embedding` in the place of frames and audio.
        models: by source.
        centred: see `scam.class_activation`.
    """
    b, n = batch['boxes'].shape[:2]
    flat = {k: batch[k].reshape(b * n, *batch[k].shape[2:]) for k in ('C5', 'audio', 'embedding', 'phi') if k in batch}
    if 'frames' in batch:
        frames = crop_triples(batch['frames'], batch['boxes'])
        flat['frames'] = frames.reshape(b * n, *frames.shape[2:])
    tags = jnp.repeat(batch['tags'], n, axis=0)
    cams, logits = [], []
    for source, model in models.items():
        one = branch.FRAMES[source] == 1
        example: dict[str, Any] = {**flat, 'tags': tags, **{k: flat[k][:, 1:2] for k in ('frames', 'C5') if one and k in flat}}
        predicted = predict_tags(variables[source], example, model=model, centred=centred)
        cams.append(predicted.cam)
        logits.append(predicted.logits)
    return _stack_sources(cams, logits, n)


def plus_maps(variables: Mapping[str, Variables], batch: Mapping[str, Any], *, models: Mapping[str, Any], side: int,
              centred: bool = False) -> SourceMaps:
    """The maps of S+, SA+ and ST+ for whole clips; a net encodes each frame once, however many fragments it is in.

    Args:
        variables: by net.
        batch: as of `source_maps`, with all n frames of a clip, and, see `stretches.read_companions`: `length` [b]; `places`
            {net: [b, n, m]}, the moments of the m further fragments of each frame; `cross_frames` uint8 [b, m, 3, h, w, 3],
            `cross_audio` [b, m, f, t] and `cross_phi` [b, m], fragments of other clips of the tag; or features in their place.
        models: {net: ClassifierPlus}.
        side: of the frames that the nets were trained on, in pixels; other frames are resized.
        centred: see `scam.class_activation`.
    """
    b, n = batch['phi'].shape
    last, cams, scores, frozen = batch['length'] - 1, [], [], 'whole_C5' in batch
    for net, model in models.items():
        source, granularity = branch.parse_net(net)
        reach, apply = jnp.arange(branch.FRAMES[source]) - branch.FRAMES[source] // 2, functools.partial(model.apply, variables[net])

        def nodes_of(seen, heard, phi, apply=apply):  # [b, k, t, h', w', f], [b, k, d], [b, k] -> [b, k, h', w', c]
            flat = (None if x is None else x.reshape(-1, *x.shape[2:]) for x in (seen, heard, phi))
            nodes = apply(*flat, method='node')
            return nodes.reshape(*seen.shape[:2], *nodes.shape[1:])

        def encode(frames, apply=apply, encoder=model.encoder):  # [b, ..., h, w, 3] -> C5
            x = backbones.normalise(encoder, frames)
            x = x if x.shape[-2] == side else jax.image.resize(x, (*x.shape[:-3], side, side, 3), 'linear')
            return apply(x, method='encode_frames')['C5']

        def at(values, places, last=last):  # [b, k, ...], [b, ...] -> [b, ..., ...]: the values at these places of each clip
            return jax.vmap(lambda of, where, end: of[jnp.clip(where, 0, end)])(values, places, last)

        # The nodes of all moments from one before the first, whose frames are all the first, to one after the last.
        moments = jnp.broadcast_to(jnp.arange(-1, n + 1), (b, n + 2))
        seen = at(batch['whole_C5'] if frozen else encode(batch['frames'][:, 1:-1]), moments[..., None] + reach)
        sound = (None, None)
        if source == 'SA':
            sound = at(batch['embedding'] if frozen else apply(batch['audio'], method='encode_audio'), moments), at(batch['phi'], moments)
        nodes = nodes_of(seen, *sound)
        targets = nodes[:, 1:-1, None]
        if granularity == 'cross':
            seen = batch['cross_C5'][:, :, 1 + reach] if frozen else encode(batch['cross_frames'][:, :, 1 + reach])
            if source == 'SA':
                heard = batch['cross_embedding'] if frozen else apply(batch['cross_audio'], method='encode_audio')
                sound = heard, batch['cross_phi']
            companions = nodes_of(seen, *sound)[:, None]
            companions = jnp.broadcast_to(companions, (b, n, *companions.shape[2:]))
        else:
            companions = at(nodes, batch['places'][net] + 1, last + 2)
        every = jnp.concatenate([targets, companions], axis=2)
        logits, out = apply(every.reshape(b * n, *every.shape[2:]), method='reason')
        cams.append(scam.class_activation(out['maps'], jnp.repeat(batch['tags'], n, axis=0), centred))
        scores.append(logits)
    return _stack_sources(cams, scores, n)


def _stack_sources(cams, logits, n):
    """SourceMaps of b clips, from each source's maps [b n, h, w] and logits [b n, c]."""
    cams, confidence = jnp.stack(cams, 1), jnp.stack([jax.nn.softmax(of) for of in logits], 1)
    return SourceMaps(*(x.reshape(-1, n, *x.shape[1:]) for x in (cams, confidence)))


# --------------------------------------------------------------------------------------------------------------- whole clips


class Nets(NamedTuple):
    """Trained nets of a run, in the order of its config.

    Attributes:
        models: by name.
        variables: by name.
        side: of the frames that they were trained on, in pixels.
        fragments: how many further fragments each of S+, SA+ and ST+ takes.
    """
    models: Mapping[str, Classifier | released.Source]
    variables: Mapping[str, Variables]
    side: int = 0
    fragments: int = 0


def load_nets(run: str | os.PathLike, sources: Collection[str], classes: int) -> Nets:
    """The nets of a run that are among the sources.

    Args:
        run: folder of the run; '' for no nets.
        sources: names of nets.
        classes: that the nets were trained on.
    Raises:
        InputError: no such run, or a net of it is not trained, or is a released one and the set has other than its 28 classes.
    """
    if not run:
        return Nets({}, {})
    config: ConfigDict = read_config(run)
    if config.get('task') == released.TASK:
        if classes != parts.CLASSES:
            raise InputError(f'{run}: released nets tell {parts.CLASSES} classes apart, those of AVE; the set has {classes}')
        nets = released.read(run, sources)
        return Nets({name: released.Source(net.module) for name, net in nets.items()}, {name: net.variables for name, net in nets.items()},
                    config.data.side, 2)
    names = [name for name in config.nets if name in sources]
    return Nets({name: make_classifier(config, name, classes) for name in names},
                {name: checkpoint.load_variables(pathlib.Path(run) / name / 'variables') for name in names},
                config.data.side, config.get('fragments', 0))


def make_source_maps_fn(nets: Nets, plus: Nets, centred: bool = False,
                        ) -> Callable[[Mapping[str, Any]], tuple[SourceMaps | None, SourceMaps | None]]:
    """`batch -> (source_maps of nets, plus_maps of plus)`, compiled for this process's devices; None in place of maps of no nets.

    A batch holds one stretch for each device.
    """
    def source_maps_fn(variables, batch):
        return (source_maps(variables[0], batch, models=nets.models, centred=centred) if nets.models else None,
                plus_maps(variables[1], batch, models=plus.models, side=plus.side, centred=centred) if plus.models else None)

    return sharding.on_local_devices(source_maps_fn, (nets.variables, plus.variables))


class ClipSources(NamedTuple):
    """The maps of all sources for the t frames of a clip.

    Attributes:
        plain: of S, SA and ST, which see the crops; or None.
        plus: of S+, SA+ and ST+, which see whole frames; or None.
        boxes: (y0, x0, y1, x1) of the crops, in pixels.
        phi: the audio switch.
        tags: multi-hot.
    """
    plain: SourceMaps | None
    plus: SourceMaps | None
    boxes: Float[np.ndarray, 't 4']
    phi: Float[np.ndarray, ' t']
    tags: Num[np.ndarray, ' c']


def iterate_source_maps(clips: Clips, annotations: Callable[[int, int], dict[str, Any]], chosen: Sequence[int],
                        source_maps_fn: Callable[[Mapping[str, Any]], tuple[SourceMaps | None, SourceMaps | None]], plus: Nets, *,
                        stretch: int, workers: int, front_end: str) -> Iterator[tuple[int, ClipSources]]:
    """Yields (clip, ClipSources) of the chosen clips, in order.

    Args:
        clips: of one split.
        annotations: `(clip, frame) -> dict`, see `annotations.Annotations`.
        chosen: indices of clips.
        source_maps_fn: see `make_source_maps_fn`.
        plus: nets of SCAM+. Where there are any, stretches are whole clips.
        stretch: how many frames a device computes at a time.
        workers: processes that read; 0 for threads.
        front_end: which of `sound.FRONT_ENDS` makes what the nets hear.
    """
    devices, parts = jax.local_device_count(), []
    length = max(clip['frames'] for clip in clips.clips) if plus.models else stretch
    items = stretches(clips, chosen, length)
    batches = iterate_stretches(clips, annotations, items, length, devices, workers, front_end, tuple(plus.models),
                                plus.fragments) if items else ()
    for number, batch in enumerate(batches):
        seen = (*jax.device_get(source_maps_fn(batch)), batch['boxes'], batch['phi'])
        for i, (clip, start) in enumerate(items[number * devices:(number + 1) * devices]):
            frames = clips.clips[clip]['frames']
            parts.append(jax.tree.map(lambda x, i=i, end=frames - start: x[i, :end], seen))
            if start + length >= frames:
                plain, with_plus, boxes, phi = jax.tree.map(lambda *x: np.concatenate(x), *parts)
                yield clip, ClipSources(plain, with_plus, boxes, phi, batch['tags'][i])
                parts = []
