"""Maps without training: the equations against NumPy in float64, and what is predicted on streams and pictures."""
import functools
import pathlib

import jax
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.baselines.classical import centre_gaussian
from stanet_jax.evaluation.fixations import open_set
from stanet_jax.inference import TRAINING_FREE, heard, training_free
from stanet_jax.inference.opening import open_predictor
from stanet_jax.inference.training_free import HEARD_CAM, TrainingFree, smoothing_weights
from stanet_jax.media.moments import Moment
from stanet_jax.models import backbones
from stanet_jax.weights import sources
from tests.models import test_mobile

SIDE = 64
FORM = HEARD_CAM._replace(threshold=0.0)
OSIE = pathlib.Path(__file__).parents[3] / 'shared' / 'real' / 'osie_dev'


def min_max(x):
    low, high = x.min((-2, -1), keepdims=True), x.max((-2, -1), keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1)


# --------------------------------------------------------------------------------------------------------------- equations


def both(function):
    return function, jax.jit(function)


def test_weights_are_raised_by_what_is_heard():
    rng = np.random.default_rng(1)
    probabilities, sounds, table = rng.dirichlet(np.ones(30) / 5, 4), rng.random((4, 9)) ** 3, rng.random((9, 30)) < 0.1
    expected = np.zeros((4, 30))
    for b in range(4):
        for k in range(30):
            loudest = max([sounds[b, s] for s in range(9) if table[s, k]], default=0)
            if max(probabilities[b, k], loudest) > 0.1:
                expected[b, k] = probabilities[b, k] * (1 + 3 * loudest)
    for run in both(functools.partial(heard.heard_weights, gain=3.0, threshold=0.1)):
        np.testing.assert_allclose(run(np.float32(probabilities), np.float32(sounds), table), expected, atol=1e-6)
    assert 0 < (expected > 0).sum() < expected.size


def test_the_map_of_weighted_classes_is_that_of_each_class_added_up():
    rng = np.random.default_rng(2)
    features, kernel, weights = rng.random((3, 5, 6, 7)), rng.normal(size=(7, 11)), rng.random((3, 11))
    weights[2] = 0
    cams = np.einsum('bhwc,ck->bkhw', features, kernel)
    expected = min_max(np.einsum('bkhw,bk->bhw', cams, weights))
    for run in both(heard.heard_cam):
        np.testing.assert_allclose(run(np.float32(features), np.float32(kernel), np.float32(weights)), expected, atol=1e-5)
    assert not expected[2].any()


def test_it_is_laid_over_another():
    rng = np.random.default_rng(3)
    cam, base = min_max(rng.random((3, 4, 5))), min_max(rng.random((3, 4, 5)))
    cam[1] = 0
    weight = np.array([0.7, 0, 1.9])
    expected = min_max((1 + weight[:, None, None] * cam) * base)
    np.testing.assert_allclose(expected[1], base[1])  # no class is left
    for run in both(heard.combine):
        np.testing.assert_allclose(run(np.float32(cam), np.float32(base), np.float32(weight)), expected, atol=1e-6)


def test_the_mean_is_over_the_moments_that_are_near():
    times = np.array([np.inf, np.inf, 0.0, 0.2, 0.25, 0.3, 0.6, np.inf])
    weights = smoothing_weights(times, times[[2, 4, 6]], 0.25)
    np.testing.assert_allclose(weights, [[0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0], [0, 0, .25, .25, .25, .25, 0, 0], [0] * 6 + [1, 0]])


# ----------------------------------------------------------------------------------------------------------------- methods


DEPTH = {'efficientnet_lite0': {'depth': 0.25}, 'yamnet': {}}  # one block a stage; test_mobile.py has the whole net


@pytest.fixture
def weights(monkeypatch):
    """Random weights in place of those of the package and of the cache; a set of names says which are there."""
    there = {*DEPTH}

    def find(encoder, where):
        if encoder in there:
            return test_mobile.encoder(encoder, **DEPTH[encoder])[1]
        raise InputError(f"weights='{where}': no weights of {encoder} are here; fetch {encoder}")
    monkeypatch.setattr(sources, 'find', find)
    for encoder, fields in DEPTH.items():
        monkeypatch.setitem(backbones.BACKBONES, encoder, functools.partial(backbones.BACKBONES[encoder], **fields))
    return there


def moments(times, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (len(times), SIDE, SIDE, 3), np.uint8)
    return [Moment(time, frame, rng.normal(size=(64, 96)).astype(np.float32), float(k % 5 > 0))
            for k, (time, frame) in enumerate(zip(times, frames, strict=True))]


def predicted(method, given, fps=25.0):
    blocks = list(method.predict_blocks(iter(given), fps))
    assert [moment for block, _ in blocks for moment in block] == given
    return np.concatenate([maps[method.names[-1]] for _, maps in blocks])


def test_maps_on_a_stream_are_the_means_of_those_of_each_moment(weights):
    method = TrainingFree('heard_cam', FORM, SIDE)
    raw_fn = training_free._method_maps
    before = raw_fn._cache_size(), method._smooth._cache_size()  # methods share these functions
    given = moments(np.cumsum(np.random.default_rng(1).uniform(0.02, 0.06, 37)))
    raw = np.concatenate([method._raw_maps(given[k:k + 16], 16)[:len(given[k:k + 16])] for k in (0, 16, 32)])
    np.testing.assert_allclose(method._raw_maps(given[20:21], 16)[0], raw[20], atol=1e-5)  # each moment by itself
    assert raw.shape == (37, 64, 64) and raw.min() == 0 and raw.max() == 1
    near = np.array([[abs(a.time - b.time) <= 0.25 for b in given] for a in given])
    expected = np.einsum('tu,uhw->thw', near / near.sum(1, keepdims=True), np.float64(raw))
    np.testing.assert_allclose(predicted(method, given), expected, atol=1e-3)
    assert raw_fn._cache_size() <= before[0] + 1 and method._smooth._cache_size() <= before[1] + 1
    assert len(predicted(method, given[:1])) == 1 and not list(method.predict_blocks(iter([])))
    assert (method.hears, method.front_end, method.names) == (True, 'log_mel', ('heard_cam',))


def test_muted_is_the_same_without_the_ear(weights, capsys):
    given = moments(np.arange(5) / 8)
    muted = [moment._replace(phi=0.0) for moment in given]
    method = TrainingFree('heard_cam', FORM, SIDE)
    own, silent = predicted(method, given), predicted(method, muted)
    assert abs(own[4] - silent[4]).max() > 1e-3
    weights.remove('yamnet')
    deaf = TrainingFree('heard_cam', FORM, SIDE)
    said = capsys.readouterr().err.splitlines()
    assert said == ["heard_cam hears nothing: weights='fetched': no weights of yamnet are here; fetch yamnet"]
    np.testing.assert_allclose(predicted(deaf, given), silent, atol=1e-4)
    assert not deaf.hears


@pytest.mark.parametrize('name', TRAINING_FREE)
def test_pictures_are_silent_films_of_one_frame(weights, name):
    method = TrainingFree(name, side=SIDE)
    rng = np.random.default_rng(4)
    pictures = [rng.integers(0, 256, (40, 50 + k, 3), np.uint8) for k in range(19)]
    found = list(method.predict_pictures(pictures))
    assert len(found) == 19 and all(maps.keys() == {name} and maps[name].shape == (64, 64) for maps in found)
    for k in (0, 15, 16, 18):
        np.testing.assert_allclose(found[k][name], method.maps(pictures[k][None]).maps[0], atol=1e-3)
    if name == 'centre':
        np.testing.assert_allclose(found[3]['centre'], centre_gaussian(np.zeros((64, 64, 3))), atol=1e-6)


def test_a_film_that_stands_still_has_the_maps_of_its_picture(weights):
    method = TrainingFree('feature_sum', side=SIDE)
    picture = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    times, maps = method.maps([picture] * 20, fps=10.0)
    np.testing.assert_allclose(times, np.arange(20) / 10)
    np.testing.assert_allclose(maps, np.stack([next(method.predict_pictures([picture]))['feature_sum']] * 20), atol=1e-3)
    assert method.maps([]).maps.shape == (0, SIDE, SIDE)


def test_what_is_missing_is_told(weights):
    weights.clear()
    for name in ('heard_cam', 'feature_sum'):
        with pytest.raises(InputError, match="weights='pip': no weights of efficientnet_lite0 are here"):
            open_predictor([], name)
    assert open_predictor([], 'centre').names == ('centre',)
    with pytest.raises(InputError, match='--method=gaze: must be one of heard_cam, feature_sum, centre'):
        TrainingFree('gaze')


# ------------------------------------------------------------------------------------------------------------ real weights


def test_where_people_look_on_photographs():
    """With the weights of the package, where they are: more is where people look than the feature sum says, and that than the centre."""
    try:
        sources.locate('efficientnet_lite0', 'pip')
    except InputError:
        pytest.skip('the weights of efficientnet_lite0 are not here')
    if not OSIE.is_dir():
        pytest.skip('the photographs are not here')
    videos = open_set(OSIE).videos[:12]
    nss = {}
    for name in TRAINING_FREE:
        scores = []
        for video, maps in zip(videos, TrainingFree(name, side=256).predict_pictures(video.frame(0) for video in videos), strict=True):
            map_ = np.asarray(jax.image.resize(maps[name], (600, 800), 'linear'))
            scores.append(((map_ - map_.mean()) / map_.std())[video.fixations(0)].mean())
        nss[name] = np.mean(scores)
    assert nss['heard_cam'] > nss['feature_sum'] + 0.3 and nss['heard_cam'] > nss['centre'] + 0.3, nss
