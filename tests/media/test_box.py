"""The child process around FFmpeg: what crashes or hangs in it costs one file, and nothing of it stays behind."""
import concurrent.futures
import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.media import box
from tests.media import crashing

ROOT = pathlib.Path(__file__).parents[2]


def gone(pid):
    for _ in range(100):
        try:
            if ' Z ' in pathlib.Path(f'/proc/{pid}/stat').read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_arrays_of_any_size_come_back():
    sizes = [3, 0, 100_000, 7, 3_000_000, 1, 50, 3_500_000, 2]
    found = list(box.iterate(crashing.grow, 'film', sizes))
    assert [size for size, _ in found] == sizes
    for size, array in found:  # all are kept, so that none lies in memory that is used again
        np.testing.assert_array_equal(array, np.arange(size, dtype=np.uint16))
        array[:1] = 0  # and each can be written


@pytest.mark.parametrize('after', [0, 3, 20])
def test_crash_names_the_file(after):
    found = box.iterate(crashing.crash, 'bad.mp4', after)
    with pytest.raises(InputError, match=r'^bad\.mp4: crashes the decoder \(Segmentation fault\)'):
        for k in range(after + 1):
            assert next(found)[0] == k
    assert box.call(crashing.take, 'good.mp4', 10) == 10


def test_hang_names_the_file_and_ends(monkeypatch):
    monkeypatch.setenv(box.TIMEOUT, '0.4')
    pid = box.call(crashing.tell, 'x')[0]
    begin, found = time.monotonic(), box.iterate(crashing.hang, 'slow.mp4', 2)
    assert [next(found)[0], next(found)[0]] == [0, 1]
    with pytest.raises(InputError, match=r'^slow\.mp4: no frame of it for 0\.4 s;.*--decode_timeout'):
        next(found)
    assert time.monotonic() - begin < 10 and gone(pid)


def test_slow_frames_are_no_hang(monkeypatch):
    monkeypatch.setenv(box.TIMEOUT, '0.8')
    assert box.call(crashing.count_slowly, 'long.mp4', 6, 0.3) == 6
    monkeypatch.setenv(box.TIMEOUT, 'soon')
    with pytest.raises(InputError, match='STANET_DECODE_TIMEOUT=soon: must be a number'):
        box.call(crashing.count_slowly, 'long.mp4', 1, 1.5)


def test_errors_are_one_line_of_the_file():
    for error, why in ((InputError('f: no video'), '^f: no video$'),
                       (ValueError('odd\nformat'), r'^f: cannot be decoded \(ValueError: odd format\)'),
                       (MemoryError(), r'^f: cannot be decoded \(MemoryError: \)')):
        with pytest.raises(InputError, match=why):
            box.call(crashing.fail, 'f', error)
    with pytest.raises(OSError, match='No space') as caught:
        box.call(crashing.fail, 'f', OSError(errno.ENOSPC, 'No space', 'out.mp4'))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == 'out.mp4'


def test_memory_is_bounded():
    with pytest.raises(InputError, match='f: cannot be decoded .*MemoryError'):
        box.call(crashing.take, 'f', 2 ** 34)


def test_a_child_serves_one_file_after_the_other_and_knows_no_jax(tmp_path, monkeypatch):
    pid, _, jax = box.call(crashing.tell, 'a')
    monkeypatch.chdir(tmp_path)
    assert box.call(crashing.tell, 'b') == (pid, os.getcwd(), False) and not jax
    found = box.iterate(crashing.grow, 'c', range(1000))
    next(found)
    found.close()  # a film that is not read to its end
    assert gone(pid) and box.call(crashing.tell, 'd')[0] != pid


def test_a_child_that_was_ended_costs_no_file():
    pid = box.call(crashing.tell, 'a')[0]
    os.kill(pid, signal.SIGKILL)
    assert gone(pid) and box.call(crashing.tell, 'b')[0] != pid


def test_a_child_for_each_thread():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda k: box.call(crashing.count_slowly, 'x', k, 0.01), range(12)))
    assert found == list(range(12))


@pytest.mark.parametrize('busy', [False, True])
def test_children_end_with_their_parent(busy):
    code = ('from stanet_jax.media import box; from tests.media import crashing; print(box.call(crashing.tell, "x")[0], flush=True)\n'
            f'{"box.call(crashing.hang, 1)" if busy else "import time; time.sleep(600)"}')
    with subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(pid)
