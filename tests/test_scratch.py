"""A process holds the folder that it writes, and what killed processes left in it goes."""
import errno
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.scratch import hidden_name, hold, hold_output, making, replacing_file, scratch_path
from stanet_jax.training import checkpoint
from stanet_jax.workdir import open_workdir, read_config, replacing

ROOT = pathlib.Path(__file__).parents[1]
HOLDER = ('import pathlib, sys, time; from stanet_jax.scratch import hold, hold_output, making\n'
          'with {}(pathlib.Path(sys.argv[1])) as new:\n    print("held", flush=True); time.sleep({})\n'
          '    new and (new / "x").write_text("other")')


def start(how, path, seconds=60.0):
    process = subprocess.Popen([sys.executable, '-c', HOLDER.format(how, seconds), str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'held\n'
    return process


def leave(path, kind='new', pid=2 ** 22 - 1):  # of no process
    left = path.with_name(f'{hidden_name(path.name)}.{pid}.{kind}')
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text('') if kind == 'png' else left.mkdir()
    return left


@pytest.mark.parametrize('holding', [hold, hold_output])
def test_a_second_process_is_told_and_a_kill_lets_go(tmp_path, holding):
    folder = tmp_path / 'run'
    with start(holding.__name__, folder) as process:
        with pytest.raises(InputError, match='another process is writing it; wait') as caught, holding(folder):
            pass
        assert '\n' not in str(caught.value)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with holding(folder):
        pass
    assert os.listdir(tmp_path) == []


def test_waiting_for_another_process(tmp_path, capsys):
    with start('hold', tmp_path / 'set', 0.5):
        begin = time.monotonic()
        with hold(tmp_path / 'set', wait=True):
            assert time.monotonic() - begin > 0.2
            (tmp_path / 'set' / 'x').write_text('')
    assert 'waiting until that ends' in capsys.readouterr().err and (tmp_path / 'set' / 'x').exists()


def test_what_two_processes_make_is_made_once(tmp_path):
    with start('making', tmp_path / 'world', 0.5):
        with pytest.raises(InputError, match='world: exists already'), making(tmp_path / 'world'):
            pytest.fail('made twice')
    assert os.listdir(tmp_path) == ['world'] and (tmp_path / 'world' / 'x').read_text() == 'other'


def test_what_fails_leaves_nothing(tmp_path):
    (tmp_path / 'a').write_text('old')
    with pytest.raises(OSError), replacing_file(tmp_path / 'a') as new:
        new.write_text('half')
        raise OSError
    with pytest.raises(OSError), making(tmp_path / 'b') as new:
        (new / 'c').write_text('half')
        raise OSError
    with pytest.raises(FileNotFoundError), replacing(tmp_path / 'a'):
        pass  # nothing is made, so that what was there stays
    assert os.listdir(tmp_path) == ['a'] and (tmp_path / 'a').read_text() == 'old'


def test_what_killed_processes_left_goes(tmp_path):
    run, plain = tmp_path / 'run', tmp_path / 'plain'
    left = [leave(run / 'a.json'), leave(run / 'net' / 'variables', 'old'), leave(run / 'net' / 'b', 'png'), leave(plain / 'film')]
    kept = [leave(plain / 'deep' / 'c'), leave(run / 'maps' / 'd'), run / '.hidden.new', run / 'config.json']
    for path in kept[2:]:
        path.write_text('')
    for folder in (run, plain):
        with hold(folder):
            pass
    assert not any(path.exists() for path in left) and all(path.exists() for path in kept)


def test_what_was_left_beside_an_output_goes_unless_its_process_lives(tmp_path):
    out = tmp_path / 'scores.json'
    left, alive, other = leave(out), leave(out, pid=os.getppid()), leave(tmp_path / 'else.json')
    with hold_output(out):
        assert not left.exists() and alive.exists() and other.exists()
        assert scratch_path(out).parent == tmp_path


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='run: cannot be written'), hold(tmp_path / 'file' / 'run'):
        pass


def test_errors_without_a_file_name_the_folder(tmp_path):
    with pytest.raises(OSError, match='No space') as caught, hold_output(tmp_path / 'a.json'):
        raise OSError(errno.ENOSPC, 'No space left on device')
    assert caught.value.filename == str(tmp_path / 'a.json') and caught.value.errno == errno.ENOSPC


def test_weights_that_cannot_be_written_are_told_and_the_older_ones_stay(tmp_path, capfd):
    """A limit on the size of files makes writing fail as a full disk does."""
    checkpoint.save_variables(tmp_path / 'weights', {'a': np.arange(3)})
    large = {f'{k}': np.random.default_rng(k).normal(size=100_000) for k in range(8)}  # which cannot be packed
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, hard))
    try:
        with pytest.raises(OSError, match='File too large') as caught:
            checkpoint.replace_variables(tmp_path / 'weights', large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG and 'weights' in caught.value.filename
    assert os.listdir(tmp_path) == ['weights'] and list(checkpoint.load_variables(tmp_path / 'weights')) == ['a']
    assert 'Event loop is closed' not in capfd.readouterr().err


@pytest.mark.parametrize('content', [b'\xff\xfe{', b'[1]', b'{', b''])
def test_a_config_that_is_none(tmp_path, content):
    (tmp_path / 'config.json').write_bytes(content)
    for read in (read_config, lambda folder: open_workdir(ConfigDict({'a': 1}), folder)):
        with pytest.raises(InputError, match=r"config\.json: not a run") as caught:
            read(tmp_path)
        assert '\n' not in str(caught.value)
