"""Whole stretches of clips, read once, as the nets that make maps take them."""
import functools

import numpy as np

from stanet_jax.data.batches import iterate_in_order
from stanet_jax.data.fragments import WHOLE, read_fragment, sample_fragments
from stanet_jax.media.sound import audio_window_bounds, log_spectrogram
from stanet_jax.models import branch


def stretches(clips, chosen, length):
    """`(clip, first frame)` of the stretches of `length` frames that the chosen clips are cut into; the last one may run over."""
    return [(i, start) for i in chosen for start in range(0, clips.clips[i]['frames'], length)]


def read_stretch(clips, annotations, length, stretch):
    """A stretch as `source_maps` takes it (without the axis b), every frame and every second of sound read once."""
    clip, start = stretch
    info, span = clips.clips[clip], range(start, start + length)
    last = info['frames'] - 1
    known = [annotations(clip, min(k, last)) for k in span]
    sounds = {}
    for k in span:
        window = audio_window_bounds(info['samples'], min(k, last) / clips.rate)
        if window not in sounds:  # at a clip's ends several frames share one
            sounds[window] = log_spectrogram(clips.sound(clip, min(k, last) / clips.rate))
        known[k - start]['audio'] = sounds[window]
    frames = {k: clips.frame(clip, k) for k in sorted({min(max(k, 0), last) for k in range(start - 1, start + length + 1)})}
    h, w = next(iter(frames.values())).shape[:2]
    return {'frames': np.stack([frames[min(max(k, 0), last)] for k in range(start - 1, start + length + 1)]),
            'tags': np.eye(len(clips.categories), dtype=np.float32)[info['tag']],
            'boxes': np.float32([k.get('box', WHOLE) for k in known]) * np.float32([h, w, h, w]),
            'audio': np.stack([k['audio'] for k in known]),
            'phi': np.float32([k.get('phi', 1) * (info['samples'] > 0) for k in known])}


def read_companions(clips, annotations, nets, count, clip, length):
    """What `plus_maps` takes of a clip beyond `read_stretch`: the places of its other fragments, and `count` triples of other
    clips of the tag.

    These last are the same for all of the clip's frames, so that they are read once.
    """
    info = clips.clips[clip]
    places = {}
    for net in nets:
        source, granularity = branch.parse_net(net)
        if granularity != 'cross':
            targets, frames = np.minimum(range(length), info['frames'] - 1), branch.FRAMES[source]
            of = [sample_fragments(clips, clip, int(k), frames, granularity, count) for k in targets]
            places[net] = np.int32([[k for _, k in row] for row in of])
    cross = sample_fragments(clips, clip, 0, 3, 'cross', count)
    found = [read_fragment(clips, *place, 3, True) | annotations(*place) for place in cross]
    return {'length': np.int32(info['frames']), 'places': places, 'cross_frames': np.stack([of['frames'] for of in found]),
            'cross_audio': np.stack([of['audio'] for of in found]), 'cross_phi': np.float32([of['phi'] for of in found])}


def iterate_stretches(clips, annotations, items, length, batch, workers, plus=(), count=0):
    """Batches of `batch` stretches, in order, by way of grain; the last one filled up with its last stretch.

    For the nets `plus`, stretches are whole clips, and come with their `read_companions`.
    """
    return iterate_in_order(functools.partial(_load, clips, annotations, length, plus, count), items, batch, workers)


def _load(clips, annotations, length, plus, count, item):
    found = read_stretch(clips, annotations, length, item)
    return {**found, **read_companions(clips, annotations, plus, count, item[0], length)} if plus else found
