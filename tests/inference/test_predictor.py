"""Students on a stream of moments, against the nets applied to one moment after the other."""
import functools
import json
import shutil

import jax
import ml_collections
import numpy as np
import pytest

from configs import sta_plus
from stanet_jax import InputError, scam
from stanet_jax.inference import predictor
from stanet_jax.inference.predictor import Predictor
from stanet_jax.media.moments import Moment
from stanet_jax.stages import audio_switch
from stanet_jax.stages.nets import example_batch, net_inputs
from stanet_jax.stages.students import make_student
from stanet_jax.training import checkpoint, sharding
from tests.variables import drawn

SIDE, THREE = 48, ('STA', 'STA_short', 'STA_long')


def make_run(folder, nets=('STA',), side=SIDE, width=8):
    """The run of students and of their switch, of random weights."""
    config = sta_plus.get_config()
    config.data.side, config.width, config.nets, config.dtype = side, width, nets, 'float32'
    (folder / 'switch').mkdir(parents=True)
    for where in (folder, folder / 'switch'):
        (where / 'config.json').write_text(config.to_json())
    for seed, net in enumerate((*nets, 'switch')):
        model = audio_switch.make_switch(config) if net == 'switch' else make_student(config, net)
        inputs = net_inputs(example_batch(config, 'SA' if net == 'switch' else net, 1, 1), config.encoder.name)
        checkpoint.save_variables(folder / net / 'variables', drawn(model.init, seed=seed, **inputs))
    return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp('run') / 'all', THREE)


@pytest.fixture(scope='module')
def students(run):
    return Predictor(run)


@pytest.fixture(scope='module')
def sta(run):
    return Predictor(run / 'STA')


def moments(times, seed=0):
    rng = np.random.default_rng(seed)
    return [Moment(time, rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), rng.normal(size=(257, 98)).astype(np.float32), float(k % 7 > 0))
            for k, time in enumerate(times)]


def maps_of(students, given, fps=25.0, name=None):
    """The maps [n, h, w] by name, or of one name, all blocks joined."""
    blocks = list(students.predict_blocks(iter(given), fps))
    assert [moment for block, _ in blocks for moment in block] == given
    found = {key: np.concatenate([maps[key] for _, maps in blocks]) for key in students.names}
    return found[name] if name else found


@functools.cache
def direct(run):
    """`(net, list of triples of moments, the target's first, each with what the switch lets through) -> map`."""
    config = ml_collections.ConfigDict(json.loads((run / 'config.json').read_text()))
    def applied(net, model):
        return jax.jit(functools.partial(model.apply, checkpoint.load_variables(run / net / 'variables')))

    apply = {net: applied(net, make_student(config, net)) for net in THREE}
    ear = applied('switch', audio_switch.make_switch(config))

    def of(net, triples):
        frames = (np.stack([[m.picture for m in triple] for triple in triples]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        audio, phi = np.stack([triple[1].audio for triple in triples]), np.float32([triple[1].phi for triple in triples])
        phi = phi * (ear(frames[:, 1:2], audio, phi)[0][:, 0] > 0)
        given = (frames, audio, phi) if net == 'STA' else (frames[None], audio[None], phi[None])
        return 1 / (1 + np.exp(-apply[net](*given)[0].reshape(-1, SIDE, SIDE)[0]))
    return of


def test_three_students_on_a_stream_are_the_nets_on_each_moment(run, students):
    times = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.06, 83))  # 3.3 s; the blocks are of 16
    given = moments(times)
    found = maps_of(students, given)
    assert students.names == (*THREE, 'product', 'max', 'final') and all(maps.shape == (83, SIDE, SIDE) for maps in found.values())

    def at(time):
        return int(np.argmin(abs(times - time)))

    def triple(k):
        return [given[at(times[k] + step / 8)] for step in (-1, 0, 1)]

    kept = [0]  # long-term moments: one of each second
    for k in range(83):
        if times[k] >= times[kept[-1]] + 1:
            kept.append(k)
    net = direct(run)
    for k in (0, 7, 15, 16, 40, 66, 82):
        bank = [j for j in kept if j < k // 16 * 16]  # what earlier blocks left
        far = [j for j in bank if abs(times[j] - times[k]) > 5 / 8]
        if len(far) < 2:  # of these, too, the blocks before and after
            near = (*bank, *range(max(k // 16 * 16 - 16, 0), min(k // 16 * 16 + 32, 83)))
            far = sorted([j for j in near if abs(times[j] - times[k]) > 5 / 8])
        if len(far) < 2:
            far = sorted(near, key=lambda j: -abs(times[j] - times[k]))[:2]
        long = [far[len(far) // 4], far[3 * len(far) // 4]]
        short = [at(times[k] - 3 / 8), at(times[k] + 3 / 8)]
        expected = {'STA': net('STA', [triple(k)]), 'STA_short': net('STA_short', [triple(j) for j in (k, *short)]),
                    'STA_long': net('STA_long', [triple(j) for j in (k, *long)])}
        for name, map_ in expected.items():
            np.testing.assert_allclose(found[name][k], map_, atol=1e-3, err_msg=f'{name} {k}')
        three = [expected[name].astype(np.float64) for name in THREE]
        np.testing.assert_allclose(found['final'][k], scam.fuse_predictions(*three), atol=0.02)
        np.testing.assert_allclose(found['product'][k], scam.fuse_product(*three), atol=0.02)


def test_each_moment_is_encoded_once_and_one_trace(students):
    calls, see = [], students._encode
    students._encode = lambda variables, frames, *rest: calls.append(len(frames)) or see(variables, frames, *rest)
    try:
        maps_of(students, moments(np.arange(83) / 25))
        assert calls == [16] * 6  # frames so small are seen a block at a time
        for n in (1, 2, 16, 17, 33):  # the ends need others than the middle
            assert len(maps_of(students, moments(np.arange(n) / 25), name='final')) == n
        assert not list(students.predict_blocks(iter([])))
    finally:
        students._encode = see
    assert {of._cache_size() for of in (see, students._blend, students._reason)} == {1}


@pytest.mark.parametrize('batch, side, few', [(16, 384, 1), (16, 500, 1), (16, 256, 2), (16, 96, 16), (12, 128, 6), (7, 48, 7)])
def test_large_frames_are_encoded_a_few_at_a_time(batch, side, few):
    assert sharding.together(batch, side) == few


def test_a_scored_video_is_seen_whole(run, students):
    """Long-term fragments come from all of it, as in training; on a stream they come from the past."""
    times = np.arange(90) / 10  # nine seconds
    given = moments(times)
    wave = None  # their sound is drawn at random below, so that frames alone tell
    silent = [moment._replace(audio=np.zeros((257, 98), np.float32), phi=0.0) for moment in given]
    bank = students.whole_film_bank(lambda k: given[k].picture, 90, wave, 10.0)
    np.testing.assert_allclose(bank.times, [0.4, 1.3, 2.2, 3.1, 4.0, 4.9, 5.8, 6.7, 7.6, 8.5])
    blocks = list(students.predict_blocks(iter(silent), 10.0, bank))
    found = np.concatenate([maps['STA_long'] for _, maps in blocks])
    net = direct(run)
    for k in (0, 44, 89):
        far = [t for t in bank.times if abs(t - times[k]) > 5 / 8]
        long = [round(10 * far[len(far) // 4]), round(10 * far[3 * len(far) // 4])]
        triples = [[silent[min(max(j + step, 0), 89)] for step in (-1, 0, 1)] for j in (k, *long)]
        np.testing.assert_allclose(found[k], net('STA_long', triples), atol=1e-3)


def test_the_bank_of_a_short_film_sees_each_frame_once(students, monkeypatch):
    """Its nodes are those of the film's own moments; of 13 frames ten are chosen, each with its neighbours."""
    given = [moment._replace(audio=np.zeros((257, 98), np.float32), phi=0.0) for moment in moments(np.arange(13) / 8)]
    read, nodes, blend = [], [], students._blend
    bank = students.whole_film_bank(lambda k: read.append(k) or given[k].picture, 13, None, 8.0)
    assert sorted(read) == list(range(13))
    monkeypatch.setattr(students, '_blend', lambda *of: nodes.append(blend(*of)) or nodes[-1])
    list(students.predict_blocks(iter(given), 8.0, bank))
    chosen = (2 * np.arange(10) + 1) * 13 // 20
    np.testing.assert_array_equal(bank.times, chosen / 8)
    for net in ('STA_short', 'STA_long'):
        np.testing.assert_allclose(bank.nodes[net], nodes[0][net][chosen], atol=1e-5)


@pytest.mark.parametrize('frames, size, groups', [(13, 16, [10]), (16, 16, [10]), (90, 16, [5, 5]), (25, 16, [6, 4])])
def test_chosen_moments_are_encoded_in_as_few_blocks_as_they_fill(frames, size, groups):
    chosen = (2 * np.arange(10) + 1) * frames // 20
    places = np.clip(chosen[:, None] + [-1, 0, 1], 0, frames - 1)
    found = list(predictor.fitting_groups(places, size))
    assert [len(group) for group in found] == groups
    np.testing.assert_array_equal(np.concatenate(found), places)


def test_students_of_two_sides_and_the_releases_last_steps(run, students, tmp_path):
    """STA+ may have been trained on smaller frames than STA; maps may be blurred, and the prediction may be the maximum."""
    small = make_run(tmp_path / 'small', THREE[1:], side=32)
    config = json.loads((small / 'config.json').read_text())
    (small / 'config.json').write_text(json.dumps({**config, 'blur': 0.1, 'fusion': 'max'}))
    joined = Predictor(run / 'STA', small)
    given = moments(np.arange(20) / 8)
    found = maps_of(joined, given, 8.0)
    assert joined.names == (*THREE, 'product', 'final', 'max') and found['max'].shape == (20, SIDE, SIDE)
    np.testing.assert_allclose(found['max'], np.maximum.reduce([found[net] for net in THREE]), rtol=1e-6)
    np.testing.assert_allclose(found['STA'], maps_of(students, given, 8.0, 'STA'), atol=1e-5)
    (small / 'config.json').write_text(json.dumps({**config, 'blur': 0.0}))
    sharp = maps_of(Predictor(run / 'STA', small), given, 8.0)
    np.testing.assert_allclose(found['STA_long'], scam.blur(sharp['STA_long'], 0.1 * SIDE), atol=1e-5)


def test_at_rate_0_neighbours_are_the_films_own_frames(run, tmp_path):
    every = tmp_path / 'every'
    shutil.copytree(run, every)
    for folder in (every, every / 'switch'):
        config = json.loads((folder / 'config.json').read_text())
        config['data']['rate'] = 0.0
        (folder / 'config.json').write_text(json.dumps(config))
    given = moments(np.arange(20) / 25)
    found = maps_of(Predictor(every / 'STA'), given, 25.0, 'STA')
    np.testing.assert_allclose(found[7], direct(run)('STA', [given[6:9]]), atol=1e-3)


def test_blocks_grow_with_the_rate_of_frames(students):
    assert [students.block(fps) for fps in (1, 8, 25, 30, 60, 120, 1000)] == [16, 16, 16, 16, 24, 48, 128]


def test_far_moments_are_spread_or_the_farthest():
    times = np.full(predictor.BANK + 6, np.inf)
    times[predictor.BANK:] = 0, 1, 2, 3, 4, 5
    chosen = functools.partial(predictor.far_times, times)
    assert list(chosen(2.5, 1, 2) - predictor.BANK) == [1, 5] and list(chosen(0, 3, 2) - predictor.BANK) == [4, 5]
    assert sorted(chosen(2, 9, 2) - predictor.BANK) == [0, 5]  # none is that far
    times[predictor.BANK + 1:] = np.inf
    assert list(chosen(0, 1, 3) - predictor.BANK) == [0, 0, 0]  # there is one alone
    times[:2] = -7, -5
    assert list(chosen(0, 1, 2)) == [0, 1]  # the bank's


def test_a_students_sound_goes_through_its_switch(run, tmp_path):
    given = moments(np.arange(4) / 8)
    other, muted = ([m._replace(**change(m)) for m in given] for change in (lambda m: {'audio': -m.audio}, lambda m: {'phi': 0.0}))
    for bias, opened in ((-1e3, False), (1e3, True)):
        copy = tmp_path / str(opened)
        shutil.copytree(run, copy)
        variables = checkpoint.load_variables(run / 'switch' / 'variables')
        variables['params']['classifier']['bias'] = np.full(1, bias, np.float32)
        checkpoint.save_variables(copy / 'switch' / 'variables', variables)
        predictor = Predictor(copy / 'STA')
        maps = [maps_of(predictor, of, name='STA') for of in (given, other, muted)]
        assert (abs(maps[0] - maps[1]).max() > 1e-4) == opened and (abs(maps[0] - maps[2]).max() > 1e-4) == opened


def test_runs_that_cannot_be_taken_are_refused(run, tmp_path):
    def refused(words, change, name=''):
        copy = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(run, copy)
        change(copy)
        with pytest.raises(InputError, match=words) as caught:
            Predictor(copy / name)
        assert '\n' not in str(caught.value) and str(copy) in str(caught.value)

    def edit(copy, **fields):
        config = json.loads((copy / 'config.json').read_text())
        (copy / 'config.json').write_text(json.dumps({k: v for k, v in {**config, **fields}.items() if v is not None}))

    refused('a run of S, SA, not of a student', lambda copy: edit(copy, task='classifiers', nets=['S', 'SA']))
    refused('STA/variables: no such weights', lambda copy: shutil.rmtree(copy / 'STA'))
    refused('switch/config.json', lambda copy: shutil.rmtree(copy / 'switch'))
    refused('STA/variables: weights of another net than .* \\(params.audio_map', lambda copy: edit(copy, width=12), 'STA')
    refused('STA_long/variables: weights of another net than .*params.cgcn',
            lambda copy: edit(copy, blender={'name': 'concatenate'}), 'STA_long')
    refused('switch/variables: weights of another', lambda copy: edit(copy / 'switch', width=12))
    refused('config.json: makes no net', lambda copy: edit(copy, encoder={'name': 'huge'}))
    refused('config.json: makes no net .*width', lambda copy: edit(copy, width=None))
    refused('one student .* or all of', lambda copy: edit(copy, nets=['STA', 'STA_long']))
    with pytest.raises(InputError, match='none/config.json'):
        Predictor(tmp_path / 'none')
    with pytest.raises(InputError, match='a second STA'):
        Predictor(run, run / 'STA')


def test_students_of_several_runs(run, students, tmp_path):
    parted, other = tmp_path / 'parted', tmp_path / 'other'  # runs of STA alone, the other of fewer frames a second
    config = json.loads((run / 'config.json').read_text())
    for folder, rate in ((parted, 8.0), (other, 4.0)):
        for name in ('switch', 'STA'):
            shutil.copytree(run / name, folder / name)
        (folder / 'config.json').write_text(json.dumps({**config, 'nets': ['STA'], 'data': {**config['data'], 'rate': rate}}))
    given = moments(np.arange(20) / 25)
    together = Predictor(run / 'STA_long', parted, run / 'STA_short')
    np.testing.assert_allclose(maps_of(together, given, name='final'), maps_of(students, given, name='final'), atol=5e-5)
    alone = Predictor(run / 'STA_long')
    assert alone.names == ('STA_long',)
    np.testing.assert_allclose(maps_of(alone, given, name='STA_long'), maps_of(students, given, name='STA_long'), atol=5e-5)
    with pytest.raises(InputError, match='has data.rate=4.0'):
        Predictor(run / 'STA_long', other, run / 'STA_short')
