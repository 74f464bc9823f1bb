"""Workers end with the process that starts them, however it ends."""
import os
import pathlib
import subprocess
import sys
import time

import pytest

from stanet_jax import workers

ROOT = pathlib.Path(__file__).parents[1]
PROGRAM = """
import os, time
from stanet_jax import workers
if __name__ == '__main__':
    with workers.pool(1, print, ('begun', )) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_worker_ends_with_a_process_that_is_killed(tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'}
    with subprocess.Popen([sys.executable, tmp_path / 'program.py'], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == 'begun\n'
        worker = int(process.stdout.readline())
        os.kill(worker, 0)  # it is there
        process.kill()
    deadline = time.time() + 30
    while is_there(worker):
        assert time.time() < deadline
        time.sleep(0.05)


def is_there(process):
    """Whether a process runs, and is not one that ended and that nobody has waited for."""
    try:
        os.kill(process, 0)
        state = pathlib.Path(f'/proc/{process}/stat')
        return not state.exists() or 'Z' not in state.read_text().split()[2]
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_has_not_begun_is_dropped_where_the_block_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), workers.pool(1) as pool:
        jobs = [pool.submit(time.sleep, 0.2) for _ in range(100)]
        jobs[0].result()
        begun = time.time()
        raise KeyboardInterrupt
    assert time.time() - begun < 5 and sum(job.cancelled() for job in jobs) > 90
