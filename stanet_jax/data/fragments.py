"""Fragments: the target frame, its neighbours, a second of sound and the tag, read at random; and batches of them.

Which frames an epoch draws, in which order, and how each is cropped is a pure function of (seed, epoch, index): a resumed or
re-sharded run sees the same examples.
"""
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


def crop(frames, least, rng):
    """Cuts the same random box, of `least` to all of the side, from frames [t, h, w, 3], mirrors half of them, and resizes back."""
    t, h, w, _ = frames.shape
    scale = rng.uniform(least, 1)
    x, y = rng.uniform(0, 1 - scale, 2)
    box = (x * w, y * h, (x + scale) * w, (y + scale) * h)
    images = [PIL.Image.fromarray(f).resize((w, h), PIL.Image.Resampling.BILINEAR, box=box) for f in frames]
    if rng.uniform() < 0.5:  # by Pillow: a mirrored view takes ten times as long to batch
        images = [image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    return np.stack(images)


def batches(clips, *, batch, per_clip, frames, sound, slots, seed=None, least_crop=1.0, start=0, steps=None, workers=0):
    """Yields batches by way of grain, from step `start` on.

    Every process loads its own slice: the places `slots` of the batch, of which the first `batch` are filled; the others, which
    round the batch up to a multiple of the devices, are zeros with `mask` False.

    Args:
        clips: an `ave.Clips`.
        batch: examples of a global batch.
        per_clip: examples that a clip gives in an epoch.
        frames, sound: see `fragment`.
        slots: range of this process's places in a batch, see `sharding.slots`.
        seed: for training, shuffled and augmented, epoch after epoch; None for one pass in order, as it is.
        least_crop: smallest side of the random crop, as a share.
        start, steps: the first step and the one to stop before, both counted from 0 (by default all of one epoch).
        workers: processes that read; 0 reads in threads of this one.
    """
    size = len(clips) * per_clip
    order = grain.MapDataset.range(size)
    if seed is not None:
        order = order.seed(seed).shuffle().repeat()
    steps = -(-size // batch) if steps is None else steps

    def load(place):
        step, slot = divmod(place, len(slots))
        number = step * batch + slots[slot]
        if slots[slot] >= batch or seed is None and number >= size:
            return {**{k: np.zeros_like(v) for k, v in example(0, None).items()}, 'mask': np.False_}
        index = order[number]
        rng = None if seed is None else np.random.default_rng([seed, number // size, index])
        return {**example(index, rng), 'mask': np.True_}

    def example(index, rng):
        result = fragment(clips, *target(clips, per_clip, index, rng), frames, sound)
        if rng is not None and frames:
            result['frames'] = crop(result['frames'], least_crop, rng)
        return result

    loaded = grain.MapDataset.range(start * len(slots), steps * len(slots)).map(load).batch(len(slots))
    reading = loaded.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=8))
    if workers:
        reading = reading.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(reading)
