"""Fragments: the target frame, its neighbours, a second of sound and the tag, read at random; and batches of them.

Which frames an epoch draws, in which order, and how each is cropped is a pure function of (seed, epoch, index): a resumed or
re-sharded run sees the same examples.
"""
import dataclasses
from typing import Any

import numpy as np
import PIL.Image

from stanet_jax.media.sound import log_spectrogram


def target_frame(clips, per_clip, index, rng=None):
    """The (clip, frame) of example `index`.

    A clip is cut into `per_clip` equal parts; an example is one frame of one part: a random one, or, without `rng`, the middle.
    """
    clip, part = divmod(index, per_clip)
    place = (part + (0.5 if rng is None else rng.uniform())) / per_clip
    frames = clips.clips[clip]['frames']
    return clip, min(int(place * frames), frames - 1)


WHOLE = (0.0, 0.0, 1.0, 1.0)
GUARD = 4  # long-term fragments lie outside `frame - GUARD ... frame + GUARD`


def random_box(box, least, rng):
    """A random box, of `least` to all of each side of `box` (y0, x0, y1, x1, shares of the frame), within it."""
    y0, x0, y1, x1 = box
    scale = rng.uniform(least, 1)
    x, y = rng.uniform(0, 1 - scale, 2)
    height, width = y1 - y0, x1 - x0
    return y0 + y * height, x0 + x * width, y0 + (y + scale) * height, x0 + (x + scale) * width


def crop_images(images, box=WHOLE, mirror=False):
    """Cuts `box` (y0, x0, y1, x1, shares of the frame) out of PIL images and resizes it back; uint8 [t, h, w, 3] or [t, h, w]."""
    if tuple(box) != WHOLE:
        y0, x0, y1, x1 = box
        w, h = images[0].size
        images = [i.resize((w, h), PIL.Image.Resampling.BILINEAR, box=(x0 * w, y0 * h, x1 * w, y1 * h)) for i in images]
    if mirror:  # by Pillow: a mirrored view takes ten times as long to batch
        images = [i.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) for i in images]
    return np.stack([np.asarray(i) for i in images])


def read_fragment(clips, clip, frame, frames=1, sound=False, box=WHOLE, mirror=False):
    """What the nets see of the moment `frame` of a clip.

    Returns:
        A dict of `tags` float32 [c], multi-hot, and `clip`, its index. With `frames` = t > 0, also `frames` uint8 [t, h, w, 3],
        the target in the middle, indices clamped at the clip's ends, each cut by `crop_images`. With `sound`, also `audio`
        float32 [257, 98], the log-spectrogram of the second around the target, and `phi`, 0 where the clip has no sound, else 1.
    """
    info = clips.clips[clip]
    result = {'tags': np.eye(len(clips.categories), dtype=np.float32)[info['tag']], 'clip': np.int32(clip)}
    if frames:
        result['frames'] = crop_images([clips.image(clip, frame + k - frames // 2) for k in range(frames)], box, mirror)
    if sound:
        result['audio'] = log_spectrogram(clips.sound(clip, frame / clips.rate))
        result['phi'] = np.float32(info['samples'] > 0)
    return result


def sample_fragments(clips, clip, frame, frames, granularity, count, rng=None):
    """The other fragments of a target (TPAMI Sec. 4), `count` of them: a list of (clip, frame in their middle).

    short: the nearest on both sides, just beside the target, or for triples beyond `frame - 1 ... frame + 1`; clamped at the clip's ends
        frame by frame, so that their middle may lie outside.
    long: random ones of the clip outside `frame - 4 ... frame + 4`; where there are too few, the farthest.
    cross: random ones of other clips of the tag; of this clip where the tag has no other.

    Args:
        frames: of a fragment, 1 or 3.
        rng: by default a generator of (clip, frame) alone.
    """
    if granularity == 'short':
        return [(clip, frame + (-1) ** (k + 1) * frames * (k // 2 + 1)) for k in range(count)]
    rng = np.random.default_rng([clip, frame]) if rng is None else rng
    if granularity == 'long':
        distance = np.abs(np.arange(clips.clips[clip]['frames']) - frame)
        found = np.flatnonzero(distance > GUARD + frames // 2)
        if len(found) < count:
            found = np.argsort(-distance, kind='stable')[:count]
        return [(clip, int(k)) for k in rng.choice(found, count, replace=len(found) < count)]
    same = [i for i in clips.of_tag(clips.clips[clip]['tag']) if i != clip] or [clip]
    return [(int(i), int(rng.integers(clips.clips[i]['frames']))) for i in rng.choice(same, count, replace=len(same) < count)]


def describe_shortage(clips, frames, granularity, count):
    """What `sample_fragments` cannot give as it should, in words; '' where nothing is short."""
    if granularity == 'long':
        def away(length):  # how many frames lie far enough from the one that has the fewest such
            return min(sum(abs(k - t) > GUARD + frames // 2 for k in range(length)) for t in {0, length // 2, length - 1})
        enough = {length: away(length) >= count for length in {clip['frames'] for clip in clips.clips}}
        few = sum(not enough[clip['frames']] for clip in clips.clips)
        return f'{few} of {len(clips)} clips are too short for long-term fragments: their farthest frames are taken' if few else ''
    tags = {clip['tag'] for clip in clips.clips}
    alone = [tag for tag in tags if len(clips.of_tag(tag)) == 1] if granularity == 'cross' else []
    return f'{len(alone)} of {len(tags)} tags have one clip alone: its own frames are taken for cross-term fragments' if alone else ''


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of a training: a pure function of their index and, for augmentation, of a random generator.

    Attributes:
        clips: a `clips.Clips`.
        per_clip: examples that a clip gives in an epoch.
        frames, sound: see `read_fragment`.
        annotations: `(clip, frame) -> dict` of what else is known of a moment, see `annotations.Annotations`: it replaces `phi` or
            `tags`, `mask` False takes the example out; `target`, a PIL image, is cropped like the frames; `box` (y0, x0, y1, x1,
            shares of the frame) is what the frames are cropped to, that of the target for all, and is not handed on.
        draw: `(index, rng) -> (clip, frame)` in place of `target_frame`.
        least_crop: side of the smallest random crop, as a share.
        granularity: 'short', 'long' or 'cross': `frames`, `audio`, `phi` and `target` get an axis in front for the target and its `count`
            others; with `target`, `known` [1 + count] tells which of them count, and `mask` is True where one does.
    """
    clips: Any
    per_clip: int
    frames: int = 0
    sound: bool = False
    annotations: Any = None
    draw: Any = None
    least_crop: float = 1.0
    granularity: str = ''
    count: int = 2

    def __len__(self):
        return len(self.clips) * self.per_clip

    def example(self, index, rng=None):
        """Example `index` as a dict of arrays, augmented by `rng`; with `mask`, whether it counts."""
        return self.at(*(self.draw(index, rng) if self.draw else target_frame(self.clips, self.per_clip, index, rng)), rng)

    def at(self, clip, frame, rng=None):
        """The example of a moment."""
        places, known = [(clip, frame)], self.known(clip, frame)
        box, mirror = known.get('box', WHOLE), False
        if rng is not None:
            box, mirror = random_box(box, self.least_crop, rng), rng.uniform() < 0.5
        if self.granularity:
            places += sample_fragments(self.clips, clip, frame, self.frames, self.granularity, self.count, rng)
        found = [{'mask': np.True_, **read_fragment(self.clips, *place, self.frames, self.sound, box, mirror),
                  **self.cut(known if k == 0 else self.known(*place), box, mirror)} for k, place in enumerate(places)]
        if not self.granularity:
            return found[0]
        stacked = {k: np.stack([of[k] for of in found]) for k in ('frames', 'audio', 'phi', 'target') if k in found[0]}
        if 'target' in stacked:
            stacked['known'] = np.stack([of['mask'] for of in found])
            stacked['mask'] = stacked['known'].any()
        return {**found[0], **stacked}

    def known(self, clip, frame):
        """What the annotations know of a moment; of what lies outside of the clip, that of its end."""
        return self.annotations(clip, min(max(frame, 0), self.clips.clips[clip]['frames'] - 1)) if self.annotations else {}

    @staticmethod
    def cut(known, box, mirror):
        """What is known, its target cropped."""
        known = {k: v for k, v in known.items() if k != 'box'}
        return {**known, 'target': crop_images([known['target']], box, mirror)[0]} if 'target' in known else known
