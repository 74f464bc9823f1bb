"""The README's commands have the flags that they are given, its Python runs, and the notebook does."""
import json
import os
import pathlib
import re

import nbclient
import nbformat
import pytest

from tests import forked
from tests.inference.test_predictor import make_run
from tests.inference.test_videos import write

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()
COMMANDS = sorted(set(re.findall(r'(?<=[`\n])(?:\.venv/bin/)?stanet ([a-z]+ [^`\n]*--[^`\n]*)', README)))
# Lets a command read its flags and its config, and do nothing.
PARSE = '''
import importlib
importlib.import_module('stanet_jax.commands.{}').main = lambda *words: print('parsed')
'''


def test_there_are_commands():
    assert len(COMMANDS) > 15 and {command.split()[0] for command in COMMANDS} >= {'train', 'distill', 'evaluate', 'predict', 'run', 'data'}


@pytest.mark.parametrize('command', COMMANDS)
def test_a_command_has_the_flags_that_it_is_given(command, tmp_path):
    words = [word.strip('\'"') for word in command.split() if not word.startswith(('--coordinator', '--process'))]
    module = '.'.join(words[:2] if words[0] == 'data' else words[:1])
    done = forked.stanet(*words, before=PARSE.format(module))
    assert done.returncode == 0 and done.stdout == 'parsed\n', done.stderr


def test_modules_that_are_run_exist():
    for module in set(re.findall(r'python -m ([a-z_.]+)', README)):
        path = ROOT / module.replace('.', '/')
        assert path.with_suffix('.py').exists() or (path / '__main__.py').exists(), module


def test_its_python_runs(tmp_path, capsys):
    (code,) = (block for block in re.findall(r'```python\n(.*?)```', README, re.DOTALL) if 'stanet_jax.load' in block)
    run, video = tmp_path / 'run', write(tmp_path / 'my.mp4', 9)
    make_run(run, ('STA', 'STA_short', 'STA_long'))
    exec(code.replace('runs/demo/sta_plus', str(run)).replace('my.mp4', str(video)), {})  # as it stands there
    shapes, place, frames = capsys.readouterr().out.splitlines()
    assert shapes.startswith('(9,) (9, ') and re.fullmatch(r'0\.\d\d s: at \d+% of the width, \d+% of the height', place)
    assert frames.startswith('(8, ')


@pytest.mark.filterwarnings('ignore')  # of Jupyter's own
def test_the_notebook(tmp_path):
    path = ROOT / 'docs' / 'tutorial.ipynb'
    assert all(not cell.get('outputs') for cell in json.loads(path.read_text())['cells'])  # it is kept without
    notebook = nbformat.read(path, as_version=4)
    (sizes,) = (cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', ()))
    small = {"CLIPS = {'train': 192, 'validation': 12, 'test': 12}": "CLIPS = {'train': 24, 'validation': 2, 'test': 3, 'categories': 3}",
             'EPOCHS = 5.0': 'EPOCHS = 0.4', 'SIDE = 96': 'SIDE = 48'}
    for at_length, short in small.items():
        assert at_length in sizes.source
        sizes.source = sizes.source.replace(at_length, short)
    (helper,) = (cell for cell in notebook.cells if 'def smaller(config)' in cell.source)
    root = '    config.data.root = str(world)\n'
    assert root in helper.source
    tiny = "    config.update({'width': 8, 'batch': 6, 'schedule': 'constant'} if 'width' in config else {})\n"  # as other tests' nets
    helper.source = helper.source.replace(root, root + tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
        nbclient.NotebookClient(notebook, timeout=300, resources={'metadata': {'path': str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
    assert sum('image/png' in output.get('data', {}) for output in outputs) == 2
    assert any('ceiling' in output.get('text', '') for output in outputs) and (tmp_path / 'tutorial' / 'scores.json').exists()
