"""What is done to frames on the device, against NumPy in float64."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stanet_jax.data import augmentation

KEY = jax.random.key(7)
LUMA = np.array([.299, .587, .114])
STRENGTHS = (.4, .3, .5, .1)
# Of the FCC's YIQ.
YIQ = np.array([LUMA, [.5959, -.2746, -.3213], [.2115, -.5227, .3112]])


def frames(b=3, t=2, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, (b, t, 6, 5, 3)).astype(np.uint8)


@partial(jax.jit, static_argnums=2)
def jitter(x, key, strengths):
    return augmentation.jitter(x, key, strengths)


def draws(b, strengths):
    """What each example drew: [4, b]."""
    u = [jax.random.uniform(jax.random.fold_in(KEY, i), (4,), minval=-1) for i in range(b)]
    return (np.array(u, np.float64) * strengths).T


def expected(x, strengths):
    """Brightness, contrast, saturation, hue, one example after the other."""
    result = []
    for example, brightness, contrast, saturation, hue in zip(x.astype(np.float64), *draws(len(x), strengths), strict=True):
        y = example * (1 + brightness)
        mean = (y @ LUMA).mean()
        y = mean + (1 + contrast) * (y - mean)
        grey = (y @ LUMA)[..., None]
        y = grey + (1 + saturation) * (y - grey)
        angle = 2 * np.pi * hue
        rotation = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
        y = y @ (np.linalg.inv(YIQ) @ rotation @ YIQ).T
        result.append(np.clip(np.round(y), 0, 255))
    return np.array(result)



@pytest.mark.parametrize('strengths', [(.4, 0, 0, 0), (0, .4, 0, 0), (0, 0, .9, 0), (0, 0, 0, .3), STRENGTHS])
def test_jitter_against_numpy(strengths):
    x = frames()
    got = jitter(x, KEY, strengths)
    assert got.dtype == jnp.uint8 and got.shape == x.shape
    difference = np.abs(np.asarray(got, int) - expected(x, strengths))
    assert difference.max() <= 1 and (difference > 0).mean() < .01
    # It does change: each example, and another key otherwise.
    assert (np.abs(np.asarray(got, int) - x).mean((1, 2, 3, 4)) > .5).all()
    assert (np.asarray(jitter(x, jax.random.key(8), strengths)) != np.asarray(got)).mean() > .1


def test_no_strength_is_identity():
    x = frames()
    np.testing.assert_array_equal(jitter(x, KEY, (0., 0., 0., 0.)), x)


def test_hue_keeps_luma_and_grey():
    x = frames(low=100, high=156)  # far from black and white, where values are clipped
    got = np.asarray(jitter(x, KEY, (0, 0, 0, .5)))
    np.testing.assert_allclose(got @ LUMA, x @ LUMA, atol=.6)
    grey = np.repeat(x[..., :1], 3, axis=-1)
    np.testing.assert_allclose(jitter(grey, KEY, (0, 0, 0, .5)), grey, atol=1)


def test_values_are_clipped():
    """A factor beyond 1 must not wrap white round to black."""
    x = np.full((8, 1, 2, 2, 3), 250, np.uint8)
    factors = 1 + draws(8, (.9, 0, 0, 0))[0]
    assert factors.max() > 1.1 and factors.min() < .9
    got = np.asarray(jitter(x, KEY, (.9, 0, 0, 0)))[:, 0, 0, 0, 0]
    np.testing.assert_allclose(got, np.minimum(250 * factors, 255), atol=.51)


def test_padding_the_batch_changes_nothing():
    x = frames()
    padded = np.concatenate([x, np.zeros_like(x[:1]), x[:1]])
    np.testing.assert_array_equal(jitter(padded, KEY, STRENGTHS)[:3], jitter(x, KEY, STRENGTHS))
    # The place in the batch draws, not what stands there.
    assert (np.asarray(jitter(padded, KEY, STRENGTHS)[4]) != np.asarray(jitter(x, KEY, STRENGTHS)[0])).any()


def test_frames_of_an_example_change_alike():
    x = np.repeat(frames(t=1), 3, axis=1)
    got = np.asarray(jitter(x, KEY, STRENGTHS))
    np.testing.assert_array_equal(got, np.repeat(got[:, :1], 3, axis=1))
    same = np.repeat(frames(b=1), 3, axis=0)
    got = np.asarray(jitter(same, KEY, STRENGTHS))
    assert (got[0] != got[1]).mean() > .3 and (got[1] != got[2]).mean() > .3


def test_jit_gives_what_it_gives_without():
    x = frames()
    difference = np.asarray(augmentation.jitter(x, KEY, STRENGTHS), int) - np.asarray(jitter(x, KEY, STRENGTHS), int)
    assert np.abs(difference).max() <= 1
