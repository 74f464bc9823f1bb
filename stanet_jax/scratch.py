"""Names for what is not whole yet, and the hold of a process on a folder, so that two do not write the same, nor leave anything behind."""
import contextlib
import errno
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator

from stanet_jax import InputError

ORBAX_SCRATCH = '.orbax-checkpoint-tmp'  # behind the name of what Orbax is writing
_SCRATCH = re.compile(rf'\..+\.[0-9a-f]{{8}}\.([0-9]+)\.(new|old|png)({ORBAX_SCRATCH})?', re.DOTALL)  # what `scratch_path` gives
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_PICTURES = 'maps'  # folders of many files, none of them scratch


def hidden_name(name: str) -> str:
    """A name for what becomes the file or folder `name` when it is whole: hidden, and short, as file systems take 255 bytes alone."""
    return f'.{name[:40]}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}'


def scratch_path(path: pathlib.Path, kind: str = 'new') -> pathlib.Path:
    """A path beside a file or folder for what becomes it, of this process alone, with `kind` as its suffix."""
    path = pathlib.Path(os.path.abspath(path))  # so that '.', too, has a name
    return path.with_name(f'{hidden_name(path.name)}.{os.getpid()}.{kind}')


@contextlib.contextmanager
def hold(folder: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Keeps other processes that would hold the folder too from it while the block runs, and removes what killed ones left in it.

    The system lets go of the folder when this process ends, however that happens. A folder that does not exist is created, and one that
    is empty at the end is removed. A file system without such locks is taken as it is.

    Args:
        folder: to be written.
        wait: whether to wait, which is told, until another process lets go of it.
    Raises:
        OSError: as the block does; of a full or broken disk with the folder as its file where it names none.
        InputError: another process holds it and `wait` is False, or it cannot be written.
    """
    with _hold(folder, folder, wait):
        yield


@contextlib.contextmanager
def _hold(folder, named, wait):
    handle = _lock(folder, named, wait)
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _DISK:  # as of writing to an open file
            raise OSError(error.errno, error.strerror, os.fspath(named)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(folder)):
                folder.rmdir()
        os.close(handle)


@contextlib.contextmanager
def hold_output(path: pathlib.Path) -> Iterator[None]:
    """As `hold`, for a file or a folder that is replaced as a whole: what is held is a hidden folder beside it."""
    named, path = path, pathlib.Path(os.path.abspath(path))  # so that '.', too, has a name
    with _hold(path.with_name(hidden_name(path.name)), named, False):
        for left in path.parent.iterdir():
            found = _SCRATCH.fullmatch(left.name)
            if found and left.name.startswith(f'.{path.stem[:40]}') and not _is_alive(int(found[1])):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        yield


def _is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user
    return process != os.getpid()


@contextlib.contextmanager
def making(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a hidden folder, which becomes `out` when the block ends; nothing of it is left where it fails.

    Another process that makes the same is waited for.

    Raises:
        InputError: `out` exists.
    """
    if os.path.lexists(out):
        raise InputError(f'{out}: exists already; delete it or give another folder')
    new = out.with_name(hidden_name(out.name))
    with _hold(new, out, True):
        if os.path.lexists(out):  # made by another process meanwhile
            raise InputError(f'{out}: exists already; delete it or give another folder')
        try:
            empty(new)
            yield new
            new.rename(out)
        except BaseException:
            empty(new)
            raise


def empty(folder: pathlib.Path) -> None:
    """Removes what is in a folder."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextlib.contextmanager
def replacing_file(path: pathlib.Path, kind: str = 'new') -> Iterator[pathlib.Path]:
    """Yields the path of a file to write, which takes the place of `path` when the block ends; nothing of it is left where it fails."""
    new = scratch_path(path, kind)
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _lock(folder, named, wait):
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # removed by who held it
        except OSError as error:
            raise InputError(f'{named}: cannot be written ({error.strerror}); give another folder') from None
        try:
            locked = _lock_handle(handle, named, wait)
            if os.path.samestat(os.fstat(handle), os.stat(folder)):  # or else who held it has removed or renamed it
                if locked:
                    clear_scratch(folder)
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock_handle(handle, named, wait):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise InputError(f'{named}: another process is writing it; wait until that ends, or give another folder') from None
        print(f'{named}: another process is writing it; waiting until that ends', file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False  # a file system without locks
    return True


def clear_scratch(folder: pathlib.Path) -> None:
    """Removes what killed processes left of their `scratch_path` in a folder, and in those below it where it is that of a run."""
    for place, folders, files in os.walk(folder):
        for name in filter(_SCRATCH.fullmatch, folders):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)
        for name in filter(_SCRATCH.fullmatch, files):
            os.unlink(os.path.join(place, name))
        folders[:] = [name for name in folders if name != _PICTURES and not _SCRATCH.fullmatch(name)]
        if not (folder / 'config.json').exists():
            return
