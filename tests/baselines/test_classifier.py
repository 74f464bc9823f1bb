"""Class activation maps of a trained S: on frames, on a set by the stage, as a method to evaluate and predict by."""
import functools
import json
import pathlib
import shutil

import jax
import numpy as np
import PIL.Image
import pytest

from configs import cam_baselines, scam_coarse
from stanet_jax import InputError, scam
from stanet_jax.baselines import cam, maps
from stanet_jax.baselines.classifier import class_maps, load_classifier
from stanet_jax.data import synthave
from stanet_jax.evaluation import evaluate
from stanet_jax.inference import CLASS_MAPS, METHODS, find_method
from stanet_jax.inference.opening import open_predictor
from stanet_jax.models import backbones
from stanet_jax.stages.nets import example_batch, make_classifier, net_inputs
from stanet_jax.training import checkpoint
from stanet_jax.workdir import open_workdir
from tests.variables import drawn

SIDE, CLASSES = 48, 2


def make_world(root, run):
    """Writes a small SynthAVE to `<root>/world`, and a run on it with an S that was never trained."""
    settings = synthave.Settings(categories=CLASSES, train=1, validation=0, test=2, seconds=1.5, side=SIDE)
    synthave.generate(root / 'world', settings, workers=1)
    config = scam_coarse.get_config()
    config.data.update({'root': str(root / 'world'), 'side': SIDE})
    config.nets, config.width = ('S',), 8
    example = example_batch(config, 'S', CLASSES, 1)
    variables = drawn(make_classifier(config, 'S', CLASSES).init, **net_inputs(example, config.encoder.name))
    open_workdir(config, run)
    checkpoint.save_variables(run / 'S' / 'variables', variables)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp('cam')
    make_world(root, root / 'run')
    return root


@pytest.fixture(scope='module')
def net(world):
    return load_classifier(world / 'run' / 'S')


@pytest.fixture(scope='module')
def apply(net):
    return jax.jit(functools.partial(net.model.apply, net.variables))


def frames(count=3):
    small = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.kron(small, np.ones((1, SIDE // 6, SIDE // 6, 1), np.uint8))


@pytest.mark.parametrize('method', ['cam', 'feature_sum', 'grad_cam', 'ablation_cam', 'smooth_grad_cam_pp', 'ss_cam', 'is_cam'])
def test_maps_are_those_of_the_net(net, apply, method):
    """Of the class that it predicts, each frame's alone: of the features, the head and the whole net, as `cam` takes them."""
    def encode(images):
        return apply(images[:, None])[1]['features']

    def predict(images):
        return apply(images[:, None])[0]

    def forward(features):
        return features.mean((1, 2)) @ kernel + net.variables['params']['classifier']['bias']
    kernel = net.variables['params']['classifier']['kernel'][0, 0]
    images = backbones.normalise('tiny', frames())
    features, classes = encode(images), predict(images).argmax(1)
    noise = cam.gaussian_noise(jax.random.key(0), (1, SIDE, SIDE, 3) if method == 'smooth_grad_cam_pp' else (1, SIDE, SIDE))
    expected = {
        'cam': lambda: cam.cam(features, kernel, classes), 'feature_sum': lambda: cam.feature_sum(features),
        'smooth_grad_cam_pp': lambda: cam.smooth_grad_cam_pp(encode, forward, images, classes, noise, samples=2),
        'ss_cam': lambda: cam.ss_cam(predict, images, features, classes, noise, samples=2),
        'is_cam': lambda: cam.is_cam(predict, images, features, classes)}.get(method) or (
            lambda: getattr(cam, method)(forward, features, classes))
    samples = {'samples': 2} if method in ('smooth_grad_cam_pp', 'ss_cam') else {}
    run = jax.jit(functools.partial(class_maps, model=net.model, method=method, **samples))
    found = np.asarray(run(net.variables, frames()))
    np.testing.assert_allclose(found, jax.image.resize(jax.jit(expected)(), (3, SIDE, SIDE), 'bilinear'), atol=2e-3)
    np.testing.assert_allclose(run(net.variables, frames()[::-1])[::-1], found, atol=2e-3)


def test_maps_of_tags_are_averaged(net, apply):
    run = jax.jit(functools.partial(class_maps, model=net.model, method='cam'))
    one, other = (np.asarray(run(net.variables, frames(), np.full((3, 1), tag))) for tag in range(2))
    both = run(net.variables, frames(), np.array([[0, 1], [1, -1], [-1, -1]]))
    np.testing.assert_allclose(both, [(one[0] + other[0]) / 2, other[1], np.zeros_like(one[2])], atol=1e-5)
    _, out = apply(backbones.normalise('tiny', frames())[:, None])
    classic = scam.class_activation(out['maps'], np.tile(np.float32([1, 0]), (3, 1)))
    np.testing.assert_allclose(one, jax.image.resize(classic, (3, SIDE, SIDE), 'bilinear'), atol=1e-4)


def test_what_is_no_s_is_told(world, tmp_path):
    assert load_classifier(world / 'run').side == SIDE
    for path, text in {'nowhere': 'not a run', world / 'student': "not S; class activation maps are of the net S"}.items():
        if path == world / 'student':
            path.mkdir()
            (path / 'config.json').write_text(json.dumps({'task': 'student', 'nets': ['STA']}))
        with pytest.raises(InputError, match=text):
            load_classifier(path)


# ------------------------------------------------------------------------------------------------------------------- stage


def config_of(world, **fields):
    config = cam_baselines.get_config()
    config.data.root, config.classifier = str(world / 'world'), str(world / 'run' / 'S')
    config.methods = ('cam', 'ss_cam')
    config.samples.ss_cam = 1
    config.update(fields)
    return config


def test_the_stage_makes_the_maps_of_the_tags_and_goes_on(world, net, tmp_path):
    config = config_of(world)
    maps.run(config, tmp_path / 'maps')
    clips = sorted(path for path in (tmp_path / 'maps' / 'cam' / 'test').iterdir() if path.is_dir())
    lines = [json.loads(line) for line in (tmp_path / 'maps' / 'cam' / 'test' / 'manifest.jsonl').read_text().splitlines()]
    assert len(clips) == 2 and len(lines) == 24 and {line['clip'] for line in lines} == {clip.name for clip in clips}
    assert json.loads((tmp_path / 'maps' / 'ss_cam' / 'test' / 'manifest.jsonl').read_text().splitlines()[0])['samples'] == 1
    first = next(line for line in lines if line['clip'] == clips[0].name)
    data = maps.open_frames(config, SIDE)['test']
    number = [clip['id'] for clip in data.clips].index(clips[0].name)
    run = jax.jit(functools.partial(class_maps, model=net.model, method='cam'))
    expected = np.asarray(run(net.variables, data.frame(number, 3)[None], np.array([data.clips[number]['tags']]))[0])
    with PIL.Image.open(clips[0] / 'maps' / 'eyeMap_00004.png') as image:
        np.testing.assert_allclose(np.asarray(image) / 255, expected, atol=0.01)
    assert first['tag'] == data.tag_names(number) and not first['empty']
    shutil.rmtree(clips[0])
    kept = (clips[1] / 'frames.jsonl').stat().st_mtime_ns
    maps.run(config, tmp_path / 'maps')
    assert clips[0].is_dir() and (clips[1] / 'frames.jsonl').stat().st_mtime_ns == kept


@pytest.mark.parametrize('fields, text', [({'methods': ('gradcam',)}, "config.methods=.*must name methods out of cam, grad_cam"),
                                          ({'samples': {'cam': 3}}, 'config.samples.cam=3'), ({'splits': ('dev',)}, 'config.splits'),
                                          ({'batch': 0}, 'config.batch=0')])
def test_wrong_fields_are_told(world, tmp_path, fields, text):
    with pytest.raises(InputError, match=text):
        maps.run(config_of(world, **fields), tmp_path / 'maps')
    assert not (tmp_path / 'maps').exists()


# ------------------------------------------------------------------------------------------------------------------ methods


def test_methods_are_found_by_any_spelling():
    assert set(CLASS_MAPS) == set(cam.METHODS) and find_method('gradcam_pp', ['runs/S']) == 'grad_cam_pp'
    assert find_method('GBVS') == 'gbvs' and find_method('centre_gaussian') == 'centre'
    assert find_method('feature_sum') == find_method('feature_sum', ['runs/S']) == 'feature_sum'
    for name, runs, text in (('gradcam', [], '--method=gradcam: is of a trained S; name it, as --checkpoint='),
                             ('gbvs', ['runs/S'], '--checkpoint, --method: one of them at a time'),
                             ('gaze', [], f'--method=gaze: must be one of {", ".join(METHODS)}; or, with --checkpoint=RUN/S, cam, '),
                             ('gaze', ['runs/S'], '--method=gaze: must be one of')):
        with pytest.raises(InputError, match=text):
            find_method(name, runs)


def test_a_film_and_its_pictures_have_the_same_maps(world, net):
    method = open_predictor([world / 'run' / 'S'], 'gradcam')
    assert method.names == ('grad_cam',) and method.side == SIDE and not method.hears
    found = method.maps(list(frames(6)), fps=5.0)
    np.testing.assert_allclose(found.times, np.arange(6) / 5)
    run = jax.jit(functools.partial(class_maps, model=net.model, method='grad_cam'))
    np.testing.assert_allclose(found.maps, run(net.variables, frames(6)), atol=1e-3)
    pictures = [np.pad(frame, ((0, 4), (0, 9), (0, 0))) for frame in frames(6)]
    maps_of = [picture['grad_cam'] for picture in method.predict_pictures(pictures)]
    assert len(maps_of) == 6 and maps_of[0].shape == found.maps[0].shape
    assert open_predictor([world / 'run'], 'ss_cam', samples=3).names == ('ss_cam, 3 samples',)
    with pytest.raises(InputError, match='one S at a time'):
        open_predictor([world / 'run', world / 'run'], 'cam')


def test_they_are_evaluated_on_a_fixation_set_with_thresholds(world, tmp_path):
    out = tmp_path / 'scores.json'
    evaluate.evaluate(world / 'world', '', 'stavis', out, checkpoint=[world / 'run' / 'S'], method='gradcam_pp', thresholds=(0, 0.5))
    found = json.loads(out.read_text())
    assert list(found['rows'])[:2] == ['grad_cam_pp, threshold 0', 'grad_cam_pp, threshold 0.5']
    assert found['of'] == f'grad_cam_pp of {world / "run" / "S"}' and found['rows']['grad_cam_pp, threshold 0']['frames'] == 8
    assert pathlib.Path(out.with_suffix('.csv')).is_file()
