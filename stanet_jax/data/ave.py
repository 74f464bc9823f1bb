"""Prepares AVE: decodes its videos into records that are read at random, frame by frame.

AVE, and SynthAVE, which has its layout, are read from a folder of

    <root>/{Annotations,trainSet,valSet,testSet}.txt      lines `category&id&quality&start&end`
    <root>/AVE/<id>.mp4

`prepare` decodes every clip once into ArrayRecord files, with TensorFlow Datasets (TFDS) but without TensorFlow; `clips.Clips` reads
frames and seconds of sound from them.
"""
import dataclasses
import functools
import hashlib
import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from stanet_jax import InputError
from stanet_jax.data import records
from stanet_jax.data.clips import Clips, sound_starts
from stanet_jax.media.clip import read_clip

INSTRUCTIONS = (
    'get AVE_Dataset.zip from https://sites.google.com/view/audiovisualresearch and unpack it: the folder AVE_Dataset '
    'then holds Annotations.txt, trainSet.txt, valSet.txt, testSet.txt, and in AVE/ the videos as <id>.mp4')
SPLITS = {'train': 'trainSet.txt', 'validation': 'valSet.txt', 'test': 'testSet.txt'}
ANNOTATIONS = 'Annotations.txt'
# A shard is held in memory while it is written: about 80 MB of 256-pixel frames at 8 a second.
_CLIPS_PER_SHARD = 64


class Annotation(NamedTuple):
    """A line of an annotation file.

    Attributes:
        line: its number in the file, from 1 on.
        category: of the event.
        id: of the video, its file name without the ending.
        quality: of the annotation; in SynthAVE the clip's kind.
        start, end: of the event, in seconds.
    """
    line: int
    category: str
    id: str
    quality: str
    start: float
    end: float


class BadLine(NamedTuple):
    """A line of an annotation file that cannot be used: its number from 1 on, its text, and why."""
    line: int
    text: str
    reason: str


def read_annotations(path: str | os.PathLike) -> tuple[list[Annotation], list[BadLine]]:
    """Reads an annotation file; a header line and blank lines are skipped.

    Returns:
        The annotations in the file's order (an id may occur more than once), and the lines that cannot be used.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with open(path, encoding='utf-8-sig', errors='replace') as f:
            lines = f.read().splitlines()
    except OSError as e:
        raise InputError(f'{path}: {e.strerror}; {INSTRUCTIONS}') from None
    annotations: list[Annotation] = []
    bad: list[BadLine] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.strip().lower().startswith('category&') and not annotations:
            continue
        try:
            annotations.append(_parse(number, line))
        except ValueError as e:
            bad.append(BadLine(number, line.strip(), str(e)))
    return annotations, bad


def _parse(number, line):
    # A category's name may contain the separator, the fields after it do not.
    fields = [field.strip() for field in line.rsplit('&', 4)]
    if len(fields) != 5:
        raise ValueError('not 5 fields with & between')
    category, clip_id, quality, start, end = fields
    if not category or not clip_id:
        raise ValueError('no category' if clip_id else 'no id')
    if '/' in clip_id or '\\' in clip_id or '\0' in clip_id:
        raise ValueError('an id that is no file name')
    try:
        return Annotation(number, category, clip_id, quality, float(start), float(end))
    except ValueError:
        raise ValueError('start or end is no number') from None


@dataclasses.dataclass(eq=False)
class AveConfig(tfds.core.BuilderConfig):
    """How frames are stored: `side` is their width and height in pixels, `rate` is in frames per second."""
    side: int = 256
    rate: float = 8.0


# Shard by shard, as TFDS's GeneratorBasedBuilder holds a whole split in memory, and needs TensorFlow from 1 GB on.
class Ave(tfds.core.ShardBasedBuilder):
    """The TFDS builder of AVE: a record for each frame; `info.metadata` lists categories, clips and what was skipped, see `prepare`."""
    VERSION = tfds.core.Version('1.0.0')
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    code_path = None  # Otherwise TFDS looks beside the code for checksums of downloads, with a package that it does not require.
    # `prepare` sets these: how many clips are decoded at a time; (k, n) for part k of n; the builders of all parts, to be joined.
    workers: int = 0
    part: tuple[int, int] = (0, 1)
    parts: Sequence['Ave'] = ()

    def _info(self):
        side = self.builder_config.side
        return tfds.core.DatasetInfo(
            builder=self, description='Audio-visual events: frames with their sound, by category.',
            homepage='https://sites.google.com/view/audiovisualresearch', disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
            features=tfds.features.FeaturesDict({
                'image': tfds.features.Image(shape=(side, side, 3), encoding_format='jpeg'),
                # As bytes, since a list of integers takes ten times as long to read. Empty but for `sound_starts`.
                'sound': tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding='bytes'),
                'clip': np.int32,
                'frame': np.int32,
            }))

    def _shard_iterators_per_split(self, dl_manager):
        root = os.fspath(dl_manager.manual_dir)
        files = annotation_files(root)
        lines = {name: read_annotations(os.path.join(root, name)) for name in files}
        categories = sorted({a.category for annotations, _ in lines.values() for a in annotations})
        splits = split_files(files)
        self.info.metadata.update(
            categories=categories, splits={split: [] for split in splits}, skipped=[], fingerprint=_fingerprint(root))
        shards = {}
        k, n = self.part
        for split, name in splits.items():
            annotations, bad = lines[name]
            annotations = annotations[len(annotations) * k // n:len(annotations) * (k + 1) // n]
            for line, text, reason in bad:
                self._skip(split, text, line, 'bad line', reason)
            examples = self._examples(split, annotations, root)
            count = max(1, math.ceil(len(annotations) / _CLIPS_PER_SHARD))
            # TFDS writes the shards one after the other: each takes its clips from one stream, the last one all the rest.
            sizes = [_CLIPS_PER_SHARD] * (count - 1) + [None]
            shards[split] = [functools.partial(_shard, examples, size) for size in sizes]
        return shards

    def _examples(self, split, annotations, root):
        """Yields, for every annotation, the list of its clip's records, which is empty where the clip cannot be read."""
        config, metadata = self.builder_config, self.info.metadata
        clips, first = metadata['splits'][split], 0
        paths = [os.path.join(root, 'AVE', f'{a.id}.mp4') for a in annotations]
        read = functools.partial(_try_read, rate=config.rate, side=config.side)
        decoded = _joined(self.parts, split, annotations) if self.parts else records.in_order(read, paths, self.workers)
        progress = tqdm(zip(annotations, decoded, strict=True), f'{"Joining" if self.parts else "Preparing"} {split}',
                        len(annotations), mininterval=1, unit=' clips',
                        bar_format='{desc}: {n_fmt}/{total_fmt} clips, {rate_fmt}, {remaining} left')
        for a, (frames, sound, reason, detail) in progress:
            if reason:
                self._skip(split, a.id, a.line, reason, detail)
                yield []
                continue
            clip_records = list(_records(len(clips), frames, sound, config.rate))
            clips.append(dict(id=a.id, tag=metadata['categories'].index(a.category), kind=a.quality, first=first,
                              frames=len(frames), samples=len(sound)))
            first += len(frames)
            yield clip_records

    def _skip(self, split, clip_id, line, reason, detail):
        self.info.metadata['skipped'].append(dict(split=split, id=clip_id, line=line, reason=reason, detail=detail))

    def _download_and_prepare(self, dl_manager, download_config=None):
        super()._download_and_prepare(dl_manager, download_config)
        if self.part == (0, 1) and not any(self.info.metadata['splits'].values()):
            # Raised here, where TFDS still deletes what it has written.
            raise InputError(f'{dl_manager.manual_dir}: no clip can be used ({_summary(self.info.metadata)}); '
                             f'{INSTRUCTIONS}')


def _shard(examples, size):
    for clip in itertools.islice(examples, size):
        for record in clip:
            yield record['frame'], record


def _records(clip, frames, sound, rate):
    starts = dict(sound_starts(len(frames), rate))
    ends = dict(zip(starts, [*list(starts.values())[1:], len(sound)], strict=True))
    for k, image in enumerate(frames):
        part = sound[starts[k]:ends[k]] if k in starts else sound[:0]
        yield dict(image=image, sound=part, clip=clip, frame=k)


def _try_read(path, rate, side):
    """`(frames, sound, reason, detail)`: a clip, or the reason why it cannot be read. One bad file must not end the others' work."""
    if not os.path.exists(path):
        return None, None, 'missing file', ''
    try:
        frames, sound = read_clip(path, rate=rate, side=side)
    except InputError as e:
        return None, None, 'cannot be read', str(e).removeprefix(f'{path}: ').split(';')[0]
    except Exception as e:  # The decoders raise whatever a damaged file makes them.
        return None, None, 'cannot be read', f'{type(e).__name__}: {e}'
    return frames, np.zeros(0, np.int16) if sound is None else sound, '', ''


def _joined(parts, split, annotations):
    """Yields what `_try_read` gave for each annotation, in order, from the prepared parts."""
    for k, builder in enumerate(parts):
        clips, n = Clips(builder, split), len(parts)
        skipped = {s['line']: s for s in builder.info.metadata['skipped'] if s['split'] == split and s['reason'] != 'bad line'}
        indices = iter(range(len(clips)))
        for a in annotations[len(annotations) * k // n:len(annotations) * (k + 1) // n]:
            if a.line in skipped:
                yield None, None, skipped[a.line]['reason'], skipped[a.line]['detail']
            else:
                yield *clips.raw(next(indices)), '', ''


def _summary(metadata):
    clips = [clip for split in metadata['splits'].values() for clip in split]
    skipped = metadata['skipped']
    text = f'prepared {len(clips)} clips, {sum(clip["frames"] for clip in clips)} frames; skipped {len(skipped)}'
    reasons = []
    for reason in sorted({s['reason'] for s in skipped}):
        found = [s['id'] + (f' ({s["detail"]})' if s['detail'] else '') for s in skipped if s['reason'] == reason]
        reasons.append(f'{reason} ({len(found)}): {", ".join(found[:10])}' + (', ...' if len(found) > 10 else ''))
    return text + (': ' + '; '.join(reasons) if reasons else '')


def annotation_files(root: str | os.PathLike) -> list[str]:
    """Gives the names of the annotation files that a folder holds."""
    return [name for name in (*SPLITS.values(), ANNOTATIONS) if os.path.isfile(os.path.join(root, name))]


def split_files(files: Iterable[str]) -> dict[str, str]:
    """Gives the annotation file of each split, among the names of those that exist; Annotations.txt alone is all for training."""
    return {split: name for split, name in SPLITS.items() if name in files} or {'train': ANNOTATIONS}


def _fingerprint(root):
    digest = hashlib.sha256()
    for name in annotation_files(root):
        with open(os.path.join(root, name), 'rb') as f:
            content = f.read()
        digest.update(f'{name} {len(content)}\n'.encode() + content)
    return digest.hexdigest()


def find_root(root: str | os.PathLike) -> str:
    """Finds the folder with the annotation files, which is `root` or AVE_Dataset in it; InputError where neither has any."""
    for folder in (os.fspath(root), os.path.join(root, 'AVE_Dataset')):
        if annotation_files(folder):
            return folder
    raise InputError(f'{root}: holds no {ANNOTATIONS} nor {", ".join(SPLITS.values())}; {INSTRUCTIONS}')


def prepare(root: str | os.PathLike, side: int, rate: float, prepared: str | os.PathLike = '', workers: int | None = None,
            part: tuple[int, int] = (0, 1), wait: Callable[[str], None] = lambda name: None) -> tfds.core.DatasetBuilder:
    """Decodes the set into records; where they are there already, opens them.

    Several hosts that share a disk do it together: each decodes its part of the clips, and the first one joins the parts, so that the
    records are those that one host would have made.

    Args:
        root: the folder with the annotation files, or its parent that holds AVE_Dataset.
        side: width and height of the frames, in pixels.
        rate: frames per second.
        prepared: folder of the records, `<root>/prepared` by default; about 9 GB for AVE at 256 pixels, 8 a second.
        workers: clips decoded at a time, the number of cores by default.
        part: (k, n) for process k of n that call this function together.
        wait: their barrier, which is called with a name.

    Returns:
        The TFDS builder. Its `info.metadata` holds `categories` (sorted; a tag is an index into them); `splits`, for each split a list of
        clips `{id, tag, kind, first, frames, samples}`, where kind is the annotation's quality, first the index of the clip's first
        record and samples the length of its sound; `skipped`, a list of `{split, id, line, reason, detail}`; and the `fingerprint` of
        the annotation files.

    Raises:
        InputError: there are no annotations or no readable clip, `prepared` cannot be written, or it was made from another state of the
            annotation files.
    """
    if side < 1 or not rate > 0:
        raise InputError(f'side and rate: frames need a side of at least 1 and a rate above 0, got {side} and {rate}')
    root = find_root(root)
    prepared = os.fspath(prepared) or os.path.join(root, 'prepared')

    name = f'{side}px_{rate:g}fps'

    def made(folder, part=(0, 1), parts=()):
        def make_builder():
            builder = Ave(config=AveConfig(name=name, side=side, rate=rate), data_dir=folder)
            builder.workers, builder.part, builder.parts = workers or os.cpu_count() or 1, part, parts
            return builder
        return records.prepare(make_builder, folder, root, _fingerprint(root))

    (k, n), folder = part, os.path.join(prepared, 'parts')
    parts: Sequence[Ave] = ()
    if n > 1:
        missing = not os.path.exists(os.path.join(prepared, Ave.name, name, str(Ave.VERSION)))
        wait('data looked for')
        if missing:
            made(os.path.join(folder, f'{k}_of_{n}'), part)
            wait('parts prepared')
            parts = [made(os.path.join(folder, f'{i}_of_{n}'), (i, n))[0] for i in range(n)] if k == 0 else ()
        if k > 0:
            wait('data prepared')
    builder, new = made(prepared, parts=parts)
    if k == 0:
        shutil.rmtree(folder, ignore_errors=True)
        wait('data prepared')
    if new:
        print(_summary(builder.info.metadata))
    return builder
