"""Shards: files of the records of some clips, each decoded and written by one call, in whatever thread, process or machine.

A shard takes its name when it is whole, so that a preparation that was interrupted does only what is missing.
"""
import errno
import hashlib
import json
import os
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from stanet_jax import InputError, one_line
from stanet_jax.data.clips import sound_starts
from stanet_jax.media import box, clip
from stanet_jax.media.clip import StoredClip

# A split has about 32 shards, so that many workers have something to do, but a shard no fewer clips than 8 and no more than 64.
_SHARDS, _LEAST, _MOST = 32, 8, 64
SUMMARIES = 'shards'  # folder of the summaries, in the shards'


def read_clip(path: str, rate: float, side: int, start: float, end: float | None) -> StoredClip:
    """Reads a clip as `media.clip.read_clip` does, in a process of its own."""
    return box.call(clip.read_clip, path, rate, side, start, end)


class SourceClip(NamedTuple):
    """A clip of a set as it is before it is prepared: a video file, or a part of one.

    Attributes:
        id: its name; clips that share one are told apart by their index.
        tags: its tags, as indices into the set's categories.
        path: of the video file.
        source: the film that it is of; clips of one film are never parted by a split or a fold.
        kind: what else is known of it, by which scores are broken down.
        start, end: which part of the file it is, in seconds from the first frame; up to the file's end where `end` is None.
        line: of the file that lists it, from 1 on; 0 where no file does.
    """
    id: str
    tags: tuple[int, ...]
    path: str
    source: str
    kind: str = ''
    start: float = 0.0
    end: float | None = None
    line: int = 0


class Shard(NamedTuple):
    """A file of records to be written, and all that it takes.

    Attributes:
        folder: where it is written.
        dataset, split: names.
        number, total: which of the split's shards it is, from 0 on, and how many there are.
        first: the index of its first clip among the clips listed in the split.
        clips: its clips.
        side, rate: width and height of frames in pixels, and frames per second, or 0 for each video's own.
    """
    folder: str
    dataset: str
    split: str
    number: int
    total: int
    first: int
    clips: tuple[SourceClip, ...]
    side: int
    rate: float

    @property
    def path(self) -> pathlib.Path:
        """The file of its records."""
        return pathlib.Path(self.folder) / f'{self.dataset}-{self.split}.array_record-{self.number:05d}-of-{self.total:05d}'

    @property
    def summary(self) -> pathlib.Path:
        """The file that says which clips are in it, written last; of other clips it has another name."""
        digest = hashlib.sha256(repr((self.clips, self.first, self.side, self.rate)).encode('utf-8', 'surrogateescape'))
        return pathlib.Path(self.folder) / SUMMARIES / f'{self.split}-{self.number:05d}-{digest.hexdigest()[:12]}.json'

    @property
    def done(self) -> bool:
        """Whether it is there and whole."""
        return self.summary.exists() and self.path.exists()


def skip(split: str, clip_id: str, line: int, reason: str, detail: str = '') -> dict[str, Any]:
    """Says, as metadata do, what of a set is left out and why."""
    return {'split': split, 'id': clip_id, 'line': line, 'reason': reason, 'detail': detail}


def plan_shards(splits: Mapping[str, Sequence[SourceClip]], folder: str | os.PathLike, dataset: str, side: int, rate: float) -> list[Shard]:
    """Divides the clips of each split into shards of consecutive clips; the arguments are fields of `Shard`."""
    shards = []
    for split, clips in splits.items():
        size = min(max(-(-len(clips) // _SHARDS), _LEAST), _MOST)
        starts = range(0, len(clips), size)
        shards += [Shard(os.fspath(folder), dataset, split, number, len(starts), first, tuple(clips[first:first + size]), side, rate)
                   for number, first in enumerate(starts)]
    return shards


def write_shard(shard: Shard, tick: Callable[[], Any] = lambda: None) -> None:
    """Decodes the clips of a shard and writes their records, unless that is done.

    Args:
        shard: what to write.
        tick: called after each clip; what it raises ends the writing, and nothing of it is left.
    Raises:
        OSError: it cannot be written.
    """
    if shard.done:
        return
    clips, skipped = [], []
    shard.summary.parent.mkdir(exist_ok=True)
    for old in shard.summary.parent.glob(f'{shard.split}-{shard.number:05d}-*.json'):  # of other clips
        old.unlink(missing_ok=True)
    # Another process may write the same: each under a name of its own.
    temporary = shard.path.with_name(f'.{shard.path.name}.{uuid.uuid4().hex}')
    try:
        writer = ArrayRecordWriter(os.fspath(temporary), 'group_size:1')
        for number, clip in enumerate(shard.clips, shard.first):
            stored, reason, detail = try_read(clip, shard.rate, shard.side)
            if stored is None:
                skipped.append(skip(shard.split, clip.id, clip.line, reason, detail))
            else:
                if stored.breaks_off:
                    print(one_line(stored.breaks_off), file=sys.stderr)
                clips.append(_store(writer, number, clip, stored) | ({} if shard.rate else {'rate': stored.rate}))
            tick()
        writer.close()
        temporary.replace(shard.path)
        temporary.write_text(json.dumps({'clips': clips, 'skipped': skipped}))
        temporary.replace(shard.summary)
    except RuntimeError as error:  # ArrayRecord's
        raise OSError(errno.EIO, str(error).split(';')[0]) from error
    finally:
        temporary.unlink(missing_ok=True)


def try_read(clip: SourceClip, rate: float, side: int) -> tuple[StoredClip | None, str, str]:
    """Reads a clip: it, '' and ''; or None, the reason why it cannot be read, and details. One bad file must not end the others' work."""
    if not os.path.exists(clip.path):
        return None, 'missing file', ''
    try:
        return read_clip(clip.path, rate=rate, side=side, start=clip.start, end=clip.end), '', ''
    except InputError as e:
        return None, 'cannot be read', str(e).removeprefix(f'{clip.path}: ').split(';')[0]
    except Exception as e:  # whatever a damaged file makes them raise
        return None, 'cannot be read', f'{type(e).__name__}: {e}'


def _store(writer, number, clip, stored):
    """Writes the records of a clip; gives its line in the metadata."""
    sound = np.zeros(0, np.int16) if stored.sound is None else stored.sound
    for record in clip_records(number, stored.frames, sound, stored.rate):
        writer.write(_serialise(**record))
    return {'id': clip.id, 'tags': list(clip.tags), 'kind': clip.kind, 'source': clip.source, 'frames': len(stored.frames),
            'samples': len(sound)}


def clip_records(clip: int, frames: Sequence[bytes], sound: np.ndarray, rate: float) -> Iterator[dict[str, Any]]:
    """Yields the record of each frame of a clip, `clip`, `frame`, `image` and `sound`, which some have, see `clips.sound_starts`."""
    starts = dict(sound_starts(len(frames), rate))
    ends = dict(zip(starts, [*list(starts.values())[1:], len(sound)], strict=True))
    for k, image in enumerate(frames):
        part = sound[starts[k]:ends[k]] if k in starts else sound[:0]
        yield {'image': image, 'sound': part, 'clip': clip, 'frame': k}


def _serialise(image, sound, clip, frame):
    example = tf_example_pb2.Example()
    feature = example.features.feature
    feature['image'].bytes_list.value.append(image)
    feature['sound'].bytes_list.value.append(sound.astype('<i2').tobytes())
    feature['clip'].int64_list.value.append(clip)
    feature['frame'].int64_list.value.append(frame)
    return example.SerializeToString(deterministic=True)
