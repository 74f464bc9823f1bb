"""Runs commands of `stanet` in processes, which are forked from one that has imported JAX, and kills them with their children."""
import atexit
import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import sys
import time

CONTEXT = multiprocessing.get_context('forkserver')
# What takes long to import; modules of flags are left out, as every command defines its own.
PRELOADED = ['stanet_jax.cli', 'stanet_jax.pipeline.run', 'stanet_jax.inference.opening', 'stanet_jax.inference.videos',
             'stanet_jax.inference.predictor', 'stanet_jax.inference.released', 'stanet_jax.evaluation.evaluate', 'stanet_jax.eps.released',
             'stanet_jax.eps.training', 'stanet_jax.eps.scores', 'stanet_jax.weights.sources']
CONTEXT.set_forkserver_preload(PRELOADED)  # before anything starts the server, endurance.py included
LONGEST = 600.0  # seconds; what takes longer hangs


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (minus the signal's number where one ended it), what it wrote, and its seconds."""
    code: int
    out: str
    err: str
    seconds: float


class Command:
    """A command that runs."""

    def __init__(self, words: list[str], log: pathlib.Path):
        """Starts `stanet <words>`; what it writes goes to `<log>.out` and `<log>.err`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self.words, self._log, self._begin = words, log, time.monotonic()
        self._process = CONTEXT.Process(target=_run, args=(words, f'{log}.out', f'{log}.err'))
        self._process.start()
        atexit.register(self._end)

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def wait(self, seconds: float = LONGEST) -> Ended:
        """Waits for its end; what goes on for longer is killed."""
        self._process.join(seconds)
        self._end()
        atexit.unregister(self._end)
        texts = [pathlib.Path(f'{self._log}.{of}').read_text(errors='replace') if os.path.exists(f'{self._log}.{of}') else ''
                 for of in ('out', 'err')]
        assert self._process.exitcode is not None
        return Ended(self._process.exitcode, *texts, time.monotonic() - self._begin)

    def _end(self):
        if self.running:
            self.kill()

    def kill(self) -> None:
        """Kills it, and all that it has started, by SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)  # which may not have a group of its own yet
        self._process.join()


def _run(words, out, err):
    os.setsid()
    for path, number in ((out, 1), (err, 2)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
        os.close(handle)
    from stanet_jax import cli
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', closefd=False, buffering=1)
    cli.main(words)
