"""The `stanet` command: what it lists, what it takes, how it refuses, and how fast it starts."""
import os
import pathlib
import re
import resource
import subprocess
import sys
import threading

import pytest

import stanet_jax
from stanet_jax import cli
from tests import forked

ROOT = pathlib.Path(__file__).parents[2]


def stanet(*arguments, folder=ROOT):
    return subprocess.run([sys.executable, '-m', 'stanet_jax', *map(str, arguments)], cwd=folder, capture_output=True, text=True,
                          check=False, env={**os.environ, 'PYTHONPATH': str(ROOT)})


def test_commands_are_listed_with_a_line_each():
    for arguments, commands in (((), cli.COMMANDS), (('--help',), cli.COMMANDS), (('data', '--help'), cli.DATA)):
        done = forked.stanet(*arguments)
        assert done.returncode == 0 and not done.stderr
        for word, what in commands.items():
            assert f'  {word:10}{what}' in done.stdout.splitlines()
    assert forked.stanet('--version').stdout == f'{stanet_jax.__version__}\n'


@pytest.mark.parametrize('command', [*([word] for word in cli.COMMANDS if word != 'data'), *(['data', word] for word in cli.DATA)])
def test_help_has_the_flags(command):
    done = forked.stanet(*command, '--help')
    name = 'stanet ' + ' '.join(command)
    assert done.returncode == 0 and done.stdout.startswith(f'{name}: ')
    assert re.search(rf'^ *{name}( |$)', done.stdout, re.MULTILINE)  # from 3.13 on docstrings come without their indentation
    assert any(flag in done.stdout for flag in ('--out', '--workdir', '--root', '--url'))


@pytest.mark.parametrize('arguments, says', [
    (['predcit', 'my.mp4'], "'predcit' is no command of stanet; did you mean predict?"),
    (['data', 'sinthave'], 'did you mean synthave?'), (['xyz'], 'choose one of train, distill,'),
    (['train', '--config=scam_corse'], 'no config of that name, nor the path of a .py file; did you mean scam_coarse'),
    (['train', '--config=scam_coarse:papr'], 'error: --config=...:papr: no such recipe; choose one of synthave, real, paper'),
    (['train', '--config=eps:papr'], 'choose one of synthvoc, voc12, coco'),
    (['train', '--config=scam_coarse', 'runs/here'], "'runs/here': stanet train takes flags alone"),
    (['train', '--config=scam_coarse', '--wordkir=a'], 'Did you mean: workdir'),
    (['train'], '--config: stanet train needs it'), (['distill', '--config=sta'], '--workdir: stanet distill needs it'),
    (['report', '--workdir=a', '--distributed'], 'the processes did not find each other'),
    (['report', '--workdir=a', '--coordinator=localhost:1'], '--coordinator needs both'),
    (['predict', '--checkpoint=nowhere'], '--video, --image: give one of them'),
    (['predict', 'a.mp4', '--checkpoint=nowhere'], 'nowhere/config.json: not a run'),
    (['predict', 'a.mp4', '--checkpoint=nowhere', '--method=centre'], '--checkpoint, --method: one of them at a time'),
    (['predict', '--out=here'], '--video, --image: give one of them'),
    (['predict', 'a.mp4', '--method=gaze'], 'heard_cam'),
    (['predict', '--image=a.png', '--method=centre'], '--image: takes one --checkpoint, and no --names or --method'),
    (['predict', 'a.png', '--method=centre'], 'a.png: no such file'),
    (['distill', '--config=scam_coarse', '--workdir=a'], "config.task='classifiers': this command does maps"),
    (['report', '--workdir=nowhere'], 'nowhere/config.json: not a run'),
    (['data', 'synthave', '--out=.'], '.: exists already'),
    (['data', 'synthave', '--out=x', '--train=many'], '--train=many')])
def test_a_mistake_ends_in_one_line(tmp_path, arguments, says):
    done = forked.stanet(*arguments, folder=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith('error: ') and says in done.stderr and done.stderr.count('\n') == 1, done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('error, told', [(OSError(28, 'No space left on device', 'events'), 1), (OSError('handle is closed'), 0)])
def test_threads_beside_tell_what_the_system_refuses(capsys, error, told):
    cli.tell_of_thread(threading.ExceptHookArgs((type(error), error, None, None)))
    assert capsys.readouterr().err.count('\n') == told


@pytest.mark.parametrize('given, path', [
    ('--config=scam_coarse', 'scam_coarse.py'), ('--config=scam_coarse:paper', 'scam_coarse.py:paper'),
    ('--config=pseudo_gt:coarse:paper', 'pseudo_gt.py:coarse:paper'), ('-config=sta:paper', 'sta.py:paper')])
def test_configs_have_names(given, path):
    assert cli.resolve_config(given) == f'{given.split("=")[0]}={cli.CONFIGS / path}'


@pytest.mark.parametrize('given', ['--config=configs/scam_coarse.py:paper', '--config.batch=3', '--workdir=scam_coarse', 'my.mp4',
                                   '--config='])
def test_what_is_no_name_stays(given):
    assert cli.resolve_config(given) == given


def test_every_config_is_found_by_its_name():
    for path in (ROOT / 'configs').rglob('*.py'):
        if path.stem != '__init__':
            name = path.relative_to(ROOT / 'configs').with_suffix('')
            assert pathlib.Path(cli.resolve_config(f'--config={name}').removeprefix('--config=')).samefile(path)


@pytest.mark.parametrize('arguments', [['--help'], ['predict', '--help'], ['train', '--help'], ['evaluate', '--help']])
def test_help_starts_fast(arguments):
    """Under 1.5 s of CPU time, which importing JAX alone would take."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert stanet(*arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
