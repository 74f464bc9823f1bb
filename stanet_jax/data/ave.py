"""Reads AVE, and SynthAVE, which has its layout, for `preparation.prepare`:

    <root>/{Annotations,trainSet,valSet,testSet}.txt      lines `category&id&quality&start&end`
    <root>/AVE/<id>.mp4
"""
import functools
import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple

from stanet_jax import InputError
from stanet_jax.data.preparation import Listing, Source
from stanet_jax.data.shards import SourceClip, skip

INSTRUCTIONS = (
    'get AVE_Dataset.zip from https://sites.google.com/view/audiovisualresearch and unpack it: the folder AVE_Dataset '
    'then holds Annotations.txt, trainSet.txt, valSet.txt, testSet.txt, and in AVE/ the videos as <id>.mp4')
SPLITS = {'train': 'trainSet.txt', 'validation': 'valSet.txt', 'test': 'testSet.txt'}
ANNOTATIONS = 'Annotations.txt'


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


def source(root: str | os.PathLike) -> Source:
    """Finds AVE, or SynthAVE, in a folder that holds the annotation files or AVE_Dataset with them; InputError where neither does."""
    root = find_root(root)
    return Source('ave', root, _fingerprint(root), functools.partial(read_listing, root), INSTRUCTIONS,
                  os.path.join(root, 'prepared'))


def read_listing(root: str | os.PathLike) -> Listing:
    """Lists the clips of the folder with the annotation files: a clip is a line, of a whole video; its kind is the line's quality."""
    files = annotation_files(root)
    lines = {name: read_annotations(os.path.join(root, name)) for name in files}
    categories = sorted({a.category for annotations, _ in lines.values() for a in annotations})
    splits, skipped = {}, []
    for split, name in split_files(files).items():
        annotations, bad = lines[name]
        skipped += [skip(split, text, line, 'bad line', reason) for line, text, reason in bad]
        splits[split] = [SourceClip(a.id, (categories.index(a.category),), os.path.join(root, 'AVE', f'{a.id}.mp4'), a.id, a.quality,
                                    line=a.line) for a in annotations]
    return Listing(categories, splits, skipped)
