"""The clips of a prepared set: frames and seconds of sound, read at random."""
import collections
import copy
import io
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from tensorflow_datasets.core import DatasetBuilder

from stanet_jax.data import records
from stanet_jax.data.features import Features
from stanet_jax.media.clip import StoredClip
from stanet_jax.media.sound import FRONT_ENDS, SAMPLE_RATE, audio_window_bounds, sliding_window_bounds

KEPT = 1 << 30  # bytes of decoded frames that a process keeps: of the splits that fit, in the order in which they are opened
_kept: dict[tuple[str, str, str, int], dict[int, Image.Image]] = {}  # frames by record, of each split and its size in bytes


def sound_starts(frames: int, rate: float) -> list[tuple[int, int]]:
    """Gives (frame, first sample) of the records that hold a clip's sound: those of the first frame of each whole second.

    Such a record holds the sound up to the next one's first sample, the last one up to the clip's end.
    """
    firsts = {math.ceil(second * rate - 1e-6) for second in range(math.ceil(frames / rate))}
    return [(k, round(k / rate * SAMPLE_RATE)) for k in sorted(firsts) if k < frames]


def distinct(ids: Sequence[str]) -> list[str]:
    """Names for clips: the id of each, followed by the clip's index where several clips share the id."""
    count = collections.Counter(ids)
    return [name if count[name] == 1 else f'{name}_{i}' for i, name in enumerate(ids)]


class Clips:
    """The clips of one split, whose frames and sound can be read at random, from many threads and processes.

    Attributes:
        clips: a dict of each clip, see `preparation.prepare`.
        categories: sorted names; a clip's tags are indices into them.
        split: its name.
        side: width and height of the frames, in pixels.
        rate: frames per second; 0 where each clip has its video's own, see `rate_of`.
        folder: of the records.
        features: what frozen encoders give of the frames as the nets see them; None where encoders are not frozen.
        whole: the same of whole frames, where `features` are of crops.
    """
    clips: list[dict[str, Any]]
    categories: list[str]
    split: str
    side: int
    rate: float
    folder: pathlib.Path = pathlib.Path()
    features: Features | None = None
    whole: Features | None = None
    _by_tag: dict[int, list[int]] | None = None  # kept by `of_tag`
    _ends: Int[np.ndarray, ' n'] | None = None  # kept by `ends`
    _names: list[str] | None = None  # kept by `names`

    def __init__(self, builder: DatasetBuilder, split: str):
        """Opens a split of a set that `preparation.prepare` gives; InputError where it has no such split."""
        self._records = records.Records(builder, split)
        metadata, self.folder = builder.info.metadata, pathlib.Path(builder.data_dir)
        self.clips, self.categories = metadata['splits'][split], metadata['categories']
        self.split, self.side, self.rate = split, metadata['side'], metadata['rate']
        size = sum(clip['frames'] for clip in self.clips) * self.side**2 * 4  # as Pillow has them
        self._key = str(self.folder), metadata['fingerprint'], split, size
        if size + sum(other for *_, other in _kept) <= KEPT:
            _kept.setdefault(self._key, {})

    def __len__(self) -> int:
        return len(self.clips)

    def of_each_kind(self, count: int) -> list[int]:
        """Gives the indices of the first `count` clips of each kind, or six times as many where all clips are of one kind."""
        kinds = [clip['kind'] for clip in self.clips]
        count *= 6 if len(set(kinds)) == 1 else 1
        return [i for i, kind in enumerate(kinds) if kinds[:i].count(kind) < count]

    def of_tag(self, tag: int) -> list[int]:
        """Gives the indices of the clips with this tag."""
        if self._by_tag is None:
            self._by_tag = collections.defaultdict(list)
            for i, clip in enumerate(self.clips):
                for of in clip['tags']:
                    self._by_tag[of].append(i)
        return self._by_tag.get(tag, [])

    def multi_hot(self, index: int) -> Float[np.ndarray, ' c']:
        """Gives the tags of a clip, 1 for each that it has and 0 for the others."""
        tags = np.zeros(len(self.categories), np.float32)
        tags[self.clips[index]['tags']] = 1
        return tags

    def tag_names(self, index: int) -> str:
        """Gives the names of a clip's tags, with semicolons between."""
        return ';'.join(self.categories[tag] for tag in self.clips[index]['tags'])

    @property
    def names(self) -> list[str]:
        """The name of each clip's folder, see `distinct`."""
        if self._names is None:
            self._names = distinct([clip['id'] for clip in self.clips])
        return self._names

    @property
    def ends(self) -> Int[np.ndarray, ' n']:
        """The number of frames up to each clip's end, from the first clip's start on."""
        if self._ends is None:
            self._ends = np.cumsum([clip['frames'] for clip in self.clips])
        return self._ends

    def rate_of(self, index: int) -> float:
        """Gives the frames per second of a clip."""
        return self.rate or self.clips[index]['rate']

    def only(self, indices: Iterable[int]) -> 'Clips':
        """Gives a `Clips` of these clips alone."""
        result, indices = copy.copy(self), list(indices)
        result.clips, result._names = [self.clips[i] for i in indices], [self.names[i] for i in indices]
        result._by_tag, result._ends = None, None
        return result

    def each(self, every: int) -> list[int]:
        """Gives the indices of each n-th clip of every tag, for n = `every`; of all clips for 1, and of the test part."""
        if every == 1 or self.split == 'test':
            return list(range(len(self)))
        return sorted({i for tag in range(len(self.categories)) for i in self.of_tag(tag)[::every]})

    def with_features(self, features: Features | None, whole: Features | None = None) -> 'Clips':
        """Gives the same clips with these features."""
        result = copy.copy(self)
        result.features, result.whole = features, whole or features
        return result

    def image(self, index: int, k: int) -> Image.Image:
        """Reads frame `k` of clip `index` as an RGB image, which is not to be changed, as it may be kept, see `KEPT`.

        Beyond the clip's ends it is the first or the last frame.
        """
        clip = self.clips[index]
        record = clip['first'] + min(max(k, 0), clip['frames'] - 1)
        kept = _kept.get(self._key)
        if kept is not None and record in kept:
            return kept[record]
        image = Image.open(io.BytesIO(self._records.read(record, 'image')), formats=['JPEG'])
        if kept is not None:
            image.load()
            kept[record] = image
        return image

    def frame(self, index: int, k: int) -> UInt8[np.ndarray, 'side side 3']:
        """Reads the same frame as `image`, as an array."""
        return np.asarray(self.image(index, k))

    def raw(self, index: int) -> StoredClip:
        """Reads all of a clip as it is stored; of a silent one the sound is empty."""
        clip = self.clips[index]
        frames = [self._records.read(clip['first'] + k, 'image') for k in range(clip['frames'])]
        sounds = [self._records.read(clip['first'] + k, 'sound') for k, _ in sound_starts(clip['frames'], self.rate_of(index))]
        return StoredClip(frames, np.frombuffer(b''.join(sounds), '<i2'), self.rate_of(index))

    def sound(self, index: int, centre: float) -> Float[np.ndarray, '16000']:
        """Reads the second of sound around `centre` seconds, in [-1, 1], as `sound.audio_window`; zeros for a silent clip."""
        return self.samples(index, *audio_window_bounds(self.clips[index]['samples'], centre))

    def heard_bounds(self, index: int, frame: int, front_end: str) -> tuple[int, int]:
        """The first sample and the number of samples of what is heard at a frame through `front_end`, of `sound.FRONT_ENDS`."""
        clip = self.clips[index]
        if FRONT_ENDS[front_end].slides:
            return sliding_window_bounds(clip['samples'], frame, clip['frames'])
        return audio_window_bounds(clip['samples'], frame / self.rate_of(index))

    def heard(self, index: int, frame: int, front_end: str) -> Float[np.ndarray, 'f t']:
        """What `front_end`, of `sound.FRONT_ENDS`, makes of the sound at a frame."""
        return FRONT_ENDS[front_end].function(self.samples(index, *self.heard_bounds(index, frame, front_end)))

    def samples(self, index: int, start: int, length: int) -> Float[np.ndarray, ' n']:
        """Reads n = `length` samples of sound from `start` on, in [-1, 1]; beyond the clip's end, and of a silent one, zeros."""
        clip = self.clips[index]
        end = min(start + length, clip['samples'])
        starts = sound_starts(clip['frames'], self.rate_of(index))
        window = np.zeros(length, np.float32)
        for (k, first), last in zip(starts, [s for _, s in starts[1:]] + [clip['samples']], strict=True):
            lo, hi = max(first, start), min(last, end)
            if lo < hi:
                part = np.frombuffer(self._records.read(clip['first'] + k, 'sound'), '<i2')
                window[lo - start:hi - start] = part[lo - first:hi - first] / np.float32(32768)
        return window
