"""A run's folder: its config, files that are written whole or not at all, and reading it back."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import ml_collections
import tqdm
from jax.experimental import multihost_utils

from stanet_jax import InputError
from stanet_jax.scratch import empty, hold, replacing_file, scratch_path

WRITING = '.writing.'  # folders of what `write_missing` writes, by process


def barrier(name: str) -> None:
    """Waits until all processes of the run reach the barrier of this name."""
    multihost_utils.sync_global_devices(name)


def replace_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8: under a temporary name, which then replaces the file.

    Bytes of file names that are no text stand in it as `\\udc..`.
    """
    with replacing_file(path) as new:
        new.write_text(text, 'utf-8', 'backslashreplace')


def check_replaceable(folder: pathlib.Path, ours: str, what: str) -> None:
    """Raises InputError where `folder` is a file, or holds a file or link whose path in it the regular expression `ours` does not match."""
    held = (path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_symlink() or not path.is_dir())
    if folder.is_file() or not all(re.fullmatch(ours, name) for name in held):
        raise InputError(f'{folder}: is there, and holds other things than {what}; give another --out')


@contextlib.contextmanager
def replacing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the path of a folder to write, which takes the place of `folder` when the block ends; nothing of it is left where it fails."""
    new, old = (scratch_path(folder, kind) for kind in ('new', 'old'))
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def hold_workdir(workdir: str | os.PathLike) -> contextlib.AbstractContextManager[None]:
    """Keeps other runs from a run's folder, see `scratch.hold`; of several processes of a run the first one does."""
    return hold(pathlib.Path(workdir)) if jax.process_index() == 0 else contextlib.nullcontext()


def open_workdir(config: ml_collections.ConfigDict, workdir: str | os.PathLike) -> pathlib.Path:
    """Opens the folder of a run, created where it does not exist, and stores the run's config in it.

    Returns:
        The folder's path.
    Raises:
        InputError: the folder cannot be written, or belongs to a run of another config.
    """
    workdir = pathlib.Path(workdir)
    text, path = _text(config), workdir / 'config.json'
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            was, now = _flatten(_read_object(path)), _flatten(json.loads(text))
            changed = [f'{k} was {was.get(k)!r} and is {now.get(k)!r}' for k in sorted(was.keys() | now.keys())
                       if was.get(k) != now.get(k)]
            if changed:
                raise InputError(f'{workdir}: belongs to a run of another config ({"; ".join(changed[:3])}); give another --workdir')
        elif jax.process_index() == 0:
            replace_text(path, text)
    except ValueError as error:
        raise InputError(f'{path}: not a run\'s config ({error}); give another --workdir') from error
    except OSError as error:
        raise InputError(f'{workdir}: cannot be written ({error.strerror}); give another --workdir') from error
    return workdir


def write_config(workdir: str | os.PathLike, config: ml_collections.ConfigDict) -> None:
    """Writes the config of a run into its folder, where `read_config` finds it."""
    replace_text(pathlib.Path(workdir) / 'config.json', _text(config))


def _text(config):
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'


def _read_object(path):
    content = json.loads(path.read_text('utf-8'))
    if not isinstance(content, dict):
        raise ValueError('no object')
    return content


def _flatten(tree, prefix=''):
    items = [_flatten(v, f'{prefix}{k}.') if isinstance(v, dict) else {prefix + k: v} for k, v in tree.items()]
    return {k: v for item in items for k, v in item.items()}


def read_config(workdir: str | os.PathLike) -> ml_collections.ConfigDict:
    """The config of the run in a folder; InputError where the folder holds none."""
    path = pathlib.Path(workdir) / 'config.json'
    try:
        return ml_collections.ConfigDict(_read_object(path))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f'{path}: not a run ({why}); give the folder of one that was trained') from error


class FoundRun(NamedTuple):
    """A run, or a net of one: the run's folder, its config, and the net, '' for all of them."""
    folder: pathlib.Path
    config: ml_collections.ConfigDict
    net: str


def find_run(path: str | os.PathLike) -> FoundRun:
    """The run whose folder, or the folder of a net in it, `path` is; InputError where there is none."""
    path = pathlib.Path(path)
    inside = not (path / 'config.json').exists() and (path.parent / 'config.json').exists()
    folder = path.parent if inside else path
    return FoundRun(folder, read_config(folder), path.name if inside else '')


def made_at(folder: str | os.PathLike) -> int:
    """When the nets or masks in the folder of a net or of a run were made, in nanoseconds: 0 where there are none."""
    found = (path for pattern in ('variables*', '*/variables*', 'masks/*') for path in pathlib.Path(folder).glob(pattern))
    return max((path.stat().st_mtime_ns for path in found), default=0)


def write_missing(out: pathlib.Path, names: Sequence[str], sizes: Sequence[int],
                  make: Callable[[list[int]], Iterable[tuple[int, Callable[[pathlib.Path], object]]]], unit: str,
                  again: bool = False) -> None:
    """Writes those of a number of files or folders that do not exist yet; each process writes its share of them.

    A file or folder gets its name when it is complete, so that an interrupted run can be resumed.

    Args:
        out: the folder to write to; created where it does not exist.
        names: of the files or folders in it.
        sizes: what each of them counts on the progress bar.
        make: takes the indices of the missing ones and gives pairs (i, write), in any order; `write(path)` writes the file or folder
            of `names[i]` to a path, and is called in another thread.
        unit: of `sizes`, on the progress bar.
        again: whether existing files and folders are written again.
    """
    scratch = out / f'{WRITING}{jax.process_index()}'
    with hold(scratch, wait=True):  # another run may write the same, as of a set that both read
        try:
            empty(scratch)
            missing = [i for i in range(jax.process_index(), len(names), jax.process_count()) if again or not (out / names[i]).exists()]
            _write(scratch, out, names, sizes, missing, make, unit)
        finally:
            empty(scratch)
    barrier(f'{out} written')


def _write(scratch, out, names, sizes, missing, make, unit):
    def put(write, name):
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        write(scratch / name)
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        (scratch / name).rename(out / name)

    with concurrent.futures.ThreadPoolExecutor(2) as pool, tqdm.tqdm(
            total=sum(sizes[i] for i in missing), desc=f'{out.parent.name} {out.name}', unit=unit, mininterval=1) as progress:
        waiting = []
        for i, write in make(missing):
            waiting.append(pool.submit(put, write, names[i]))
            while len(waiting) > 4 or waiting and waiting[0].done():
                waiting.pop(0).result()
            progress.update(sizes[i])
        for job in waiting:
            job.result()
