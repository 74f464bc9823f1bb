"""The released classification nets as sources of pseudo-fixations, and their encoders as a beginning of our own nets."""
import json

import jax
import numpy as np
import pytest

from configs import pseudo_gt, scam_coarse
from stanet_jax import InputError, scam
from stanet_jax.data import synthave
from stanet_jax.models.backbones import MEAN, STD
from stanet_jax.stages import maps, released, source_maps
from stanet_jax.stages.nets import example_batch, initial_variables, make_classifier
from stanet_jax.weights import release
from tests.models.test_release import KINDS, file_tensors, small  # noqa: F401 - a fixture

PLAIN = {'S.pth': 's v2', 'SA.pth': 'sa bytecode', 'ST.pth': 'st source'}
PLUS = {'S_short.pth': 's_plus v2', 'SA_long.pth': 'sa_plus bytecode', 'ST_cross.pth': 'st_plus v2'}


def write_run(folder, files):
    for seed, (file, name) in enumerate(files.items()):
        kind = KINDS[name]
        variables, _ = release.take(file_tensors(kind, seed), kind, file)
        released.write(release.Loaded(*kind[:3], variables), file, folder)
    return folder


def batch_of(n, side=256):
    rng = np.random.default_rng(0)
    return {'frames': rng.integers(0, 256, (1, n + 2, side, side, 3), np.uint8), 'tags': np.float32(np.arange(28) == 3)[None],
            'boxes': np.float32([[[0, 0, side, side]] * n]), 'audio': rng.normal(size=(1, n, 257, 98)).astype(np.float32),
            'phi': np.ones((1, n), np.float32)}


def normal(frames):
    return ((frames / np.float32(255) - MEAN) / STD).astype(np.float32)


def kept(out):
    return np.maximum((np.float64(out['map_first']) + np.float64(out['map_fused'])) / 2, 0)


def close_to(got, want, confidence):
    cam, logits = got
    np.testing.assert_allclose(cam, want, atol=2e-3)
    np.testing.assert_allclose(logits, jax.nn.softmax(confidence), atol=1e-4)


def test_maps_of_s_sa_and_st(tmp_path, small):  # noqa: F811 - a fixture
    nets = source_maps.load_nets(write_run(tmp_path / 'run', PLAIN), ('S', 'SA', 'ST'), 28)
    assert (list(nets.models), nets.side, nets.fragments) == (['S', 'SA', 'ST'], 256, 2)
    batch = batch_of(2)
    found = jax.jit(lambda v, b: source_maps.source_maps(v, b, models=nets.models))(nets.variables, batch)
    assert found.cams.shape == (1, 2, 3, 16, 16)
    frames, k = normal(batch['frames'][0]), 1
    shown = {'S': {'frame': frames[2:3]}, 'SA': {'frame': frames[2:3], 'audio': batch['audio'][:, k]},
             'ST': {f'frame{j}': frames[2 + of][None] for j, of in enumerate((0, -1, 1))}}
    for i, (name, deciding) in enumerate({'S': 'logits', 'SA': 'logits', 'ST': 'logits_fused0'}.items()):
        out = release.apply(nets.models[name].module, nets.variables[name], shown[name])
        want = scam.min_max(jax.image.resize(kept(out)[0, :, :, 3], (16, 16), 'linear'))
        close_to((found.cams[0, k, i], found.confidence[0, k, i]), want, out[deciding][0])


def test_maps_of_the_plus_nets(tmp_path, small):  # noqa: F811 - a fixture
    nets, n = source_maps.load_nets(write_run(tmp_path / 'run', PLUS), ('S_short', 'SA_long', 'ST_cross'), 28), 4
    rng = np.random.default_rng(1)
    batch = {**batch_of(n), 'length': np.int32([n]), 'places': {'S_short': np.int32([[[0, 2]] * n]), 'SA_long': np.int32([[[3, 1]] * n])},
             'cross_frames': rng.integers(0, 256, (1, 2, 3, 256, 256, 3), np.uint8), 'cross_audio': np.zeros((1, 2, 257, 98), np.float32),
             'cross_phi': np.ones((1, 2), np.float32)}
    batch['frames'][0, 0], batch['frames'][0, -1] = batch['frames'][0, 1], batch['frames'][0, -2]
    found = jax.jit(lambda v, b: source_maps.plus_maps(v, b, models=nets.models, side=256))(nets.variables, batch)
    frames, cross, audio, k = normal(batch['frames'][0, 1:-1]), normal(batch['cross_frames'][0]), batch['audio'][0], 1
    shown = {'S_short': {f'frame{j}': frames[of][None] for j, of in enumerate((k, 0, 2))},
             'SA_long': {f'{kind}{j}': given[of][None] for kind, given in (('frame', frames), ('audio', audio))
                         for j, of in enumerate((k, 3, 1))},
             'ST_cross': {f'frame{i}_{j}': (frames[k + j - 1] if i == 0 else cross[i - 1, j])[None] for i in range(3) for j in range(3)}}
    for i, name in enumerate(nets.models):
        out = release.apply(nets.models[name].module, nets.variables[name], shown[name])
        close_to((found.cams[0, k, i], found.confidence[0, k, i]), scam.min_max(kept(out)[0, :, :, 3]), out['node_logits0'][0])


def test_distill_makes_maps_of_them(tmp_path, small):  # noqa: F811 - a fixture
    run = write_run(tmp_path / 'run', PLAIN)
    settings = synthave.Settings(categories=28, train=28, validation=0, test=1, seconds=1.0, side=48, observers=12)
    synthave.generate(tmp_path / 'world', settings, workers=1)
    config = pseudo_gt.get_config('coarse')
    config.data.root, config.nets, config.switch, config.splits, config.stretch = str(tmp_path / 'world'), str(run), '', ('test',), 4
    maps.run(config, tmp_path / 'maps')
    lines = [json.loads(line) for line in (tmp_path / 'maps' / 'test' / 'manifest.jsonl').read_text().splitlines()]
    assert len(lines) == 8 and set(lines[0]['sources']) == {'S', 'SA', 'ST'}
    with pytest.raises(InputError, match='released nets tell 28 classes apart, those of AVE; the set has 8'):
        source_maps.load_nets(run, ('S',), 8)


def test_a_released_encoder_begins_our_own_net(tmp_path):
    run = write_run(tmp_path / 'run', {'S_short.pth': 's_plus v2'})
    config = scam_coarse.get_config()
    config.nets, config.encoder.name, config.data.side = ('S',), 'vgg16', 32
    config.start_from = {'S': {'encoder': str(run / 'S_short')}}
    model = make_classifier(config, 'S', 8)
    variables = initial_variables(config, 'S', model, example_batch(config, 'S', 8, 1), tmp_path)
    own = released.read(run, ['S_short'])['S_short'].variables['params']['encoder']
    jax.tree.map(np.testing.assert_array_equal, variables['params']['encoder'], own)


def test_what_a_file_is_called():
    assert [released.role(*of) for of in (('sta', 'a.pth'), ('cvpr_switch', 'a'), ('stagcn', 'STAGCN.pth'), ('stagcn', 'STAGCN_long.pth'),
                                          ('sa_plus', 'x.pth'), ('st_plus', 'ST_cross.pth'))] == [
        'STA', 'switch', 'STA_short', 'STA_long', 'SA_long', 'ST_cross']
