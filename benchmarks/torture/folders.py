"""Compares folders of results, bit by bit but for what cannot be equal, and finds what was left over."""
import json
import os
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
import orbax.checkpoint as ocp

# Of these the content is a matter of time or place: TensorBoard's events of each start, durations, compiled programs, Orbax's own notes.
NOT_COMPARED = ('events.out.tfevents', '_CHECKPOINT_METADATA', 'commit_success.txt')
DURATIONS, PAGE, COMPILED = 'stages.json', 'report.html', 'compiled'
MAT_HEAD = 116  # bytes of a .mat file, which say when it was written


def left_over(folder: pathlib.Path) -> list[str]:
    """What is in a folder that only unfinished work has: hidden names, and names that say that something is not complete."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.name.startswith('.') or '.incomplete' in path.name
                  or 'orbax-checkpoint-tmp' in path.name or path.name.endswith(('.part', '.partial')))


def differences(found: pathlib.Path, wanted: pathlib.Path) -> list[str]:
    """In what a folder differs from another, a line each; arrays that Orbax wrote are compared as arrays, all else byte by byte."""
    ours, theirs = (dict(_content(folder)) for folder in (found, wanted))
    lines = [f'{name}: is missing' for name in sorted(theirs.keys() - ours.keys())]
    lines += [f'{name}: is too much' for name in sorted(ours.keys() - theirs.keys())]
    return lines + [f'{name}: differs' for name in sorted(ours.keys() & theirs.keys()) if not _equal(ours[name], theirs[name])]


def _content(folder) -> Iterator[tuple[str, pathlib.Path]]:
    """(path in the folder, path) of what is compared: files, empty folders, folders of arrays."""
    for place, folders, files in os.walk(folder):
        here = pathlib.Path(place)
        if '_METADATA' in files:
            folders.clear()
            yield str(here.relative_to(folder)), here
            continue
        folders[:] = [name for name in folders if name != COMPILED]
        if not folders and not files:
            yield str(here.relative_to(folder)), here
        for name in files:
            if not name.startswith(NOT_COMPARED):
                yield str((here / name).relative_to(folder)), here / name


def _equal(found, wanted):
    if found.is_dir() or wanted.is_dir():
        return found.is_dir() and wanted.is_dir() and same_arrays(found, wanted)
    if found.name == DURATIONS:
        return json.loads(found.read_text()).keys() == json.loads(wanted.read_text()).keys()
    start = MAT_HEAD if found.suffix == '.mat' else 0
    return found.name == PAGE or found.read_bytes()[start:] == wanted.read_bytes()[start:]


def same_arrays(found: pathlib.Path, wanted: pathlib.Path) -> bool:
    """Whether two folders of Orbax hold the same arrays, to the bit; of two empty folders, too."""
    if not any(found.iterdir()) or not any(wanted.iterdir()):
        return not any(found.iterdir()) and not any(wanted.iterdir())
    with ocp.PyTreeCheckpointer() as checkpointer:
        trees = [checkpointer.restore(path.absolute(), restore_args=None) for path in (found, wanted)]
    if jax.tree.structure(trees[0]) != jax.tree.structure(trees[1]):
        return False
    pairs = zip(*(map(np.asarray, jax.tree.leaves(tree)) for tree in trees), strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
