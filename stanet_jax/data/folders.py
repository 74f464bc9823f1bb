"""Reads videos in folders that are named by their tags, or listed in a CSV file, for `preparation.prepare`.

    <root>/<tag>/<video>                              splits are drawn
    <root>/{train,validation,test}/<tag>/<video>      splits are given; validation or test may be missing

A video may have any length and container, and lie in folders below its tag's. Or `root` is a CSV file with the columns

    file               relative to the folder of the CSV file, or to the one beside it that has its name without `.csv`
    tag                one or several, with semicolons between
    start, end         which part of the file, in seconds from its first frame; may be absent or empty
    source_video       the film that the file was cut from; may be absent, and then a file is a film of its own
    split              train, validation or test; may be absent, and then splits are drawn
    kind               by which scores are broken down; may be absent

in any order, and others, which are ignored; without a line of names the columns are file, tag, start and end. A folder with such a file in
it, `clips.csv`, or beside it, `<root>.csv`, is read by that file.

Videos are cut into clips of a length; a rest of less than a second belongs to the clip before it. A film lies in one split whole: of the
films of each tag (of several, a film's first) shares are drawn by a seed, and each split gets one where there are enough.
"""
import collections
import csv
import functools
import hashlib
import os
import pathlib
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from stanet_jax import InputError
from stanet_jax.data import records
from stanet_jax.data.preparation import Listing, Source
from stanet_jax.data.shards import SourceClip, skip
from stanet_jax.media import box
from stanet_jax.media.header import duration
from stanet_jax.media.video import VIDEO_SUFFIXES

SPLITS = ('train', 'validation', 'test')
SHARES = (0.8, 0.1, 0.1)
INSTRUCTIONS = ('put videos into folders that are named by their tags, DIR/<tag>/<video> or DIR/train/<tag>/<video>, or name a CSV file '
                'with columns file,tag,start,end')
KIND = 'clip'  # of clips of which no other is known
_COLUMNS = ('file', 'tag', 'start', 'end')
_LONGEST_NAME = 200  # bytes, as file systems take 255 and more is added to it
_REST = 1.0  # seconds; a shorter rest is no clip of its own


class Video(NamedTuple):
    """A video file, or a part of one, before it is cut into clips.

    Attributes:
        name: as it is listed.
        path: of the file.
        tags: their names.
        source: the film that it is of.
        split: '' where it is to be drawn.
        kind: by which scores are broken down.
        start, end: which part of the file, in seconds; up to the file's end where `end` is None.
        line: of the CSV file; 0 where there is none.
    """
    name: str
    path: str
    tags: tuple[str, ...]
    source: str
    split: str = ''
    kind: str = KIND
    start: float = 0.0
    end: float | None = None
    line: int = 0


def source(root: str | os.PathLike, clip_seconds: float = 10.0, shares: Sequence[float] = SHARES, seed: int = 0) -> Source:
    """Finds videos in folders or a CSV file.

    Args:
        root: the folder or the file.
        clip_seconds: length of a clip.
        shares: of train, validation and test among each tag's films, where splits are drawn.
        seed: of the draw.
    Raises:
        InputError: there is neither a folder with videos in it nor a CSV file.
    """
    if not clip_seconds > 0:
        raise InputError(f'clip_seconds: clips must be longer than 0 seconds, got {clip_seconds}')
    root = pathlib.Path(root)
    table = find_table(root)
    if table is None and not root.is_dir():
        raise InputError(f'{root}: no such folder, nor a CSV file; {INSTRUCTIONS}')
    digest = hashlib.sha256(f'{clip_seconds} {list(shares)} {seed}\n'.encode())
    if table is not None:
        digest.update(table.read_bytes())
        files = []
    else:
        files = find_videos(root)
        digest.update(''.join(f'{path.relative_to(root)} {path.stat().st_size}\n' for path in files).encode('utf-8', 'surrogateescape'))
        if not files:
            raise InputError(f'{root}: holds no folders with videos; {INSTRUCTIONS}')
    read = functools.partial(read_listing, root, table, files, clip_seconds, shares, seed)
    prepared = (root if root.is_dir() else root.with_suffix('')) / 'prepared'
    return Source('folders', os.fspath(table or root), digest.hexdigest(), read, INSTRUCTIONS, os.fspath(prepared), f'{clip_seconds:g}s')


def read_listing(root: pathlib.Path, table: pathlib.Path | None, files: Sequence[pathlib.Path], clip_seconds: float,
                 shares: Sequence[float], seed: int) -> Listing:
    """Lists the clips of the videos in a CSV file, or of files in folders, whose headers tell how long they are; see `source`."""
    videos, skipped = read_table(table) if table is not None else (read_folders(root, files), [])
    lengths = read_durations([video.path for video in videos])
    splits = draw_splits(videos, [length is not None for length in lengths], shares, seed)
    used = [split for split in SPLITS if split in splits]
    categories = sorted({tag for video in videos for tag in video.tags})
    index = {tag: i for i, tag in enumerate(categories)}
    clips: dict[str, list[SourceClip]] = {split: [] for split in used}
    for video, split, length in zip(videos, splits, lengths, strict=True):
        pieces = cut(video.start, video.end, length, clip_seconds)
        for start, end in pieces:
            name = clip_name(video.name) + (f'_{start:g}' if len(pieces) > 1 or start or end is not None else '')
            clips[split].append(SourceClip(name, tuple(index[tag] for tag in video.tags), video.path, video.source, video.kind,
                                           start, end, video.line))
    return Listing(categories, clips, skipped)


def clip_name(name: str) -> str:
    """Makes a name that is a folder's of a path: without its suffix, with `__` in place of separators, cut where it is very long."""
    joined = '__'.join(part for part in pathlib.PurePath(name).with_suffix('').parts if part not in ('/', '.', '..'))
    if len(os.fsencode(joined)) <= _LONGEST_NAME:
        return joined
    return f'{joined[:_LONGEST_NAME // 5]}_{hashlib.sha256(os.fsencode(joined)).hexdigest()[:12]}'


# ----------------------------------------------------------------------------------------------------------- what is there


def find_table(root: pathlib.Path) -> pathlib.Path | None:
    """Finds the CSV file that lists the videos, which is `root` or lies in it or beside it; None where there is none."""
    if root.is_file():
        return root
    for path in (root / 'clips.csv', root.with_name(f'{root.name}.csv') if root.name else root / 'clips.csv'):
        if path.is_file():
            with open(path, encoding='utf-8-sig', errors='replace', newline='') as file:
                if {'file', 'tag'} <= {name.strip() for name in next(csv.reader(file), [])}:
                    return path
    return None


def find_videos(root: str | os.PathLike) -> list[pathlib.Path]:
    """Finds the videos in the folders of a folder, sorted; hidden files and what is in the folder `prepared` are none."""
    found: list[pathlib.Path] = []
    root = os.fspath(root)
    for folder, folders, names in os.walk(root, followlinks=True):
        top = folder == root
        folders[:] = [name for name in folders if not name.startswith('.') and not (top and name == 'prepared')]
        found += [pathlib.Path(folder, name) for name in names
                  if not top and not name.startswith('.') and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES]
    return sorted(found)


def read_folders(root: pathlib.Path, files: Iterable[pathlib.Path]) -> list[Video]:
    """Reads the tag, and the split where it is given, from the folders of each video."""
    parts = [path.relative_to(root).parts for path in files]
    tops = {of[0] for of in parts}
    given = 'train' in tops and tops <= set(SPLITS) and all(len(of) > 2 for of in parts)
    videos = []
    for of in parts:
        split, name = (of[0], os.path.join(*of[1:])) if given else ('', os.path.join(*of))
        videos.append(Video(name, os.path.join(root, *of), (of[1] if given else of[0],), os.path.join(*of), split))
    return videos


def read_table(path: pathlib.Path) -> tuple[list[Video], list[dict[str, Any]]]:
    """Reads a CSV file.

    Returns:
        The videos, and lines that cannot be used, as dicts that `shards.skip` gives.
    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    try:
        with open(path, encoding='utf-8-sig', errors='replace', newline='') as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except (OSError, csv.Error) as e:
        raise InputError(f'{path}: {getattr(e, "strerror", None) or e}; {INSTRUCTIONS}') from None
    lines = [(number, row) for number, row in lines if any(row)]
    names: Sequence[str] = _COLUMNS
    if lines and 'file' in lines[0][1]:
        names = lines.pop(0)[1]
    if 'tag' not in names:
        raise InputError(f'{path}: has no column tag, only {", ".join(names)}; {INSTRUCTIONS}')
    videos: list[Video] = []
    skipped: list[dict[str, Any]] = []
    split_of: dict[str, str] = {}
    for number, row in lines:
        try:
            video = _read_row(dict(zip(names, row, strict=False)), number, path)
            if video.split and split_of.setdefault(video.source, video.split) != video.split:
                raise ValueError(f'its film is in the split {split_of[video.source]}')
            videos.append(video)
        except ValueError as e:
            skipped.append(skip('train', ','.join(row), number, 'bad line', str(e)))
    return videos, skipped


def _read_row(row, number, table):
    if not row.get('file'):
        raise ValueError('no file')
    tags = tuple(dict.fromkeys(tag.strip() for tag in row.get('tag', '').split(';') if tag.strip()))
    if not tags:
        raise ValueError('no tag')
    if row.get('split', '') not in ('', *SPLITS):
        raise ValueError(f'its split is none of {", ".join(SPLITS)}')
    try:
        start, end = (float(row[name]) if row.get(name) else None for name in ('start', 'end'))
    except ValueError:
        raise ValueError('start or end is no number') from None
    start = start or 0.0
    if not 0 <= start < (float('inf') if end is None else end):
        raise ValueError('the end is not after the start')
    places = [os.path.join(folder, row['file']) for folder in (table.parent, table.with_suffix(''))]
    path = next((place for place in places if os.path.exists(place)), places[0])
    return Video(row['file'], path, tags, row.get('source_video') or row['file'], row.get('split', ''), row.get('kind') or KIND, start, end,
                 number)


# ------------------------------------------------------------------------------------------------------- clips and splits


def read_durations(paths: Sequence[str]) -> list[float | None]:
    """Reads how long each file is, in seconds; None where it cannot be read."""
    def read(path):
        try:
            return box.call(duration, path)
        except (InputError, OSError):  # why it is skipped is found when it is decoded
            return None
    unique = list(dict.fromkeys(paths))
    found = records.in_order(read, unique, os.cpu_count() or 1)
    lengths = dict(zip(unique, tqdm.tqdm(found, 'Headers', len(unique), mininterval=1, delay=2, unit=' videos'), strict=True))
    return [lengths[path] for path in paths]


def cut(start: float, end: float | None, length: float | None, clip_seconds: float) -> list[tuple[float, float | None]]:
    """Cuts a part of a video into clips.

    Args:
        start, end: the part, in seconds; up to the video's end where `end` is None.
        length: of the video; None where it is not known.
        clip_seconds: length of a clip.
    Returns:
        (start, end) of each clip; at the end of the video `end` is None. A rest of less than a second, or of half a clip where that is
        less, belongs to the clip before it.
    """
    last = end if length is None else length if end is None else min(end, length)
    if last is None or last <= start:
        return [(start, end)]
    count = int((last - start) / clip_seconds + 1e-6)
    rest = last - start - count * clip_seconds
    count = max(1, count + (rest >= min(_REST, clip_seconds / 2)))
    edges = [start + k * clip_seconds for k in range(count)]
    ends: list[float | None] = [*edges[1:], end]
    return list(zip(edges, ends, strict=True))


def draw_splits(videos: Sequence[Video], readable: Sequence[bool], shares: Sequence[float], seed: int) -> list[str]:
    """Gives the split of each video: the one that is given for its film, or else drawn, as this module's docstring says.

    Films that cannot be read are counted with the training split, so that none of the others lacks one for them.
    """
    drawn = {video.source: video.split for video in videos if video.split}
    films: dict[str, list[str]] = collections.defaultdict(list)
    for video, can_be_read in zip(videos, readable, strict=True):
        if can_be_read and video.source not in drawn:
            drawn[video.source] = 'train'
            films[video.tags[0]].append(video.source)
    for tag, of in films.items():
        rng = np.random.default_rng([seed, zlib.crc32(tag.encode('utf-8', 'surrogateescape'))])
        order = rng.permutation(sorted(of)).tolist()
        for split, count in zip(SPLITS, split_counts(len(order), shares), strict=True):
            drawn.update(dict.fromkeys(order[:count], split))
            order = order[count:]
    return [drawn.get(video.source, 'train') for video in videos]


def split_counts(films: int, shares: Sequence[float]) -> list[int]:
    """Divides a number of films by shares; each split that has a share gets one, train first, as long as there are any."""
    counts, used = [0] * len(shares), [k for k, share in enumerate(shares) if share > 0]
    for k in used[:films]:
        counts[k] = 1
    for _ in range(films - len(used)):
        counts[max(used, key=lambda k: shares[k] * films - counts[k])] += 1
    return counts
