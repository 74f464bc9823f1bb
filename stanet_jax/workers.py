"""Worker processes that do not outlive the process that starts them."""
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

AGAIN = 30.0  # seconds until a worker gets a second SIGTERM, before which a training has saved


@contextlib.contextmanager
def pool(workers: int, begin: Callable[..., object] | None = None,
         arguments: tuple[Any, ...] = ()) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Yields a pool of new processes, as JAX does not survive a fork; `begin(*arguments)` is called in each first.

    Where the block fails, or is stopped by Ctrl-C, what has not begun is dropped; Python's own pool would do it all first. Python's own
    workers wait for more work for ever where the process that started them was killed. These get SIGTERM when it ends, in whichever way.
    """
    with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _begin, (begin, arguments)) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _begin(begin, arguments):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin:
        begin(*arguments)


def _end_with_parent():
    multiprocessing.parent_process().join()
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(AGAIN)
