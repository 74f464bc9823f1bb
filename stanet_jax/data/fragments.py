"""Fragments: the target frame, its neighbours, a second of sound and the tag, read at random; and batches of them.

Which frames an epoch draws, in which order, and how each is cropped is a pure function of (seed, epoch, index): a resumed or
re-sharded run sees the same examples.
"""
import dataclasses
from typing import Any

import grain
import numpy as np
import PIL.Image

from stanet_jax import audio


def target(clips, per_clip, index, rng=None):
    """The (clip, frame) of example `index`.

    A clip is cut into `per_clip` equal parts; an example is one frame of one part: a random one, or, without `rng`, the middle.
    """
    clip, part = divmod(index, per_clip)
    place = (part + (0.5 if rng is None else rng.uniform())) / per_clip
    frames = clips.clips[clip]['frames']
    return clip, min(int(place * frames), frames - 1)


def fragment(clips, clip, frame, frames=1, sound=False):
    """What the nets see of the moment `frame` of a clip.

    Returns:
        A dict of `tags` float32 [c], multi-hot, and `clip`, its index. With `frames` = t > 0, also `frames` uint8 [t, h, w, 3],
        the target in the middle, indices clamped at the clip's ends. With `sound`, also `audio` float32 [257, 98], the
        log-spectrogram of the second around the target, and `phi`, 0 where the clip has no sound, else 1.
    """
    info = clips.clips[clip]
    result = {'tags': np.eye(len(clips.categories), dtype=np.float32)[info['tag']], 'clip': np.int32(clip)}
    if frames:
        result['frames'] = np.stack([clips.frame(clip, frame + k - frames // 2) for k in range(frames)])
    if sound:
        result['audio'] = audio.log_spectrogram(clips.sound(clip, frame / clips.rate))
        result['phi'] = np.float32(info['samples'] > 0)
    return result


WHOLE = (0.0, 0.0, 1.0, 1.0)


def random_box(box, least, rng):
    """A random box, of `least` to all of each side of `box` (y0, x0, y1, x1, shares of the frame), within it."""
    y0, x0, y1, x1 = box
    scale = rng.uniform(least, 1)
    x, y = rng.uniform(0, 1 - scale, 2)
    height, width = y1 - y0, x1 - x0
    return y0 + y * height, x0 + x * width, y0 + (y + scale) * height, x0 + (x + scale) * width


def crop(images, box=WHOLE, mirror=False):
    """Cuts `box` (y0, x0, y1, x1, shares of the frame) out of uint8 images [t, h, w, 3] or [t, h, w] and resizes it back to h x w."""
    h, w = images.shape[1:3]
    if tuple(box) == WHOLE and not mirror:
        return images
    y0, x0, y1, x1 = box
    pixels = (x0 * w, y0 * h, x1 * w, y1 * h)
    cut = [PIL.Image.fromarray(image).resize((w, h), PIL.Image.Resampling.BILINEAR, box=pixels) for image in images]
    if mirror:  # by Pillow: a mirrored view takes ten times as long to batch
        cut = [image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) for image in cut]
    return np.stack(cut)


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of a training: a pure function of their index and, for augmentation, of a random generator.

    Attributes:
        clips: an `ave.Clips`.
        per_clip: examples that a clip gives in an epoch.
        frames, sound: see `fragment`.
        annotations: `(clip, frame) -> dict` of what else is known of a moment, see `annotations.Annotations`: it replaces `phi` or
            `tags`, `mask` False takes the example out; `target`, uint8 [h, w], is cropped like the frames; `box` (y0, x0, y1, x1,
            shares of the frame) is what the frames are cropped to, and is not handed on.
        draw: `(index, rng) -> (clip, frame)` in place of `target`.
        least_crop: side of the smallest random crop, as a share.
    """
    clips: Any
    per_clip: int
    frames: int = 0
    sound: bool = False
    annotations: Any = None
    draw: Any = None
    least_crop: float = 1.0

    def __len__(self):
        return len(self.clips) * self.per_clip

    def example(self, index, rng=None):
        """Example `index` as a dict of arrays, augmented by `rng`; with `mask`, whether it counts."""
        return self.at(*(self.draw(index, rng) if self.draw else target(self.clips, self.per_clip, index, rng)), rng)

    def at(self, clip, frame, rng=None):
        """The example of a moment."""
        result = {'mask': np.True_, **fragment(self.clips, clip, frame, self.frames, self.sound)}
        if self.annotations:
            result |= self.annotations(clip, frame)
        box, mirror = result.pop('box', WHOLE), False
        if rng is not None:
            box, mirror = random_box(box, self.least_crop, rng), rng.uniform() < 0.5
        if self.frames:
            result['frames'] = crop(result['frames'], box, mirror)
        if 'target' in result:
            result['target'] = crop(result['target'][None], box, mirror)[0]
        return result


def batches(examples, *, batch, slots, seed=None, start=0, steps=None, workers=0):
    """Yields batches by way of grain, from step `start` on.

    Every process loads its own slice: the places `slots` of the batch, of which the first `batch` are filled; the others, which
    round the batch up to a multiple of the devices, are zeros with `mask` False.

    Args:
        examples: `Examples`.
        batch: examples of a global batch.
        slots: range of this process's places in a batch, see `sharding.slots`.
        seed: for training, shuffled and augmented, epoch after epoch; None for one pass in order, as it is.
        start, steps: the first step and the one to stop before, both counted from 0 (by default all of one epoch).
        workers: processes that read; 0 reads in threads of this one.
    """
    size = len(examples)
    order = grain.MapDataset.range(size)
    if seed is not None:
        order = order.seed(seed).shuffle().repeat()
    steps = -(-size // batch) if steps is None else steps

    def load(place):
        step, slot = divmod(place, len(slots))
        number = step * batch + slots[slot]
        if slots[slot] >= batch or seed is None and number >= size:
            return {k: np.zeros_like(v) for k, v in examples.example(0).items()}
        index = order[number]
        return examples.example(index, None if seed is None else np.random.default_rng([seed, number // size, index]))

    loaded = grain.MapDataset.range(start * len(slots), steps * len(slots)).map(load).batch(len(slots))
    reading = loaded.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=8))
    if workers:
        reading = reading.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(reading)
