"""The clips of a prepared set: frames and seconds of sound, read at random."""
import copy
import io
import math

import numpy as np
from PIL import Image

from stanet_jax.data import records
from stanet_jax.media.sound import SAMPLE_RATE, audio_window_bounds


def sound_starts(frames, rate):
    """Which frames' records carry sound: `[(frame, its first sample)]`, the first frame of each whole second.

    A record's sound lasts until the next of them, the last one's until the clip's end.
    """
    firsts = {math.ceil(second * rate - 1e-6) for second in range(math.ceil(frames / rate))}
    return [(k, round(k / rate * SAMPLE_RATE)) for k in sorted(firsts) if k < frames]


class Clips:
    """The clips of one split: frames and seconds of sound at random, from many threads and processes.

    Attributes:
        clips: list of dicts, see `prepare`.
        categories: sorted names; a clip's tag is an index into them.
        split: its name.
        side, rate: of the frames.
    """

    def __init__(self, builder, split):
        self._records = records.Records(builder, split)
        self.clips, self.categories = builder.info.metadata['splits'][split], builder.info.metadata['categories']
        self.split = split
        self.side, self.rate = builder.builder_config.side, builder.builder_config.rate

    def __len__(self):
        return len(self.clips)

    def of_each_kind(self, count):
        """The first `count` clips of each kind, to show; where all are of one kind, six times as many."""
        kinds = [clip['kind'] for clip in self.clips]
        count *= 6 if len(set(kinds)) == 1 else 1
        return [i for i, kind in enumerate(kinds) if kinds[:i].count(kind) < count]

    def of_tag(self, tag):
        """The indices of the clips with this tag."""
        return [i for i, clip in enumerate(self.clips) if clip['tag'] == tag]

    def only(self, indices):
        """These clips alone, as another `Clips`."""
        result = copy.copy(self)
        result.clips = [self.clips[i] for i in indices]
        return result

    def image(self, index, k):
        """Frame `k` of clip `index` as a PIL image, beyond the clip's ends the nearest one."""
        clip = self.clips[index]
        k = min(max(k, 0), clip['frames'] - 1)
        return Image.open(io.BytesIO(self._records.read(clip['first'] + k, 'image')), formats=['JPEG'])

    def frame(self, index, k):
        """uint8 RGB `[side, side, 3]`: the same as an array."""
        return np.asarray(self.image(index, k))

    def raw(self, index):
        """All of a clip as it is stored: its frames as JPEG, and its sound, int16 [n]."""
        clip = self.clips[index]
        frames = [self._records.read(clip['first'] + k, 'image') for k in range(clip['frames'])]
        sounds = [self._records.read(clip['first'] + k, 'sound') for k, _ in sound_starts(clip['frames'], self.rate)]
        return frames, np.frombuffer(b''.join(sounds), '<i2')

    def sound(self, index, centre):
        """float32 `[16000]`: the second around `centre` seconds, shifted inwards at the ends; zeros without sound."""
        clip = self.clips[index]
        start, length = audio_window_bounds(clip['samples'], centre)
        end = min(start + length, clip['samples'])
        starts = sound_starts(clip['frames'], self.rate)
        window = np.zeros(length, np.float32)
        for (k, first), last in zip(starts, [s for _, s in starts[1:]] + [clip['samples']], strict=True):
            lo, hi = max(first, start), min(last, end)
            if lo < hi:
                part = np.frombuffer(self._records.read(clip['first'] + k, 'sound'), '<i2')
                window[lo - start:hi - start] = part[lo - first:hi - first] / np.float32(32768)
        return window
