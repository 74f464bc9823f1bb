"""Stretches of consecutive frames of clips, each frame and second of sound read once, as the nets that make maps take them."""
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from stanet_jax.data.batches import iterate_in_order
from stanet_jax.data.clips import Clips
from stanet_jax.data.fragments import WHOLE, AnnotationFn, read_fragment, sample_fragments
from stanet_jax.models import branch

Stretch = tuple[int, int]  # (clip, first frame)


def stretches(clips: Clips, chosen: Iterable[int], length: int) -> list[Stretch]:
    """Cuts the chosen clips into stretches of `length` frames; a clip's last one may extend beyond its end."""
    return [(i, start) for i in chosen for start in range(0, clips.clips[i]['frames'], length)]


def read_stretch(clips: Clips, annotations: AnnotationFn, length: int, front_end: str, stretch: Stretch) -> dict[str, np.ndarray]:
    """Reads a stretch of n = `length` frames; frames beyond the clip's ends repeat its first or last one.

    Args:
        clips: of one split.
        annotations: gives the `box` and `phi` of frames.
        length: n.
        front_end: which of `sound.FRONT_ENDS` makes what is heard; '' for no sound.
        stretch: which frames.
    Returns:
        A dict of `frames` uint8 [n + 2, h, w, 3], the stretch's and one more at each end; `tags` [c], multi-hot; and of each frame its
        `boxes` [n, 4], (y0, x0, y1, x1) in pixels, `audio` [n, f, t], and `phi` [n], 0 where the clip is silent. Where encoders are
        frozen, `C5` [n, 3, h', w', c], of each frame and its neighbours, and `embedding` [n, d] are in the place of `frames` and `audio`.
    """
    clip, start = stretch
    info, span = clips.clips[clip], range(start, start + length)
    last = info['frames'] - 1
    known = [annotations(clip, min(k, last)) for k in span]
    result = {'tags': clips.multi_hot(clip),
              'boxes': np.array([k.get('box', WHOLE) for k in known], np.float32) * np.float32(clips.side),
              'phi': np.array([k.get('phi', 1) * (info['samples'] > 0) for k in known], np.float32)}
    if clips.features:
        seen = [clips.features.seen(info, k, 3)['C5'] for k in span]
        return {**result, 'C5': np.stack(seen), 'embedding': np.stack([clips.features.heard(info, k) for k in span])}
    frames = {k: clips.frame(clip, k) for k in sorted({min(max(k, 0), last) for k in range(start - 1, start + length + 1)})}
    result['frames'] = np.stack([frames[min(max(k, 0), last)] for k in range(start - 1, start + length + 1)])
    return {**result, 'audio': read_sounds(clips, clip, span, front_end)} if front_end else result


def read_sounds(clips: Clips, clip: int, span: range, front_end: str) -> Float[np.ndarray, 'n f t']:
    """Reads what is heard around each of n frames of a clip; beyond its end, around its last one. `front_end` as in `read_stretch`."""
    info, sounds, heard = clips.clips[clip], {}, []
    for k in span:
        frame = min(k, info['frames'] - 1)
        window = clips.heard_bounds(clip, frame, front_end)
        if window not in sounds:  # at a clip's ends several frames share one
            sounds[window] = clips.heard(clip, frame, front_end)
        heard.append(sounds[window])
    return np.stack(heard)


def read_companions(clips: Clips, annotations: AnnotationFn, nets: Sequence[str], count: int, clip: int, length: int,
                    front_end: str) -> dict[str, Any]:
    """Reads what the nets of SCAM+ see of a clip of n = `length` frames beyond `read_stretch`: its frames' other fragments.

    Cross-term fragments are the same for all of the clip's frames, so that they are read once.

    Args:
        clips, annotations: as `read_stretch` takes them.
        nets: names such as 'SA_long': a source and a granularity.
        count: m, the other fragments that a frame has.
        clip: index of the clip.
        length: to which clips are padded.
        front_end: as in `read_stretch`.
    Returns:
        A dict of `length`, the clip's own number of frames; `places` {net: int32 [n, m]}, the middle frames of the short- and long-term
        fragments; and of m fragments of other clips of the tag the `cross_frames` uint8 [m, 3, h, w, 3], `cross_audio` [m, f, t] and
        `cross_phi` [m]. Where encoders are frozen, `whole_C5` [n, h', w', c], of the clip's whole frames, and `cross_C5`
        [m, 3, h', w', c] and `cross_embedding` [m, d] are in the place of frames and sounds.
    """
    clips, info = clips.with_features(clips.whole), clips.clips[clip]
    places = {}
    for net in nets:
        source, granularity = branch.parse_net(net)
        if granularity != 'cross':
            targets, frames = np.minimum(range(length), info['frames'] - 1), branch.FRAMES[source]
            others = [sample_fragments(clips, clip, int(k), frames, granularity, count) for k in targets]
            places[net] = np.array([[k for _, k in row] for row in others], np.int32)
    cross: list[dict[str, Any]] = [read_fragment(clips, *place, 3, front_end) | annotations(*place)
                                   for place in sample_fragments(clips, clip, 0, 3, 'cross', count)]
    result = {'length': np.int32(info['frames']), 'places': places, 'cross_phi': np.array([x['phi'] for x in cross], np.float32)}
    if clips.features:
        result['whole_C5'] = np.concatenate([clips.features.seen(info, k, 1)['C5'] for k in range(length)])
    return result | {f'cross_{k}': np.stack([x[k] for x in cross]) for k in ('frames', 'audio', 'C5', 'embedding') if k in cross[0]}


def iterate_stretches(clips: Clips, annotations: AnnotationFn, items: list[Stretch], length: int, batch: int, workers: int,
                      front_end: str, plus: Sequence[str] = (), count: int = 0) -> Iterator[dict[str, Any]]:
    """Yields batches of `batch` stretches, in order; the last one is filled up with its last stretch.

    Args:
        clips, annotations: see `read_stretch`.
        items: stretches of `length` frames; with `plus` they must be whole clips.
        batch: stretches of a batch.
        workers: processes that read; 0 reads in threads of this one.
        front_end: see `read_stretch`.
        plus: nets of SCAM+, for which stretches come with their `read_companions`.
        count: other fragments of each frame for these nets.
    """
    return iterate_in_order(functools.partial(_load, clips, annotations, length, front_end, plus, count), items, batch, workers)


def _load(clips, annotations, length, front_end, plus, count, item):
    found = read_stretch(clips, annotations, length, front_end, item)
    return {**found, **read_companions(clips, annotations, plus, count, item[0], length, front_end)} if plus else found
