"""Reads VGGSound (about 200,000 clips of 10 seconds, 309 classes) for `preparation.prepare`:

    <root>/vggsound.csv            lines `YouTube id,start in seconds,label,split`
    <root>/**/<id>_<start>.mp4     the clip, which is read as it is: <start> as 30, 000030, 30_40, 000030_000040 or 30000_40000
    <root>/**/<id>.mp4             or the whole film, of which ten seconds from the start are read

in any folders and containers. The CSV file may have another name, or be what `root` names.
"""
import csv
import functools
import hashlib
import os
import pathlib
from typing import Any, NamedTuple

from stanet_jax import InputError
from stanet_jax.data.folders import KIND
from stanet_jax.data.preparation import Listing, Source
from stanet_jax.data.shards import SourceClip, skip
from stanet_jax.media.video import VIDEO_SUFFIXES

TABLE = 'vggsound.csv'
SECONDS = 10  # of a clip
SPLITS = ('train', 'test')
INSTRUCTIONS = ('get vggsound.csv from https://www.robots.ox.ac.uk/~vgg/data/vggsound and put it into a folder with the clips, named '
                '<YouTube id>_<start in six digits>.mp4')


class Row(NamedTuple):
    """A line of VGGSound's CSV file: its number from 1 on, and what stands there; `start` is in seconds."""
    line: int
    id: str
    start: int
    label: str
    split: str


def find_table(root: str | os.PathLike) -> pathlib.Path:
    """Finds the CSV file, which is `root` or lies in it; InputError where there is none."""
    path = pathlib.Path(root) if os.path.isfile(root) else pathlib.Path(root, TABLE)
    if not path.is_file():
        raise InputError(f'{root}: holds no {TABLE}; {INSTRUCTIONS}')
    return path


def is_there(root: str | os.PathLike) -> bool:
    """Whether `root` is VGGSound's CSV file, by its name, or holds it."""
    return os.path.isfile(os.path.join(root, TABLE)) or os.path.isfile(root) and os.path.basename(root) == TABLE


def source(root: str | os.PathLike) -> Source:
    """Finds VGGSound in a folder, or by its CSV file; InputError where there is none."""
    table = find_table(root)
    read = functools.partial(read_listing, table)
    return Source('vggsound', os.fspath(table), hashlib.sha256(table.read_bytes()).hexdigest(), read, INSTRUCTIONS,
                  os.fspath(table.parent / 'prepared'))


def read_listing(table: pathlib.Path) -> Listing:
    """Lists the clips of the CSV file; one whose file is missing is named by where it should be."""
    rows, skipped = read_table(table)
    files, categories = find_files(table.parent), sorted({row.label for row in rows})
    index = {label: i for i, label in enumerate(categories)}
    splits: dict[str, list[SourceClip]] = {split: [] for split in SPLITS if any(row.split == split for row in rows)}
    for row in rows:
        name = f'{row.id}_{row.start:06d}'
        clip = SourceClip(name, (index[row.label],), str(table.parent / f'{name}.mp4'), row.id, KIND, line=row.line)
        trimmed = next((files[stem] for stem in clip_stems(row) if stem in files), None)
        if trimmed is not None:
            clip = clip._replace(path=trimmed)
        elif row.id in files:
            clip = clip._replace(path=files[row.id], start=float(row.start), end=float(row.start + SECONDS))
        splits[row.split].append(clip)
    return Listing(categories, splits, skipped)


def clip_stems(row: Row) -> list[str]:
    """Gives the names, without suffix, that the file of a clip may have."""
    start, end = row.start, row.start + SECONDS
    return [f'{row.id}_{of}' for of in (f'{start:06d}', str(start), f'{start:06d}_{end:06d}', f'{start}_{end}', f'{start}000_{end}000')]


def find_files(root: str | os.PathLike) -> dict[str, str]:
    """Finds the videos in a folder and those in it: paths by name without suffix."""
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(os.fspath(root), followlinks=True):
        folders[:] = sorted(name for name in folders if name != 'prepared' and not name.startswith('.'))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in VIDEO_SUFFIXES and not name.startswith('.'):
                found.setdefault(stem, os.path.join(folder, name))
    return found


def read_table(path: str | os.PathLike) -> tuple[list[Row], list[dict[str, Any]]]:
    """Reads VGGSound's CSV file; a line of names at its top is skipped.

    Returns:
        The rows in the file's order, and lines that cannot be used, as dicts that `shards.skip` gives.
    Raises:
        InputError: the file cannot be read.
    """
    rows: list[Row] = []
    skipped: list[dict[str, Any]] = []
    try:
        with open(path, encoding='utf-8-sig', errors='replace', newline='') as file:
            reader = csv.reader(file)
            for fields in reader:
                number, fields = reader.line_num, [field.strip() for field in fields]
                if not any(fields) or not rows and not skipped and fields[-1] == 'split':
                    continue
                try:
                    rows.append(_parse(number, fields))
                except ValueError as e:
                    skipped.append(skip('train', ','.join(fields), number, 'bad line', str(e)))
    except (OSError, csv.Error) as e:
        raise InputError(f'{path}: {getattr(e, "strerror", None) or e}; {INSTRUCTIONS}') from None
    return rows, skipped


def _parse(number, fields):
    if len(fields) != 4:
        raise ValueError('not 4 fields with commas between')
    clip_id, start, label, split = fields
    if not clip_id or not label:
        raise ValueError('no label' if clip_id else 'no id')
    if '/' in clip_id or '\\' in clip_id or '\0' in clip_id:
        raise ValueError('an id that is no file name')
    if not start.isdecimal():
        raise ValueError('start is no whole number of seconds')
    if split not in SPLITS:
        raise ValueError(f'its split is neither {" nor ".join(SPLITS)}')
    return Row(number, clip_id, int(start), label, split)
