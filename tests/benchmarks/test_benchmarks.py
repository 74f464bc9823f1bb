"""The benchmarks run as their documentation says."""
import sys

import jax
import numpy as np
import pytest

from benchmarks import depthwise, experiment, paper_steps
from stanet_jax.data import synthave
from tests import forked


@pytest.mark.thorough
def test_input_pipeline(tmp_path):
    # A row of positive numbers for each net, the ratio being that of the other two, and no warning.
    synthave.generate(tmp_path / 'set', synthave.Settings(train=8, validation=1, test=1, seconds=1.0, observers=2), workers=1)
    command = ['-m', 'benchmarks.input_pipeline', '--seconds=0.3', f'--root={tmp_path / "set"}',
               '--nets', 'A', 'S']
    done = forked.python(*command, before=forked.ERRORS)
    assert done.returncode == 0, done.stderr
    assert 'Warning' not in done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    rows = lines[lines.index(['net', 'fed', 'consumed', 'ratio']) + 1:]
    assert [row[0] for row in rows] == ['A', 'S']
    for _, fed, consumed, ratio in rows:
        assert min(float(fed), float(consumed)) > 0
        assert abs(float(ratio) - float(fed) / float(consumed)) < 0.01 + 0.001 * float(ratio)


@pytest.mark.thorough
def test_metrics():
    # Both sides agree, or the benchmark would end in an error; the ratio is that of the two columns.
    command = ['-m', 'benchmarks.metrics', '--frames=2', '--height=60', '--width=80']
    done = forked.python(*command, before=forked.ERRORS)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    rows = lines[lines.index(['predicted', 'plain', 'batched', 'ratio']) + 1:]
    assert [row[0] for row in rows] == ['80x60', '40x30']
    for _, plain, batched, ratio in rows:
        assert float(plain) > 0 and abs(float(ratio) - float(batched) / float(plain)) < 0.01 + 0.01 * float(ratio)


@pytest.mark.thorough
def test_images():
    done = forked.python('-m', 'benchmarks.images', '--images=5', '--theirs=2')
    assert done.returncode == 0, done.stderr  # both have the same scores, where pysaliency is there
    rows = [line.split(' | ') for line in done.stdout.splitlines()]
    assert rows[0][0] == '| 800x600, 90 fixations, 360 negatives' and rows[2][0] == '| ours' and float(rows[2][1]) > 0
    assert len(rows) == 4 or 'pysaliency cannot be imported' in done.stderr


@pytest.mark.thorough
def test_cgcn():
    # The forms agree, and the ratios are those of the columns.
    command = ['-m', 'benchmarks.cgcn', '--batch=2', '--side=8', '--rounds=1']
    done = forked.python(*command, before=forked.ERRORS)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split('differ by ')[1].split()[0]) < 1e-4
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[2:]}
    assert [name for name in rows if name != 'torch'] == ['blocks', 'direct', 'pairs', 'compiled-pairs', 'attention']
    assert float(rows['blocks'][1]) == float(rows['blocks'][3]) == 1
    uncompiled = {'pairs', 'torch'} & set(rows)
    assert all(rows[name][2:] == ['-', '-'] for name in uncompiled)
    assert all(float(row[0]) >= 0 and (name in uncompiled or float(row[2]) > 0) for name, row in rows.items())


@pytest.mark.parametrize('stage, net, nodes', [('plus', 'ST_long', (16, 3, 3, 256)), ('plus', 'SA_cross', (16, 3, 1, 256)),
                                               ('sta_plus', 'STA_short', (3, 3, 3, 256))])
def test_paper_steps_by_shape(stage, net, nodes):
    """The steps on VGG-16 at their real size; those on ResNeXt are in test_training.py and test_students.py."""
    step, state, batch = paper_steps.step_of(stage, net, 'float32')
    assert batch['frames'].shape == (*nodes, nodes[-1], 3)
    new, metrics = jax.eval_shape(step, state, batch, jax.random.key(0))
    assert jax.tree.map(np.shape, new.variables) == jax.tree.map(np.shape, state.variables) and metrics['loss'].shape == ()
    assert state.variables['params']['encoder']['conv5_3']['kernel'].shape == (3, 3, 512, 512)


def test_paper_steps_are_computed(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['paper_steps', '--stages=switch', '--nets=A', '--batch=1', '--run', '--peak=1'])
    paper_steps.main()
    stage, net, batch, side, parameters, *numbers = capsys.readouterr().out.splitlines()[-1].split()
    assert (stage, net, batch, side) == ('switch', 'A', '1', '-')  # it sees no frames
    assert int(parameters.replace(',', '')) > 11e6 and all(float(x) >= 0 for x in numbers)


@pytest.mark.thorough
@pytest.mark.parametrize('by', [['threads'], ['threads', 'Beam']])
def test_preparation(by):
    # The ways agree, or the benchmark would end in an error.
    if 'Beam' in by:
        pytest.importorskip('apache_beam')
    command = ['-m', 'benchmarks.preparation', '--clips=20', '--seconds=1', '--height=48', '--width=64', '--by', *by]
    done = forked.python(*command)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[-2 * len(by):]]
    assert [row[:2] for row in rows] == [[way, str(workers)] for way in by for workers in (1, 2)]
    assert all(abs(float(clips) * 8 - float(frames)) < 1 and float(clips) > 0 for *_, clips, frames in rows)


@pytest.mark.thorough
def test_evaluation():
    # One process and two agree, or the benchmark would end in an error.
    command = ['-m', 'benchmarks.evaluation', '--videos=2', '--frames=10', '--height=36', '--width=64',
               '--workers=2']
    done = forked.python(*command, before=forked.ERRORS)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[-2:]]
    assert [row[0] for row in rows] == ['1', '2']
    for workers, rate, each, hours in rows:
        assert float(rate) > 0 and abs(float(rate) / int(workers) - float(each)) < 0.1 and float(hours) > 0


def test_eps(tmp_path):
    """The whole of `make demo-eps`, small: a row for each way, the expected orders, the picture; a second run changes nothing."""
    page = tmp_path / 'results.md'
    page.write_text('# Another part\n\nstays\n')
    command = ['-m', 'benchmarks.eps', '--seeds=1', '--train=32', '--held_out=16', '--epochs=0.5', '--selections', 'none', 'adaptive',
               f'--workdir={tmp_path}/runs', f'--out={page}']
    done = forked.python(*command)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith('# Another part\n\nstays\n\n# EPS on SynthVOC\n')
    rows = {line.split('|')[1].strip(): line.split('|')[2:-1] for line in text.splitlines() if line.startswith('| ')}
    assert {'CAM (tags alone)', 'EPS adaptive', 'DeepLab, train', 'DeepLab, validation'} <= set(rows)
    assert 0 <= float(rows['EPS adaptive'][0].split()[0]) <= 1
    assert 'EPS adaptive over CAM, mean IoU, expected above 0' in text and (tmp_path / 'runs' / 'picture.png').exists()
    again = forked.python(*command)
    assert again.returncode == 0 and page.read_text() == text


def test_parts_of_a_page_are_replaced_alone(tmp_path):
    page = tmp_path / 'page.md'
    experiment.replace_part(page, 'One', 'a\n\n## Scores\n\n| x |')
    experiment.replace_part(page, 'Two', 'b')
    experiment.replace_part(page, 'One', 'c # d\n\n## Scores')
    assert page.read_text() == '# One\n\nc # d\n\n## Scores\n\n# Two\n\nb\n'


def test_depthwise_convolutions(monkeypatch):
    monkeypatch.setattr(depthwise, 'LAYERS', ((8, 6, 3, 1, 2), (9, 6, 5, 2, 1)))
    found = [depthwise.measure(layer, 2) for layer in depthwise.LAYERS]
    assert all(row.keys() >= {'ours', 'XLA, grouped'} and min(row.values()) > 0 for row in found)
    x, kernel = np.random.default_rng(0).normal(size=(2, 9, 9, 6)), np.random.default_rng(1).normal(size=(5, 5, 1, 6))
    np.testing.assert_allclose(depthwise.ours(np.float32(x), np.float32(kernel), 2),
                               depthwise.grouped(np.float32(x), np.float32(kernel), 2), atol=1e-4)
