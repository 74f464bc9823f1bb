"""The metrics against NumPy in float64, on constructed cases whose answer is known, and on real fixations."""
import functools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import metrics as plain
from stanet_jax.eps import metrics as label_metrics
from stanet_jax.evaluation import metrics
from stanet_jax.evaluation.resizing import resize
from tests.signatures import unchecked

CASES = pathlib.Path(__file__).parents[3] / 'shared/media/osie_cases.npz'
TOLERANCE = {'atol': 1e-6, 'rtol': 1e-6}


def expected(saliency, fixations, negatives, density, seed=0):
    """All six of one map, straight from the definitions; NaN where `evaluation.md` says so."""
    saliency, density = np.float64(saliency), np.float64(density)
    fixations, negatives = fixations > 0, negatives > 0
    n, others = fixations.sum(), negatives.sum()
    varies, mass = saliency.min() < saliency.max(), density.sum() > 0
    drawn = metrics.draw(others, min(n, others), 100, seed)
    with np.errstate(invalid='ignore'):
        return [plain.auc_judd(saliency, fixations) if n else np.nan,
                plain.shuffled_auc(saliency, fixations, negatives, drawn) if n and others and varies else np.nan,
                plain.nss(saliency, fixations) if n and varies else np.nan,
                plain.cc(saliency, density) if varies and mass else np.nan,
                plain.sim(saliency, density) if varies and mass else np.nan,
                plain.kl_div(saliency, density) if mass and saliency.min() >= 0 else np.nan]


def single(saliency, fixations, negatives, density):
    return [metrics.auc_judd(saliency, fixations), metrics.shuffled_auc(saliency, fixations, negatives),
            metrics.nss(saliency, fixations), metrics.cc(saliency, density), metrics.sim(saliency, density),
            metrics.kl_div(saliency, density)]


def batch(saliency, fixations, negatives, density):
    """Frames [b, h, w] through `score_batch` in float32 -> [6, b]."""
    rows = metrics.targets(*([np.flatnonzero(x) for x in masks] for masks in (fixations, negatives)), seeds=[0] * len(saliency))
    signed = saliency.min((1, 2)) < 0
    scores = metrics.score_batch(np.float32(saliency), np.float32(density), **rows, signed=signed)
    return np.array([scores[name] for name in metrics.METRICS])


def random_case(rng, shape=(24, 31), fixated=17, others=60, levels=None):
    saliency = rng.random(shape)
    if levels:
        saliency = np.floor(saliency * levels) / levels
    pixels = rng.permutation(saliency.size)[:fixated + others]
    fixations, negatives = np.zeros((2, saliency.size))
    fixations[pixels[:fixated]], negatives[pixels[fixated:]] = 1, 1
    return saliency, fixations.reshape(shape), negatives.reshape(shape), rng.random(shape) ** 3


@pytest.mark.parametrize('options', [{}, {'levels': 7}, {'fixated': 1}, {'fixated': 90}, {'others': 5}, {'shape': (3, 9), 'others': 5}])
def test_single_and_batched_are_the_definitions(options):
    rng = np.random.default_rng(3)
    cases = [random_case(rng, **options) for _ in range(3)]
    truth = np.array([expected(*case) for case in cases])
    assert np.isfinite(truth).all()
    np.testing.assert_allclose([single(*case) for case in cases], truth, **TOLERANCE)
    np.testing.assert_allclose(batch(*map(np.stack, zip(*cases, strict=True))).T, truth, atol=1e-5, rtol=1e-5)


def test_real_fixations():
    if not CASES.exists():
        pytest.skip('the real cases are not here')
    with np.load(CASES) as arrays:
        for name in sorted({name[:6] for name in arrays if name != 'case_names'}):
            case = [arrays[f'{name}_{part}'] for part in ('saliency', 'fixations', 'negatives', 'density')]
            if not case[0].any():
                continue  # all zeros: see below
            truth = expected(*case)
            np.testing.assert_allclose(single(*case), truth, err_msg=name, **TOLERANCE)
            np.testing.assert_allclose(batch(*(x[None] for x in case))[:, 0], truth, err_msg=name, atol=1e-5, rtol=1e-5)


def test_cases_whose_answer_is_known():
    saliency, fixations = np.zeros((10, 10)), np.zeros((10, 10))
    fixations[2, 3] = 1
    # One fixation, on the highest of 100 different values: fp_N is 0. On the middle one, Mann-Whitney is 0.5 and fp_N is 0.5.
    order = np.arange(100.).reshape(10, 10)
    assert metrics.auc_judd(np.roll(order, order.size - 76), fixations) == 1.0
    assert metrics.auc_judd(100 - abs(order - 23), fixations) == 1.0
    middle = np.random.default_rng(0).permutation(99)
    saliency.flat[np.arange(100) != 23], saliency[2, 3] = middle, 48.5
    np.testing.assert_allclose(metrics.auc_judd(saliency, fixations), 1 - 50 / 99 + 50 / 99 / 2, rtol=1e-12)
    # Of a map 1 at the fixation, 0 elsewhere: NSS is (1 - mean) / sample deviation; CC and SIM with itself 1, KL 0.
    np.testing.assert_allclose(metrics.nss(fixations, fixations), 0.99 / np.sqrt(0.01), rtol=1e-9)
    for density in (fixations, 3 + 2 * fixations):
        np.testing.assert_allclose([metrics.cc(fixations, density), metrics.sim(fixations, density)], 1, rtol=1e-9)
    assert abs(metrics.kl_div(order, 7 * order)) < 1e-12
    assert metrics.cc(order, -order) == pytest.approx(-1)
    # p is 0 under all of q: log(eps + 1/eps).
    assert metrics.kl_div(np.eye(2), [[0, 1], [0, 0]]) == pytest.approx(-math.log(2.0**-52), abs=1e-9)
    assert metrics.kl_div(np.zeros((2, 2)), np.eye(2)) == pytest.approx(math.log(0.5) - math.log(2.0**-52))
    # At 0.55, the negatives at 0.52 and 0.58 fall between the same thresholds: half won each; exact thresholds would say 0.5 too,
    # but not of 0.58 alone.
    line = np.array([[0, 0.55, 0.58, 1.0]])
    assert metrics.shuffled_auc(line, line == 0.55, line == 0.58) == pytest.approx(0.5)
    assert metrics.shuffled_auc(line, line == 0.55, line == 0.58, step=0.01) == pytest.approx(0.0)
    assert metrics.shuffled_auc(line, line == 0.55, line == 0) == pytest.approx(1.0)


def test_ties_are_the_expectation_of_random_order():
    rng = np.random.default_rng(5)
    saliency, fixations, _, _ = random_case(rng, levels=3)

    def literal(s):  # the benchmark's ROC points, on values without ties
        values = np.sort(s[fixations > 0])[::-1]
        n, pixels = len(values), s.size
        fp = [((s >= v).sum() - i) / (pixels - n) for i, v in enumerate(values, 1)]
        return np.trapezoid([0, *np.arange(1, n + 1) / n, 1], [0, *fp, 1])
    noisy = [literal(saliency + rng.random(saliency.shape) * 1e-7) for _ in range(2000)]
    assert abs(metrics.auc_judd(saliency, fixations) - np.mean(noisy)) < 4 * np.std(noisy) / np.sqrt(2000)
    exact = rng.random(saliency.shape)
    np.testing.assert_allclose(metrics.auc_judd(exact, fixations), literal(exact), rtol=1e-9)


def test_what_is_undefined_is_nan():
    saliency, fixations, negatives, density = random_case(np.random.default_rng(1))
    none = np.zeros_like(fixations)
    assert np.isnan(single(saliency, none, negatives, density)).tolist() == [True, True, True, False, False, False]
    assert np.isnan(single(saliency, fixations, none, density)).tolist() == [False, True, False, False, False, False]
    assert np.isnan(single(saliency, fixations, negatives, none)).tolist() == [False, False, False, True, True, True]
    assert np.isnan(single(saliency - 0.5, fixations, negatives, density)).tolist() == [False] * 5 + [True]
    assert math.isnan(metrics.kl_div(saliency, density - 0.5)) and math.isnan(metrics.cc(saliency, none + 3))
    for value in (0.1, 0.0, -7.3, 1 / 3):  # np.full((24, 31), 0.1).std() is not 0
        for shape in (saliency.shape, (9, 7)):
            scores = single(np.full(shape, value), fixations, negatives, density)
            assert np.isnan(scores).tolist() == [False, True, True, True, True, value < 0]
            assert scores[0] == pytest.approx(0.5 + 1 / (2 * (17 + 1)))
        frames = [np.stack([x] * 3) for x in (np.full(saliency.shape, value), fixations, negatives, density)]  # compiled before
        assert np.isnan(batch(*frames)).T.tolist() == 3 * [[False, True, True, True, True, value < 0]]


def test_frames_at_once_score_as_one_after_the_other(monkeypatch):
    """As on an accelerator, where the arrays of one frame would not fill it."""
    frames = [np.float32(x) for x in zip(*(random_case(np.random.default_rng(k)) for k in range(3)), strict=True)]
    expected = batch(*frames)
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    traced = functools.partial(metrics.score_batch.__wrapped__)  # another function, or what was traced for a CPU would be taken
    monkeypatch.setattr(metrics, 'score_batch', jax.jit(traced))
    np.testing.assert_allclose(batch(*frames), expected, rtol=1e-5)


def test_a_value_at_a_threshold_is_above_it():
    # 255 / 255, 204 / 255 and 51 / 255 are 1, 0.8 and 0.2, whatever the scale was before.
    for scale in (1, 1 / 255, 1000 / 3):
        for value, below in ((255, 254), (204, 203), (51, 50)):
            line = np.array([[0, below, value, 255]])
            fixations, negatives = np.eye(4)[[2]], np.eye(4)[[1]]
            assert metrics.shuffled_auc(line * scale, fixations, negatives) == 1
            assert batch(*(x[None] for x in (line * scale, fixations, negatives, line)))[1, 0] == 1


def test_scale_and_type_of_a_map_do_not_matter():
    case = random_case(np.random.default_rng(2))
    for other in (1e-5 * case[0], (1000 * case[0]).tolist(), jnp.asarray(case[0]), 255 * case[0] - 90):
        np.testing.assert_allclose(single(other, *case[1:])[:5], single(*case)[:5], atol=2e-5)


@pytest.mark.parametrize('new', [(48, 62), (13, 40), (7, 5), (24, 10), (1, 3)])
def test_resize_is_imresize(new):
    image = np.random.default_rng(0).normal(size=(24, 31))

    def cubic(x):
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0

    def one_axis(rows, new):  # MATLAB's `contributions`, index by index from 1
        size, result = len(rows), []
        scale = new / size
        shrink = min(scale, 1)
        for x in range(1, new + 1):
            u = x / scale + 0.5 * (1 - 1 / scale)
            left = math.floor(u - 4 / shrink / 2)
            taps = range(left, left + math.ceil(4 / shrink) + 2)
            weights = np.array([shrink * cubic(shrink * (u - i)) for i in taps])
            mirror = [*range(size), *range(size - 1, -1, -1)]
            result.append(weights / weights.sum() @ rows[[mirror[(i - 1) % (2 * size)] for i in taps]])
        return np.array(result)
    resized = one_axis(one_axis(image, new[0]).T, new[1]).T
    with jax.enable_x64(True):
        np.testing.assert_allclose(resize(image, new), resized, atol=1e-12)
    np.testing.assert_allclose(jax.jit(functools.partial(resize, shape=new))(np.float32(image)[None])[0], resized, atol=1e-5)
    _, fixations, negatives, density = random_case(np.random.default_rng(4), (40, 40))
    with jax.enable_x64(True):
        fitted = np.asarray(resize(image, (40, 40)))
    np.testing.assert_allclose(single(image, fixations, negatives, density), single(fitted, fixations, negatives, density))


def test_where_resizing_overshoots_kl_counts_zero():
    saliency, density = np.zeros((6, 6)), np.ones((24, 24))
    saliency[2:4, 2:4] = 1
    with jax.enable_x64(True):
        p = np.asarray(resize(saliency, (24, 24)))
    assert p.min() < 0
    p, q = np.maximum(p / p.sum(), 0), density / density.sum()
    np.testing.assert_allclose(metrics.kl_div(saliency, density), (q * np.log(2**-52 + q / (p + 2**-52))).sum(), rtol=1e-9)


def test_draws():
    drawn = metrics.draw(20, 6, 3000, 0)
    assert (drawn.sum(1) == 6).all()
    np.testing.assert_allclose(drawn.mean(0), 0.3, atol=0.05)
    pairs = np.einsum('si,sj->ij', drawn, np.float64(drawn)) / 3000
    np.testing.assert_allclose(pairs[~np.eye(20, dtype=bool)], 0.3 * 5 / 19, atol=0.04)
    case = random_case(np.random.default_rng(6))[:3]
    assert metrics.shuffled_auc(*case, seed=1) == metrics.shuffled_auc(*case, seed=1) != metrics.shuffled_auc(*case, seed=2)
    # With few negatives each split takes all of them: splits and seed do not matter.
    few = random_case(np.random.default_rng(6), others=5)[:3]
    assert metrics.shuffled_auc(*few, splits=3, seed=1) == pytest.approx(metrics.shuffled_auc(*few))


def test_wrong_arguments_are_refused():
    saliency, fixations, negatives, density = random_case(np.random.default_rng(0))
    for wrong in (saliency[None], saliency[0], np.where(saliency > 0.5, np.nan, 1), np.zeros((0, 3))):
        with pytest.raises(ValueError, match=r'saliency must be a map \[h, w\]'):
            metrics.cc(wrong, density)
    with pytest.raises(ValueError, match='fixations must be a map'):
        metrics.nss(saliency, fixations[None])
    with pytest.raises(ValueError, match='one shape'):
        metrics.shuffled_auc(saliency, fixations, negatives[:5])
    for wrong in ({'splits': 0}, {'step': 0}, {'step': 2.0}):
        with pytest.raises(ValueError, match='splits='):
            metrics.shuffled_auc(saliency, fixations, negatives, **wrong)
    rows = metrics.targets([np.array([1])], [np.array([2])])
    with unchecked(), pytest.raises(ValueError, match=r'one shape \[b, h, w\]'):
        metrics.score_batch(saliency[None], density[None, :4], **rows, signed=False)
    with unchecked(), pytest.raises(ValueError, match=r'\[2, k\]'):
        metrics.score_batch(np.stack([saliency] * 2), np.stack([density] * 2), **rows, signed=False)


def test_all_metrics_are_found_here():
    assert metrics.mean_iou is label_metrics.mean_iou and metrics.resize is resize
    assert all(callable(getattr(metrics, name)) or name == 'METRICS' for name in metrics.__all__)
    assert {*metrics.METRICS, 'mean_iou', 'ious', 'confusion_matrix', 'confusion_ratio', 'boundary_scores'} <= {*metrics.__all__}
