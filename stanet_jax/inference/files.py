"""Files in, folders out: which files are predicted, what their results are called, and reading ahead."""
import collections
import concurrent.futures
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from stanet_jax import InputError
from stanet_jax.media.picture import PICTURE_SUFFIXES
from stanet_jax.media.video import VIDEO_SUFFIXES

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
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in known and p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise InputError(f'{path}: no video in this folder, nor a picture (named {", ".join(sorted(known))}); name the files')
        found += inside
    return list({path.resolve(): path for path in found}.values())


def output_names(files: Sequence[pathlib.Path]) -> list[str]:
    """A name for the results of each file: its own, without its suffix where no other has the same, else with it, or numbered."""
    stems = collections.Counter(file.stem.casefold() for file in files)
    result: list[str] = []
    for file in files:
        name = file.stem if stems[file.stem.casefold()] == 1 else file.name
        numbered = itertools.chain([name], (f'{name}_{k}' for k in itertools.count(2)))
        result.append(next(n for n in numbered if n.casefold() not in {r.casefold() for r in result}))
    return result


def result_folder(out: str | os.PathLike, name: str) -> pathlib.Path:
    """The folder `<out>/<name>`; InputError where it exists and holds other things than maps and overlays."""
    folder = pathlib.Path(out) / name
    if folder.exists() and any(not re.fullmatch(r'maps|overlay\.(mp4|png)|pred_sal_\d+\.jpg', p.name) for p in folder.iterdir()):
        raise InputError(f'{folder}: is there, and holds other things than maps; give another --out')
    return folder
