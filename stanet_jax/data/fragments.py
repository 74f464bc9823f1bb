"""Fragments: a target frame with its neighbours, the second of sound around it and the clip's tag, as the nets learn from them.

Which frames an epoch draws, in which order, and how each is cropped is a pure function of (seed, epoch, index), so that a resumed run,
or one on another number of devices, sees the same examples.
"""
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from stanet_jax.data.clips import Clips

Box = tuple[float, float, float, float]  # (y0, x0, y1, x1), as shares of the frame's height and width
AnnotationFn = Callable[[int, int], dict[str, Any]]  # (clip, frame) -> what is known of the frame, see `annotations.Annotations`


def target_frame(clips: Clips, per_clip: int, index: int, rng: np.random.Generator | None = None) -> tuple[int, int]:
    """Gives the (clip, frame) of example `index`.

    A clip is divided into `per_clip` equal parts; an example is one frame of one part, drawn by `rng`, or the middle one without it. With
    0 parts, every frame of every clip is an example.
    """
    if not per_clip:
        clip = int(np.searchsorted(clips.ends, index, side='right'))
        return clip, int(index - clips.ends[clip] + clips.clips[clip]['frames'])
    clip, part = divmod(index, per_clip)
    place = (part + (0.5 if rng is None else rng.uniform())) / per_clip
    frames = clips.clips[clip]['frames']
    return clip, min(int(place * frames), frames - 1)


WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
GUARD = 4  # long-term fragments lie outside `frame - GUARD ... frame + GUARD`


def centre_box(box: Box, share: float) -> Box:
    """Gives the box in the middle of `box`, of the same aspect, with sides `share` times as long."""
    y0, x0, y1, x1 = box
    y, x = (y1 - y0) * (1 - share) / 2, (x1 - x0) * (1 - share) / 2
    return y0 + y, x0 + x, y1 - y, x1 - x


def random_box(box: Box, least: float, rng: np.random.Generator) -> Box:
    """Draws a box inside `box`, of the same aspect and with sides from `least` to 1 times as long."""
    y0, x0, y1, x1 = box
    scale = rng.uniform(least, 1)
    x, y = rng.uniform(0, 1 - scale, 2)
    height, width = y1 - y0, x1 - x0
    return y0 + y * height, x0 + x * width, y0 + (y + scale) * height, x0 + (x + scale) * width


def crop_images(images: Sequence[PIL.Image.Image], box: Box = WHOLE, mirror: bool = False) -> UInt8[np.ndarray, 't h w *c']:
    """Cuts a box out of images of one size, resizes it back to that size, and mirrors it left to right where asked to."""
    if tuple(box) != WHOLE:
        y0, x0, y1, x1 = box
        w, h = images[0].size
        images = [i.resize((w, h), PIL.Image.Resampling.BILINEAR, box=(x0 * w, y0 * h, x1 * w, y1 * h)) for i in images]
    if mirror:  # by Pillow: a mirrored view takes ten times as long to batch
        images = [i.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) for i in images]
    return np.stack([np.asarray(i) for i in images])


def read_fragment(clips: Clips, clip: int, frame: int, frames: int = 1, sound: str = '', box: Box = WHOLE, mirror: bool = False,
                  levels: Sequence[str] = ('C5',)) -> dict[str, np.ndarray | np.generic]:
    """Reads what the nets see of a clip at the target `frame`.

    Args:
        clips: a split; clip: index of one of its clips.
        frame: the target; beyond the clip's ends its first or last frame is repeated.
        frames: how many frames to read, with the target in the middle; 0 for none.
        sound: which of `sound.FRONT_ENDS` makes what is heard around the target; '' for no sound.
        box, mirror: how the frames are cropped, see `crop_images`.
        levels: of the features that are read in place of frames where encoders are frozen.
    Returns:
        A dict of `tags` float32 [c], multi-hot, and `clip`, the index. Where frames are read, `frames` uint8 [t, h, w, 3]. Where sound is
        read, `audio` float32 [f, t2], and `phi`, 1 where the clip has sound, else 0. Where encoders are frozen, the `levels`, as
        `Features.seen` gives them, are in the place of `frames`, and `embedding` [d] in that of `audio`.
    """
    info = clips.clips[clip]
    result: dict[str, np.ndarray | np.generic] = {'tags': clips.multi_hot(clip), 'clip': np.int32(clip)}
    if frames and clips.features:
        result |= clips.features.seen(info, frame, frames, levels)
    elif frames:
        result['frames'] = crop_images([clips.image(clip, frame + k - frames // 2) for k in range(frames)], box, mirror)
    if sound:
        if clips.features:
            result['embedding'] = clips.features.heard(info, frame)
        else:
            result['audio'] = clips.heard(clip, frame, sound)
        result['phi'] = np.float32(info['samples'] > 0)
    return result


def sample_fragments(clips: Clips, clip: int, frame: int, frames: int, granularity: str, count: int,
                     rng: np.random.Generator | None = None) -> list[tuple[int, int]]:
    """Chooses the other fragments that a net of SCAM+ or STA+ sees beside a target (TPAMI Sec. 4.2).

    Args:
        clips: a split; clip, frame: the target in it.
        frames: of a fragment, 1 or 3.
        granularity: 'short' for the nearest fragments on both sides that do not overlap the target's; their middle may lie outside the
            clip, as `read_fragment` repeats its first and last frame. 'long' for random ones of the clip that lie outside
            `frame - GUARD ... frame + GUARD`, or the farthest where there are too few. 'cross' for random ones of other clips that
            share a tag, or of this clip where there is no other.
        count: how many.
        rng: to draw with; by default a generator seeded with (clip, frame).
    Returns:
        (clip, middle frame) of each fragment.
    """
    if granularity == 'short':
        return [(clip, frame + (-1) ** (k + 1) * frames * (k // 2 + 1)) for k in range(count)]
    rng = np.random.default_rng([clip, frame]) if rng is None else rng
    if granularity == 'long':
        distance = np.abs(np.arange(clips.clips[clip]['frames']) - frame)
        far = np.flatnonzero(distance > GUARD + frames // 2)
        if len(far) < count:
            far = np.argsort(-distance, kind='stable')[:count]
        return [(clip, int(k)) for k in rng.choice(far, count, replace=len(far) < count)]
    same = sorted({i for tag in clips.clips[clip]['tags'] for i in clips.of_tag(tag) if i != clip}) or [clip]
    return [(int(i), int(rng.integers(clips.clips[i]['frames']))) for i in rng.choice(same, count, replace=len(same) < count)]


def describe_shortage(clips: Clips, frames: int, granularity: str, count: int) -> str:
    """Says for how many clips or tags `sample_fragments` has too few fragments to choose from; '' where there are enough."""
    if granularity == 'long':
        def away(length):  # frames that are far enough from the target that has the fewest such frames
            return min(sum(abs(k - t) > GUARD + frames // 2 for k in range(length)) for t in {0, length // 2, length - 1})
        enough = {length: away(length) >= count for length in {clip['frames'] for clip in clips.clips}}
        few = sum(not enough[clip['frames']] for clip in clips.clips)
        return f'{few} of {len(clips)} clips are too short for long-term fragments: their farthest frames are taken' if few else ''
    tags = {tag for clip in clips.clips for tag in clip['tags']}
    alone = [tag for tag in tags if len(clips.of_tag(tag)) == 1] if granularity == 'cross' else []
    return f'{len(alone)} of {len(tags)} tags have one clip alone: its own frames are taken for cross-term fragments' if alone else ''


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of a training: a pure function of their index and, for augmentation, of a random generator.

    Attributes:
        clips: to read from.
        per_clip: examples that a clip gives in an epoch; 0 for each of its frames once.
        frames, sound: what is read of each fragment, see `read_fragment`.
        annotations: what else is known of a frame. Its `phi` and `tags` replace those that are read; an example with a False `mask` does
            not count; `target`, a PIL image, is cropped like the frames; the target frame's `box` is what the frames of all fragments
            are cropped to, and is not part of the example.
        draw: `(index, rng) -> (clip, frame)`, used in place of `target_frame`.
        drawn: how many examples it has in an epoch; 0 for as many as without it.
        least_crop: side of the smallest random crop, as a share of the box. Features of frozen encoders are neither cropped nor mirrored.
        centre_crop: side of what of the middle of the box is used at all while learning.
        mirror: whether every second example is mirrored while learning.
        granularity: 'short', 'long' or 'cross' for examples of several fragments, see `sample_fragments`, or ''. With it `frames`,
            `audio` (or features in their place), `phi` and `target` have a first axis of size 1 + count, the target fragment before the
            others. Where there are `target` maps, `known` [1 + count] tells which of them count, and `mask` is True where at least one
            does.
        count: how many other fragments.
        levels: see `read_fragment`.
    """
    clips: Clips
    per_clip: int
    frames: int = 0
    sound: str = ''
    annotations: AnnotationFn | None = None
    draw: Callable[[int, np.random.Generator | None], tuple[int, int]] | None = None
    drawn: int = 0
    least_crop: float = 1.0
    centre_crop: float = 1.0
    mirror: bool = True
    granularity: str = ''
    count: int = 2
    levels: tuple[str, ...] = ('C5',)

    def __len__(self) -> int:
        return self.drawn or len(self.clips) * self.per_clip or int(self.clips.ends[-1])

    def example(self, index: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Reads example `index` as a dict of arrays, augmented by `rng`; `mask` tells whether it counts."""
        clip, frame = self.draw(index, rng) if self.draw else target_frame(self.clips, self.per_clip, index, rng)
        return self.at(clip, frame, rng)

    def at(self, clip: int, frame: int, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Reads the example whose target is this frame, as `example` does."""
        places, known = [(clip, frame)], self.known(clip, frame)
        box, mirror = known.get('box', WHOLE), False
        if rng is not None and not self.clips.features:
            box = random_box(centre_box(box, self.centre_crop), self.least_crop, rng)
            mirror = rng.uniform() < 0.5 and self.mirror
        if self.granularity:
            places += sample_fragments(self.clips, clip, frame, self.frames, self.granularity, self.count, rng)
        fragments: list[dict[str, Any]] = [
            {'mask': np.True_, **read_fragment(self.clips, *place, self.frames, self.sound, box, mirror, self.levels),
             **self.cut(known if k == 0 else self.known(*place), box, mirror)} for k, place in enumerate(places)]
        if not self.granularity:
            return fragments[0]
        stacked: dict[str, Any] = {k: np.stack([fragment[k] for fragment in fragments])
                                   for k in ('frames', 'audio', 'C3', 'C4', 'C5', 'embedding', 'phi', 'target') if k in fragments[0]}
        if 'target' in stacked:
            stacked['known'] = np.stack([fragment['mask'] for fragment in fragments])
            stacked['mask'] = stacked['known'].any()
        return {**fragments[0], **stacked}

    def known(self, clip: int, frame: int) -> dict[str, Any]:
        """Gives the annotations of a frame; beyond the clip's ends they are those of its first or last frame."""
        return self.annotations(clip, min(max(frame, 0), self.clips.clips[clip]['frames'] - 1)) if self.annotations else {}

    @staticmethod
    def cut(known: Mapping[str, Any], box: Box, mirror: bool) -> dict[str, Any]:
        """Gives the annotations of a frame as they are part of an example: the target cropped, the box left out."""
        known = {k: v for k, v in known.items() if k != 'box'}
        return {**known, 'target': crop_images([known['target']], box, mirror)[0]} if 'target' in known else known
