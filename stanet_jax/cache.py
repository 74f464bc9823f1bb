"""Our folder in the user's cache: fetched weights, and the programs that JAX has compiled, for the next command to read."""
import hashlib
import os
import pathlib
import platform
import sys

LARGEST = 1 << 30  # bytes of compiled programs that are kept


def cache_folder() -> pathlib.Path:
    """The folder: $STANET_CACHE, or stanet_jax in the user's cache."""
    return pathlib.Path(os.environ.get('STANET_CACHE') or user_cache() / 'stanet_jax')


def user_cache() -> pathlib.Path:
    """The folder of all that may be deleted and made again: $XDG_CACHE_HOME, or ~/.cache."""
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()


def keep_compiled(largest: int = LARGEST) -> None:
    """Lets JAX keep what it compiles for this kind of processor, and read it back; best called before JAX is imported.

    JAX itself tells programs, versions and compiler flags apart. $JAX_COMPILATION_CACHE_DIR has precedence, and
    JAX_ENABLE_COMPILATION_CACHE=false turns it off. The oldest programs are deleted where all of them are larger than `largest` bytes. A
    cache that cannot be written is no error: nothing is kept.
    """
    if os.environ.get('JAX_COMPILATION_CACHE_DIR'):
        return
    folder = cache_folder() / 'compiled' / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shrink(folder, largest)
    except OSError:
        return
    settings = {'jax_compilation_cache_dir': str(folder), 'jax_persistent_cache_min_compile_time_secs': '0.3'}
    os.environ.update({name.upper(): value for name, value in settings.items()})  # worker processes inherit it
    if 'jax' in sys.modules:
        import jax  # here, as commands that do without it start sooner
        jax.config.update('jax_compilation_cache_dir', settings['jax_compilation_cache_dir'])
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)


def processor() -> str:
    """A short name of what this machine's processor can do, as programs for one may not run on another."""
    try:
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
        features = next(line for line in lines if line.startswith(('flags', 'Features')))
    except (OSError, StopIteration):
        features = platform.processor()
    return hashlib.sha256(f'{platform.machine()} {features}'.encode()).hexdigest()[:12]


def shrink(folder: pathlib.Path, largest: int) -> None:
    """Deletes the files of a folder that were used longest ago until it is no larger than `largest` bytes."""
    files = [(max(file.stat().st_atime, file.stat().st_mtime), file.stat().st_size, file) for file in folder.iterdir() if file.is_file()]
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= largest:
            return
        file.unlink(missing_ok=True)  # another process may have done it
        total -= size
