"""Files in, folders out: which files are predicted, what their results are called, and reading ahead."""
import collections
import concurrent.futures
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from stanet_jax import InputError, one_line
from stanet_jax.media.picture import PICTURE_SUFFIXES
from stanet_jax.media.video import VIDEO_SUFFIXES
from stanet_jax.workdir import check_replaceable

T = TypeVar('T')


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yields the items of an iterator; a thread computes the next one meanwhile."""
    end: Any = object()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        item = thread.submit(next, items, end)
        while (done := item.result()) is not end:
            item = thread.submit(next, items, end)
            yield done


def is_picture(path: pathlib.Path) -> bool:
    """Whether a file is taken for a picture, by its suffix; any other is taken for a video."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def find_files(paths: Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    """The given files, and the videos and pictures in the given folders, each once; InputError where a folder holds none."""
    found, known = [], VIDEO_SUFFIXES | PICTURE_SUFFIXES
    for path in map(pathlib.Path, paths):
        inside = [path]
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if not p.name.startswith('.') and p.is_file())
            inside = [p for p in files if p.suffix.lower() in known]
            report_others(path, [p for p in files if p.suffix.lower() not in known])
        if not inside:
            raise InputError(f'{path}: no video in this folder, nor a picture (named {", ".join(sorted(known))}); name the files')
        found += inside
    return list({path.resolve(): path for path in found}.values())


def report_others(folder: pathlib.Path, files: Sequence[pathlib.Path]) -> None:
    """Says on standard error how many files of a folder are passed over, as their endings are not those of videos or pictures."""
    if files:
        endings = ', '.join(sorted({p.suffix.lower() or 'no ending' for p in files})[:10])
        counted = f'{len(files)} {"files are" if len(files) > 1 else "file is"} passed over ({endings})'
        print(one_line(f'{folder}: {counted}; a file that is named is read whatever its ending'), file=sys.stderr)


def output_names(files: Sequence[pathlib.Path]) -> list[str]:
    """A name for the results of each file: its own, without its suffix where no other has the same, else with it, or numbered."""
    stems = collections.Counter(file.stem.casefold() for file in files)
    result: list[str] = []
    for file in files:
        name = file.stem if stems[file.stem.casefold()] == 1 and file.stem.strip('.') else file.name
        numbered = itertools.chain([name], (f'{shorten(name, 250)}_{k}' for k in itertools.count(2)))
        result.append(next(n for n in numbered if n.casefold() not in {r.casefold() for r in result}))
    return result


def shorten(name: str, most: int) -> str:
    """The beginning of a name that has at most `most` bytes on disk."""
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def result_folder(out: str | os.PathLike, name: str) -> pathlib.Path:
    """The folder `<out>/<name>`; InputError where it exists and holds other things than maps and overlays."""
    folder = pathlib.Path(out) / name
    check_replaceable(folder, r'maps(\.mkv|/eyeMap_\d+\.png)|overlay\.(mp4|png)|pred_sal_\d+\.jpg', 'maps')
    return folder
