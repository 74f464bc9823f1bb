"""Workers end with the process that starts them, however it ends."""
import os
import pathlib
import subprocess
import sys
import time

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
    while pathlib.Path(f'/proc/{worker}').exists() and 'Z' not in pathlib.Path(f'/proc/{worker}/stat').read_text().split()[2]:
        assert time.time() < deadline
        time.sleep(0.05)
