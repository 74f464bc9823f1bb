"""The accelerator's page: its tables of given rows, and all of it, tiny, on two simulated devices."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import accelerator, accelerator_page, cgcn, paper_steps

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = {'ms': 50.0, 'pictures_per_second': 400.0, 'operations': 2.5e12, 'bytes': 5e9}
H100 = {'device': 'NVIDIA H100 80GB HBM3', 'platform': 'gpu', 'devices': 1, 'jax': '0.10.2', 'flags': '', 'small': False}


@pytest.mark.parametrize('device, precision, peak', [
    ('NVIDIA H100 80GB HBM3', 'bfloat16', 989.4), ('NVIDIA H100 PCIe', 'bfloat16', 756.0), ('NVIDIA A100-SXM4-40GB', 'TF32', 156.0),
    ('NVIDIA A10', 'float32', 31.2), ('NVIDIA A10G', 'float32', None), ('NVIDIA L40S', 'float32', None), ('TPU v5 lite', 'bfloat16', 197.0),
    ('TPU v5', 'bfloat16', 459.0), ('TPU v4', 'TF32', None), ('cpu', 'bfloat16', None)])
def test_peaks_by_name(device, precision, peak):
    assert accelerator_page.peak_of(device, precision) == peak


def test_page_of_rows():
    rows = {'coarse S bfloat16': {'batch': 20, 'side': 256, 'forward': {**PROGRAM, 'ms': 25.0}, 'step': PROGRAM},
            'scaling 1': {'devices': 1, 'batch': 20, **PROGRAM},
            'scaling 2': {'devices': 2, 'batch': 40, **PROGRAM, 'pictures_per_second': 600.0},
            'C-GCN': {'shape': [16, 3, 32, 32, 28], 'difference': 1e-6, 'forms': {'blocks': {'ms': 2.0, 'temporary_bytes': 3e8}}},
            'C-GCN kernel': {'error': 'ValueError: no such GPU'},
            'largest coarse ST': {'limit': 8e10, 'batch': 0}, 'coarse ST float32': {'error': 'RESOURCE_EXHAUSTED: out of memory'}}
    text = accelerator_page.page({**H100, 'rows': rows}, [*rows, 'metrics'])
    # 2.5 Tflop in 50 ms are 50 teraflops, of 989.4.
    assert '| coarse S | bfloat16 | 20 | 256 | 2.50 | 25.0 | 400 | 10.1% | 5.00 | 50.0 | 400 | 5.1% | 5.00 |' in text
    assert '| 2 | 40 | 50.0 | 600 | 0.75 |' in text and '| coarse ST | 0 | - | - | - | - |' in text
    assert '| blocks | 2.00 | 300 |' in text and '- C-GCN kernel: ValueError: no such GPU' in text
    assert '- coarse ST float32: RESOURCE_EXHAUSTED' in text and text.rstrip().endswith('For lack of time: metrics.')
    assert 'not been run' not in text and 'CPU' not in text
    assert '**This is a CPU, not an accelerator.**' in accelerator_page.page({**H100, 'platform': 'cpu', 'rows': rows}, list(rows))


def test_the_page_in_git_has_no_numbers_that_were_not_measured():
    page, numbers = ROOT / 'docs' / 'accelerator.md', ROOT / 'docs' / 'accelerator.json'
    if numbers.exists():
        assert json.loads(numbers.read_text())['platform'] != 'cpu' and 'not been run' not in page.read_text()
    else:
        assert '**This has not been run on an accelerator**' in page.read_text() and '|' not in page.read_text()


def test_operations_are_those_of_the_convolutions():
    """A step of S on VGG-16: forward, and twice as much backward, of 13 convolutions of 3x3."""
    config = paper_steps.config_of('plus', dtype='float32', batch=1)
    net = paper_steps.make_net(config, 'S_short')
    step, state = paper_steps.make_step(config, 'S_short', net)
    sides, channels = [256] * 2 + [128] * 2 + [64] * 3 + [32] * 6, [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    forward = sum(2 * 9 * side**2 * a * b for side, a, b in zip(sides, channels, channels[1:], strict=False))
    counted = accelerator.operations_of(step, state, net.batch, accelerator.jax.random.key(0))
    assert 0.93 < counted / (3 * 3 * forward) < 1.07


class Planned:
    """A program whose plan is known."""
    argument_size_in_bytes, output_size_in_bytes, temp_size_in_bytes, alias_size_in_bytes = 5, 4, 3, 2

    def memory_analysis(self):
        return self


def test_what_a_plan_needs():
    assert accelerator.planned(Planned()) == 10


@pytest.mark.thorough
def test_forms_of_cgcn_agree():
    runs, plans = cgcn.forms((1, 3, 16, 8, 4), 2, (*cgcn.COMPILED, 'kernel', 'pairs'))
    assert cgcn.furthest(runs) < 1e-5 and set(plans) == {*cgcn.COMPILED, 'kernel'} and min(plans.values()) > 0


@pytest.mark.thorough
def test_all_of_it_tiny_on_two_devices(tmp_path):
    flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=2'
    command = [sys.executable, '-m', 'benchmarks.accelerator', '--small', '--nets', 'S', 'A', f'--out={tmp_path}/page.md', '--most=4']

    def run(*more):
        done = subprocess.run([*command, *more], cwd=ROOT, env={**os.environ, 'XLA_FLAGS': flags}, capture_output=True, text=True,
                              timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads((tmp_path / 'page.json').read_text())['rows']

    first, rows = run('--minutes=0.1')  # a row at least, and not all
    assert rows and 'left out: ' in first and 'left out' in (tmp_path / 'page.md').read_text()
    rest, rows = run('--minutes=30')
    assert not set(first.split(': ')[0].splitlines()) & {line.split(':')[0] for line in rest.splitlines()}  # what is done is kept
    assert 'left out' not in rest and not [row for row in rows.values() if 'error' in row]
    nets = [f'{stage} {precision}' for stage in ('coarse S', 'fine S', 'switch A') for precision in accelerator.PRECISIONS]
    assert set(rows) == {'C-GCN', 'metrics', 'prediction', 'scaling 1', 'scaling 2', 'largest coarse S', *nets}
    assert rows['largest coarse S']['batch'] == 4 * 2 and rows['scaling 2']['batch'] == 2 * rows['scaling 1']['batch']
    assert min(rows['C-GCN']['difference'], 1e-4) < 1e-4 and min(rows['prediction'][name] for name in ('STA', 'three')) > 0
    for name in nets:
        forward, step = rows[name]['forward'], rows[name]['step']
        np.testing.assert_allclose(step['pictures_per_second'], rows[name]['batch'] / step['ms'] * 1e3)
        assert 0 < forward['operations'] < step['operations'] and forward['bytes'] < step['bytes']
    page = (tmp_path / 'page.md').read_text()
    assert '**This is a CPU, not an accelerator.**' in page and '| switch A | TF32 | 2 | - |' in page
    other = subprocess.run([*command[:3], f'--out={tmp_path}/page.md'], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert other.returncode == 1 and 'page.json: of another device or other settings' in other.stderr
