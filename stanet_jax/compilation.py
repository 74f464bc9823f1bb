"""How XLA compiles for us: quickly on a CPU, and once, as programs are kept in the user's cache for the next command; and its memory."""
import ctypes
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import sys
from typing import Any

from stanet_jax.cache import cache_folder

LARGEST = 1 << 30  # bytes of compiled programs that are kept
# On a CPU it about halved the time of compiling a training step of SA, which then took as long as without it.
QUICK = '--xla_cpu_use_fusion_emitters=false'
LEVEL = 'xla_backend_optimization_level'
ARENA_MAX, MMAP_MAX, TRIM_THRESHOLD = -8, -4, -1  # of glibc's mallopt


def prepare() -> None:
    """Calls `compile_quickly`, `keep_compiled` and `keep_memory`; to be called before JAX computes anything, and best before its import."""
    compile_quickly()
    keep_compiled()
    keep_memory()


def compile_quickly() -> None:
    """Adds `QUICK` to $XLA_FLAGS, unless they have this flag: for jaxlib 0.10 alone, as a version without it would end the process."""
    flags = os.environ.get('XLA_FLAGS', '')
    if QUICK.partition('=')[0] not in flags and importlib.metadata.version('jaxlib').startswith('0.10.'):
        os.environ['XLA_FLAGS'] = f'{flags} {QUICK}'.strip()


def optimise(level: int) -> dict[str, Any]:
    """`compiler_options` of `jax.jit`: how much of XLA's time goes into making a program fast on a CPU, 3 by default.

    At 0 initial variables are drawn more slowly, but are compiled so much faster that this is forgotten; a training step at 1 takes as
    long as at 3, and two thirds of the time to compile. $XLA_FLAGS that have a level, and accelerators, keep theirs.
    """
    import jax  # here, as commands that do without it start sooner
    return {LEVEL: level} if jax.default_backend() == 'cpu' and LEVEL not in os.environ.get('XLA_FLAGS', '') else {}


def keep_compiled(largest: int = LARGEST) -> None:
    """Lets JAX keep what it compiles for this kind of processor, and read it back.

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


def keep_memory() -> None:
    """Lets this process keep the memory that it frees, where the C library is glibc.

    XLA takes 100 MB and more for a step on a CPU and gives them back, and the kernel would clear their pages anew each time. Memory is
    then taken from one growing heap, of which up to 2 GB at its end are never given back.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    for setting, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1)):
        mallopt(setting, value)


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
