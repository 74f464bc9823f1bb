"""The plan for many devices in plain arithmetic, the order of the data in several processes, and the simulation."""
import argparse

import numpy as np
import pytest

from benchmarks import preparation, scale, scale_simulation
from stanet_jax.data import sets
from stanet_jax.data.batches import iterate_batches

COST = scale.NetCost(side=256, frames=3, read=0.002, operations=4e11, parameters=10_000_000, batch=20, epochs=15.0)
SIDES = {256: scale.SideCost(40e3, 0.003), 356: scale.SideCost(70e3, 0.005)}


def test_the_plan_is_arithmetic():
    # 100 teraflops over 0.4 teraflop an example are 250 examples a second, of 3 records of 40 kB each.
    assert scale.examples_per_second(COST, 1, 100) == 250 and scale.input_bytes(COST, SIDES, 8, 100) == 8 * 250 * 3 * 40e3
    # A device makes 12.5 steps a second; a ring of four sends 2 * 3/4 of 40 MB of gradients in each.
    assert scale.gradient_bytes(COST, 4, 100) == 12.5 * 1.5 * 40e6 and scale.gradient_bytes(COST, 1, 100) == 0
    # 100 clips of 10 s at 25 frames a second, 15 times over, at 2 * 250 examples a second; and so for each net.
    assert scale.hours(100, 25, {'a': COST, 'b': COST}, 2, 100) == pytest.approx(2 * 15 * 25_000 / 500 / 3600)
    assert scale.disk(100, 25, SIDES, 2e5) == {'films': 2e8, 'records of 256 pixels': 1e9, 'records of 356 pixels': 1.75e9}
    assert [scale.used(20, n) for n in (1, 8, 64)] == [1, 20 / 24, 20 / 64]


def test_the_page_says_what_the_plan_is():
    args = argparse.Namespace(clips=None, teraflops=100.0, fps=25.0)
    text = scale.page(SIDES, {'coarse ST': COST}, 2e5, {}, args)
    assert 'Nothing here has been run on more than one machine' in text and 'The simulation has not been run' in text
    assert '| coarse ST | 256 | 3 | 2.00 | 400 | 10.0 | 20 |' in text and '| 256 | 7,680 | 128 |' in text
    assert '| VGGSound | films | 400 |' in text
    row = {'processes': 4, 'devices': 8, 'difference': 2e-4, 'difference_at_first': 2e-6, 'early': [400.0, 401.0], 'late': [402.0, 403.0]}
    text = scale.page(SIDES, {'coarse ST': COST}, 2e5, {'steps': 300, 'batch': 12, 'runs': {'four processes': row}}, args)
    assert '| four processes | 4 | 8 | 2e-06 | 2e-04 | 400, 401 | 402, 403 |' in text


class Numbers:
    """Examples that are their index and what their random generator draws."""

    def __len__(self):
        return 50

    def example(self, index, rng=None):
        return {'index': np.int64(index), 'drawn': rng.uniform() if rng else 0.0, 'mask': np.True_}


@pytest.mark.parametrize('processes, devices', [(1, 8), (4, 2), (64, 4)])
def test_processes_read_the_slices_of_the_same_batches(processes, devices):
    """Together they read what one process of one device reads, in that order, after which padding comes, and no more."""
    batch, steps = 12, 9  # two passes and more
    padded = -(-batch // (processes * devices)) * processes * devices
    whole = list(iterate_batches(Numbers(), batch=batch, slots=range(batch), seed=3, steps=steps))
    share = padded // processes
    slices = [list(iterate_batches(Numbers(), batch=batch, slots=range(i * share, (i + 1) * share), seed=3, steps=steps))
              for i in range(processes)]
    for step, expected in enumerate(whole):
        joined = {k: np.concatenate([of[step][k] for of in slices]) for k in expected}
        assert joined['mask'].sum() == batch and len(joined['mask']) == padded
        for k in expected:
            np.testing.assert_array_equal(joined[k][:batch], expected[k])
    assert len({(int(i), float(x)) for of in whole for i, x in zip(of['index'], of['drawn'], strict=True)}) == batch * steps


@pytest.mark.thorough
def test_costs_of_made_films(tmp_path):
    """Bytes of a record are those of the files; reading a fragment of nine frames takes longer than one of one."""
    root = tmp_path / 'films'
    root.mkdir()
    preparation.write_set(root, 2, 2.0, (64, 80))
    splits = {side: sets.open_splits('vggsound', root, side, 0.0, tmp_path / str(side), train_on='all') for side in (256,)}
    cost = scale.side_cost(sorted(root.glob('*.mp4')), splits[256], 256)
    size = sum(path.stat().st_size for path in (tmp_path / '256').rglob('*array_record*'))
    assert cost.record == size / (2 * 2 * preparation.RATE) > 1000 and cost.prepare > 0
    one, nine = (scale.net_cost(splits, 'plus', net, 0.5) for net in ('S_long', 'ST_long'))
    assert (one.frames, nine.frames, one.batch, one.epochs) == (3, 9, 16, 15.0) and one.read < nine.read < 9 * one.read
    assert 2.9 < nine.operations / one.operations < 3.3


@pytest.mark.thorough
def test_devices_and_processes_do_not_change_the_training(tmp_path):
    """Losses on eight simulated devices and in four processes are those on one device; the memory of each process stays flat."""
    result = scale_simulation.simulate(tmp_path / 'runs', 80)
    assert {name: (run['processes'], run['devices']) for name, run in result['runs'].items()} == {
        'one device': (1, 1), 'eight devices': (1, 8), 'four processes': (4, 4)}
    for run in result['runs'].values():
        assert run['difference_at_first'] < 2e-5 and run['difference'] < 1e-3 and len(run['early']) == len(run['late']) == run['processes']
        assert all(late < 1.1 * early for early, late in zip(run['early'], run['late'], strict=True))
    assert scale_simulation.simulate(tmp_path / 'runs', 80) == result  # kept
