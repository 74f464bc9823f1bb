"""Class activation maps against NumPy."""
import jax
import numpy as np
import pytest
import scipy.ndimage

from stanet_jax import scam
from tests.signatures import unchecked


def test_min_max_of_each_map_and_of_a_constant_one():
    maps = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    maps[1, 1] = 7.3
    low, high = maps.min((2, 3), keepdims=True), maps.max((2, 3), keepdims=True)
    expected = (maps - low) / np.where(high > low, high - low, 1)
    np.testing.assert_allclose(jax.jit(scam.min_max)(maps), expected, atol=1e-6)
    assert not np.any(scam.min_max(maps)[1, 1])


def test_class_activation_is_the_mean_over_tags():
    rng = np.random.default_rng(1)
    maps, tags = rng.normal(size=(3, 4, 5, 6)), np.zeros((3, 6))
    tags[0, 2] = tags[1, [0, 5]] = 1  # one tag, two tags, none

    def z(x):
        return (x - x.min()) / (x.max() - x.min())
    expected = [z(maps[0, ..., 2]), (z(maps[1, ..., 0]) + z(maps[1, ..., 5])) / 2, np.zeros((4, 5))]
    np.testing.assert_allclose(jax.jit(scam.class_activation)(maps, tags), expected, atol=1e-6)


def test_soft_filter_is_equation_3():
    confidence = np.float32([[[.6, .3, .1], [.3, .6, .1], [.45, .45, .1]], [[.2, .5, .3], [.1, .2, .7], [.4, .2, .4]]])
    tags = np.float32([[1, 0, 0], [0, 1, 1]])
    expected = [[.6, 0, 0], [(.5 + .3) / 2, (.2 + .7) / 2, 0]]  # equal is not strictly better; several tags beat the others each
    np.testing.assert_allclose(jax.jit(scam.soft_filter)(confidence, tags), expected, atol=1e-6)
    with unchecked(), pytest.raises(ValueError, match=r'\[b, s, c\]'):
        scam.soft_filter(confidence, tags[:, :2])


@pytest.mark.parametrize('sources', [1, 3, 11])
def test_scam_is_equation_2(sources):
    rng = np.random.default_rng(sources)
    cams, weights = rng.uniform(size=(4, sources, 6, 5)), rng.uniform(size=(4, sources))
    weights[0] = 0
    fused = ((cams * weights[:, :, None, None]).sum(1) + 1e-4) / (weights.sum(1)[:, None, None] + 1e-4)
    low, high = fused.min((1, 2), keepdims=True), fused.max((1, 2), keepdims=True)
    expected = (fused - low) / np.where(high > low, high - low, 1)
    np.testing.assert_allclose(jax.jit(scam.scam)(np.float32(cams), np.float32(weights)), expected, atol=2e-6)
    assert not expected[0].any()
    with unchecked(), pytest.raises(ValueError, match=r'\[b, s, h, w\]'):
        scam.scam(cams, weights[:2])


def test_average_is_equation_22():
    cams = np.random.default_rng(4).uniform(size=(2, 3, 4, 5))
    mean = cams.mean(1)
    low, high = mean.min((1, 2), keepdims=True), mean.max((1, 2), keepdims=True)
    np.testing.assert_allclose(jax.jit(scam.average)(cams), (mean - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize('reach', [0, 1, 2])
def test_smooth_is_the_mean_over_the_frames_that_there_are(reach):
    maps, valid = np.random.default_rng(5).uniform(size=(9, 3, 4)), np.arange(9) < 7
    found = jax.jit(scam.smooth, static_argnames='reach')(np.float32(maps), valid, reach=reach)
    for t in range(7):
        np.testing.assert_allclose(found[t], maps[max(t - reach, 0):min(t + reach, 6) + 1].mean(0), atol=1e-6)
    assert not np.any(found[7:])


def test_tight_box_holds_what_is_strictly_above():
    rng = np.random.default_rng(6)
    for _ in range(20):
        map_ = np.float32(rng.uniform(size=(9, 13)) ** 8)
        rows, columns = np.nonzero(map_ > 2 * map_.mean())
        expected = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        assert tuple(np.asarray(jax.jit(scam.tight_box)(map_))) == expected
    for flat in (np.zeros((9, 13)), np.full((9, 13), 3.0)):
        assert tuple(np.asarray(scam.tight_box(np.float32(flat)))) == (0, 0, 9, 13)
    assert tuple(np.asarray(scam.tight_box(np.float32([[0, 1], [0, 1]])))) == (0, 0, 2, 2)  # 1 is 2 x mean, and not above
    with unchecked(), pytest.raises(ValueError, match='h, w'):
        scam.tight_box(np.zeros((1, 2, 3)))


@pytest.mark.parametrize('box, expected', [
    ((0, 0, 16, 32), (0, 0, 16, 32)), ((5, 8, 6, 20), (4, 8, 6, 20)), ((15, 31, 16, 32), (14, 28, 16, 32)), ((0, 0, 1, 1), (0, 0, 2, 4))])
def test_a_box_is_widened_within_the_frame(box, expected):
    assert tuple(np.asarray(scam.widen_box(np.int32(box), (16, 32)))) == expected


def test_crop_and_paste():
    image = np.float32(np.random.default_rng(7).uniform(size=(12, 16, 3)))
    same = jax.jit(scam.crop, static_argnames='shape')(image, np.int32([2, 4, 8, 12]), shape=(6, 8))
    np.testing.assert_allclose(same, image[2:8, 4:12], atol=1e-5)
    double = scam.crop(image, np.int32([2, 4, 8, 12]), (12, 16))
    # Twice as large, the first inner pixels lie a quarter and three quarters of the way between two of the image.
    np.testing.assert_allclose(double[1, 1], .75 * (.75 * image[2, 4] + .25 * image[2, 5]) + .25 * (.75 * image[3, 4] + .25 * image[3, 5]),
                               atol=1e-5)
    pasted = jax.jit(scam.paste, static_argnames='shape')(image[2:8, 4:12, 0], np.int32([2, 4, 8, 12]), shape=(12, 16))
    expected = np.zeros((12, 16))
    expected[2:8, 4:12] = image[2:8, 4:12, 0]
    np.testing.assert_allclose(pasted, expected, atol=1e-5)
    larger = np.asarray(scam.paste(np.ones((3, 3), np.float32), np.int32([1, 2, 11, 9]), (12, 16)))
    assert (larger[1:11, 2:9] > .99).all() and larger.sum() == pytest.approx(70, abs=1e-3)


def test_predictions_of_three_students_are_fused():
    a, b, c = np.random.default_rng(5).random((3, 2, 6, 7))
    c[1] = 0.25  # a constant map: its `Z` is zeros

    def z(x):
        low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
        return (x - low) / np.where(high > low, high - low, 1)
    product, total = z(z(a) * z(b) * z(c)), z(a + b + c)
    np.testing.assert_allclose(jax.jit(scam.fuse_predictions)(a, b, c), product / 2 + total / 2, atol=1e-6)
    np.testing.assert_allclose(jax.jit(scam.fuse_product)(a, b, c), product / 2 * total / 2, atol=1e-6)
    assert not product[1].any()


def test_the_releases_last_steps():
    """The maximum of three maps, a Gaussian over a map as SciPy has it, and the cut of what is below a multiple of the mean."""
    rng = np.random.default_rng(5)
    three = rng.uniform(size=(3, 2, 13, 11))
    np.testing.assert_allclose(jax.jit(scam.fuse_maximum)(*three), three.max(axis=0), rtol=1e-6)
    for sigma in (0.0, 0.7, 2.0):
        expected = np.stack([scipy.ndimage.gaussian_filter(x, sigma) for x in three[0]]) if sigma else three[0]
        np.testing.assert_allclose(jax.jit(scam.blur, static_argnums=1)(three[0], sigma), expected, rtol=1e-5)
    maps = rng.uniform(size=(2, 9, 9))**6
    for factor in (0.0, 3.0):
        expected = np.where(maps < factor * maps.mean(axis=(1, 2), keepdims=True), 0, maps)
        low, high = (of(expected, axis=(1, 2), keepdims=True) for of in (np.min, np.max))
        np.testing.assert_allclose(jax.jit(scam.cut, static_argnums=1)(maps, factor), (expected - low) / (high - low), rtol=1e-5, atol=1e-7)
    assert not np.asarray(scam.cut(np.ones((4, 4)), 3.0)).any()
