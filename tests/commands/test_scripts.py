"""The scripts as a user runs them: real processes, on a tiny SynthAVE; kills, several devices, several hosts, and mistakes."""
import json
import os
import pathlib
import signal
import socket
import sys
import time

import jax
import numpy as np
import pytest

from stanet_jax.data import ave, preparation, synthave
from stanet_jax.training import checkpoint
from tests import forked

ROOT = pathlib.Path(__file__).parents[2]
MEDIA = ROOT.parent / 'shared' / 'media'
SMALL = ['--config.data.side=48', '--config.width=8', '--config.batch=6', '--config.held_out_frames=1',
         '--config.data.frames_per_clip=4', '--config.log_every=1', '--config.schedule=constant']


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A tiny SynthAVE, prepared at 48 pixels."""
    root = tmp_path_factory.mktemp('world') / 'synthave'
    synthave.generate(root, synthave.Settings(train=12, validation=6, test=6, seconds=2.0, side=48), workers=1)
    preparation.prepare(ave.source(root), 48, 8.0)
    return root


def command(world, workdir, nets, steps, *more):
    epochs = [f'--config.epochs.{net}={(steps - 0.5) * 6 / 48}' for net in nets]
    return [sys.executable, 'train.py', '--config=configs/scam_coarse.py', f'--config.data.root={world}', f'--workdir={workdir}',
            f'--config.nets={tuple(nets)!r}', *epochs, *SMALL, *more]


def environment(devices=1):
    flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}'
    return {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags}


def start(arguments, devices=1):
    return forked.start(*arguments[1:], environment=environment(devices))


def run(arguments, devices=1):
    return start(arguments, devices).finish()


def losses(workdir, net):
    lines = [json.loads(line) for line in (workdir / net / 'log.jsonl').read_text().splitlines()]
    return [line['loss'] for line in lines if 'loss' in line]


def parameters(workdir, net):
    variables = checkpoint.load_variables(workdir / net / 'variables')
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(variables)])


def test_sigterm_saves_sigkill_does_no_harm_and_the_end_is_the_same_to_the_bit(world, tmp_path):
    steps, more = 150, ['--config.save_every=30', '--config.evaluate_every=1000']
    assert run(command(world, tmp_path / 'unbroken', ['S'], steps, *more)).returncode == 0
    broken = tmp_path / 'broken'
    for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):
        before = len(losses(broken, 'S')) if (broken / 'S' / 'log.jsonl').exists() else 0
        process = start(command(world, broken, ['S'], steps, *more))
        deadline = time.time() + 120
        while not (broken / 'S' / 'log.jsonl').exists() or len(losses_so_far(broken)) < before + 12:
            assert time.time() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        ended = process.finish()
        assert ended.returncode == code
        if number == signal.SIGTERM:
            assert 'stopped and saved at step' in ended.stdout
        assert not (broken / 'S' / 'variables').exists()
    assert run(command(world, broken, ['S'], steps, *more)).returncode == 0
    np.testing.assert_array_equal(parameters(broken, 'S'), parameters(tmp_path / 'unbroken', 'S'))
    assert losses(broken, 'S') == losses(tmp_path / 'unbroken', 'S')


def losses_so_far(workdir):
    return [line for line in (workdir / 'S' / 'log.jsonl').read_text().splitlines() if line.endswith('}')]


def test_devices_and_hosts_agree(world, tmp_path):
    """One device, four, and two processes of two; the batch of 6 does not divide by four. Statistics span the whole batch.

    At a small learning rate: at the default's, rounding alone grows past 1e-5 within 20 steps.
    """
    steps, more = 20, ['--config.save_every=10', '--config.evaluate_every=20', '--config.learning_rate.S=0.01']
    one, four, two = (tmp_path / name for name in ('one', 'four', 'two'))
    assert run(command(world, one, ['S'], steps, *more)).returncode == 0
    assert run(command(world, four, ['S'], steps, *more), devices=4).returncode == 0
    with socket.socket() as s:
        s.bind(('localhost', 0))
        port = s.getsockname()[1]
    hosts = [start([*command(world, two, ['S'], steps, *more), f'--coordinator=localhost:{port}', '--processes=2', f'--process={i}'],
                   devices=2) for i in range(2)]
    ended = [host.finish() for host in hosts]
    assert [host.returncode for host in ended] == [0, 0], ended
    assert len(losses(one, 'S')) == steps
    np.testing.assert_allclose(losses(four, 'S'), losses(one, 'S'), atol=1e-5)
    np.testing.assert_allclose(losses(two, 'S'), losses(one, 'S'), atol=1e-5)

    other = run(command(world, one, ['S'], steps, *more, '--config.seed=1'))  # a workdir of another config is refused
    assert other.returncode == 1 and other.stderr.count('\n') == 1
    assert 'seed was 0 and is 1' in other.stderr and 'another --workdir' in other.stderr


@pytest.mark.thorough
def test_a_checkpoint_goes_on_with_another_number_of_devices(world, tmp_path):
    steps, more = 12, ['--config.save_every=4', '--config.evaluate_every=1000', '--config.learning_rate.S=0.01']
    assert run(command(world, tmp_path / 'one', ['S'], steps, *more)).returncode == 0
    process = start(command(world, tmp_path / 'moved', ['S'], steps, *more))
    while not (tmp_path / 'moved' / 'S' / 'checkpoints' / '4').exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.finish()
    assert run(command(world, tmp_path / 'moved', ['S'], steps, *more), devices=4).returncode == 0
    np.testing.assert_allclose(losses(tmp_path / 'moved', 'S'), losses(tmp_path / 'one', 'S'), atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ real media


def test_ave_from_real_clips_trains_and_says_what_it_skips(tmp_path):
    if not MEDIA.is_dir():
        pytest.skip('the real clips are not here')
    videos = tmp_path / 'AVE_Dataset' / 'AVE'
    videos.mkdir(parents=True)
    for name, clip in (('cockatoo000', 'cockatoo.mp4'), ('pancake0000', 'pancake_opus.mkv'), ('-silent0000', 'bikes_silent.mp4')):
        (videos / f'{name}.mp4').write_bytes((MEDIA / clip).read_bytes())
    (videos / 'truncated00.mp4').write_bytes((MEDIA / 'cockatoo.mp4').read_bytes()[:3000])
    lines = ['Bird&cockatoo000&good&0&10', 'Frying (food)&pancake0000&good&0&10', 'Motorcycle&-silent0000&good&0&10',
             'Bird&truncated00&good&0&10', 'Bird&nowhere0000&good&0&10', 'Parrot&cockatoo000&good&2&4']
    for name, part in (('trainSet.txt', lines), ('valSet.txt', lines[:2]), ('testSet.txt', lines[2:3])):
        (videos.parent / name).write_text('\n'.join(part) + '\n')
    done = run(command(tmp_path / 'AVE_Dataset', tmp_path / 'run', ['SA'], 8, '--config.data.name=ave', '--config.batch=4',
                       '--config.data.rate=2', '--config.start_from.SA.encoder=', '--config.start_from.SA.classifier=',
                       '--config.start_from.SA.audio_encoder=', '--config.switch='))
    assert done.returncode == 0, done.stderr
    assert 'skipped 2' in done.stdout and 'missing file (1): nowhere0000' in done.stdout
    assert 'cannot be read (1): truncated00' in done.stdout
    assert len(losses(tmp_path / 'run', 'SA')) == 4


# -------------------------------------------------------------------------------------------------------------- mistakes


def mistakes(world, tmp_path):
    locked = tmp_path / 'file'
    locked.write_text('')
    ok = ['--config=configs/scam_coarse.py', f'--config.data.root={world}', f'--workdir={tmp_path / "w"}']
    return {
        'bach': [*ok, '--config.bach=3'],
        'config.batch': [*ok, '--config.batch=many'],
        'configs/none.py': ['--config=configs/none.py'],
        'synthave, real, paper': ['--config=configs/scam_coarse.py:papers'],
        'get AVE_Dataset.zip': ['--config=configs/scam_coarse.py:paper', f'--config.data.root={tmp_path / "none"}',
                                '--config.encoder.weights=', '--config.audio_encoder.weights=', f'--workdir={tmp_path / "w"}'],
        'stanet convert makes it': ['--config=configs/scam_coarse.py:paper', f'--config.data.root={world}',
                                        f'--workdir={tmp_path / "w"}'],
        'file/run: cannot be written': [*ok[:2], f'--workdir={locked / "run"}'],
        '--config': [],
    }


@pytest.mark.parametrize('names', ['bach', 'config.batch', 'configs/none.py', 'synthave, real, paper', 'get AVE_Dataset.zip',
                                   'stanet convert makes it', 'file/run: cannot be written', '--config'])
def test_a_mistake_ends_in_one_line(world, tmp_path, names):
    done = forked.stanet('train', *mistakes(world, tmp_path)[names])
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith('error: ') and names in lines[0], done.stderr
