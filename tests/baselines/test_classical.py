"""Classical saliency against NumPy in float64, written from the formulas: ITTI, GBVS, the spectral residual, the centre."""
import functools

import jax
import numpy as np
import pytest
import scipy.ndimage

from stanet_jax.baselines import classical, threshold

# --------------------------------------------------------------------------------------------------------- the definitions


def min_max(x):
    return (x - x.min()) / (x.max() - x.min()) if x.max() > x.min() else np.zeros_like(x)


def half_up(x):
    return int(np.floor(x + 0.5))


def keys(x):
    x = abs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0


def triangle(x):
    return max(0, 1 - abs(x))


def resize(m, shape, kernel=keys):
    """Half-pixel centres, the kernel widened where it shrinks, weights renormalised at the border."""
    for axis, new in enumerate(shape):
        m = np.moveaxis(np.tensordot(resizing(m.shape[axis], new, kernel), m, (1, axis)), 0, axis)
    return m


@functools.cache
def resizing(old, new, kernel):
    wide = max(old / new, 1)
    weights = np.array([[kernel(((i + 0.5) * old / new - 0.5 - j) / wide) for j in range(old)] for i in range(new)])
    return weights / weights.sum(1, keepdims=True)


def half(x):
    if min(x.shape) <= 10:
        return x
    for axis in (0, 1):
        rows = np.moveaxis(x, axis, 0)
        n, out = len(rows), []
        for i in range(n // 2):
            taps = [(t, w) for t, w in zip(range(2 * i - 2, 2 * i + 4), (1, 5, 10, 10, 5, 1), strict=True) if 0 <= t < n]
            out.append(sum(w * rows[t] for t, w in taps) / sum(w for _, w in taps))
        x = np.moveaxis(np.array(out), 0, axis)
    return x


def pyramid(image, top):
    planes = [image[..., 0], image[..., 1], image[..., 2], image.max(-1)]
    levels = [planes]
    for _ in range(top):
        planes = [half(plane) for plane in planes]
        levels.append(planes)
    return levels


def fade(x, n):
    n = min(n, x.shape[0] // 2, x.shape[1] // 2)
    x = x.copy()
    for i in range(n):
        for axis in (0, 1):
            rows = np.moveaxis(x, axis, 0)
            rows[[i, -1 - i]] *= (i + 1) / (n + 1)
    return x


def blurred(x, f):
    sigma = f * max(x.shape)
    radius = half_up(2 * sigma)
    bell = np.exp(-np.arange(-radius, radius + 1)**2 / (2 * sigma**2))
    for axis in (0, 1):
        x = scipy.ndimage.correlate1d(x, bell / bell.sum(), axis, mode='nearest')
    return x


def finish(m, blur, shape):
    m = min_max(fade(m, 4))
    return min_max(resize(min_max(blurred(m, blur)) if blur else m, shape))


def orientations(plane):
    y, x = np.mgrid[-13:14, -13:14]
    for t in np.pi / 4 * np.arange(4):
        u, v, energy = y * np.cos(t) - x * np.sin(t), -y * np.sin(t) - x * np.cos(t), 0
        for phase in (0, np.pi / 2):
            kernel = np.cos(2 * u + phase) * np.exp(-u**2 / 8 - v**2 / 32)
            kernel -= kernel.mean()
            energy += abs(scipy.ndimage.convolve(plane, kernel / np.sqrt((kernel**2).sum()), mode='nearest'))
        yield fade(energy, 13)


def promote(m):
    m, peaks = 10 * min_max(m), []
    for y in range(1, m.shape[0] - 1):
        for x in range(1, m.shape[1] - 1):
            if m[y, x] >= max(1, m[y - 1, x], m[y + 1, x], m[y, x - 1], m[y, x + 1]):
                peaks.append(m[y, x])
    return m * {0: 1, 1: 100}.get(len(peaks), (10 - np.mean(peaks or [0]))**2)


def itti(image, blur=0.03, deltas=(2,)):
    shape = image.shape[:2]
    longest = half_up(max(shape) / 8)
    size = tuple(half_up(n * longest / max(shape)) for n in shape)
    channels = []
    for r, g, b, i in pyramid(image, 3 + max(deltas)):
        divisor = np.where(i == 0, 1, i)
        channels.append(([abs(b - np.minimum(r, g)) / divisor * (i > 0), abs(r - g) / divisor * (i > 0)], [i], list(orientations(i))))
    total = 0
    for kind in range(3):
        added = 0
        for c in (2, 3):
            for d in deltas:
                for k in range(len(channels[0][kind])):
                    centre, surround = channels[c][kind][k], channels[c + d][kind][k]
                    added = added + promote(resize((centre - resize(surround, centre.shape))**2, size))
        total = total + promote(added)
    return finish(total, blur, shape)


TO_DKL = np.array([[.7161, 2.3251, .4510], [.2301, -.1345, -.0965], [-.3773, -1.1661, 1.5370]])
CURVES = [[.025, .029, .057, .139, .294, .487, .649, .788, 1], [.008, .012, .044, .135, .300, .495, .661, .797, 1],
          [.042, .047, .084, .178, .345, .524, .673, .811, 1]]


def gbvs(image, size=32, levels=(2, 3, 4), sigma=0.15, norm='power', norm_sigma=0.06, blur=0.02):
    shape = image.shape[:2]
    h, w = (half_up(n * size / max(shape)) for n in shape)
    places = np.array([(y, x) for y in range(h) for x in range(w)])
    squares = ((places[:, None] - places)**2).sum(-1)
    near, close = (np.exp(-squares / (2 * (s * (h + w) / 2)**2)) for s in (sigma, norm_sigma))
    total, planes = 0, pyramid(image, max(levels))
    for level in levels:
        r, g, b, i = planes[level]
        shown = np.array([np.interp(plane, np.arange(9) / 8, curve) for plane, curve in zip((r, g, b), CURVES, strict=True)])
        for m in [i, *orientations(i), *np.tensordot(TO_DKL, shown, 1)]:
            m = resize(m, (h, w)).ravel()
            chain = near * abs(m[:, None] - m)
            a = stationary(chain) if chain.any() else np.full(len(m), 1 / len(m))
            a = a**1.5 if norm == 'power' else stationary(close * a[:, None])
            total = total + a.reshape(h, w)
    return finish(total, blur, shape)


def stationary(weights):
    """The equilibrium of a chain that moves from q to p by the columns of its weights: `P v = v`, the sum of v 1."""
    equations = weights / weights.sum(0) - np.eye(len(weights))
    equations[-1] = 1
    return np.linalg.solve(equations, np.eye(len(weights))[-1])


def spectral_residual(image):
    h, w, _ = image.shape
    grey = resize(image @ [.2989, .5870, .1140], (max(half_up(64 * h / w), 1), 64))
    spectrum = np.fft.fft2(grey)
    amplitude = np.log(np.maximum(abs(spectrum), 1e-12))
    residual = amplitude - scipy.ndimage.uniform_filter(amplitude, 3, mode='nearest')
    saliency = abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum))))**2
    bell = np.exp(-np.arange(-5, 6)**2 / (2 * 2.5**2))
    for axis in (0, 1):
        saliency = scipy.ndimage.correlate1d(saliency, bell / bell.sum(), axis, mode='constant')
    return min_max(resize(min_max(saliency), (h, w), triangle))


# ------------------------------------------------------------------------------------------------------------------- tests


def picture(h, w, seed=0, grey=False):
    """Coloured blobs on a textured ground."""
    rng = np.random.default_rng(seed)
    image = scipy.ndimage.gaussian_filter(rng.random((h, w, 3)), (3, 3, 0)) + 0.05 * rng.random((h, w, 3))
    y, x = np.mgrid[:h, :w]
    for _ in range(6):
        cy, cx = rng.random(2) * (h, w)
        image[(y - cy)**2 + (x - cx)**2 < (0.06 * h)**2] = rng.random(3)
    image = min_max(image)
    return np.repeat(image.mean(-1, keepdims=True), 3, -1) if grey else image


@pytest.mark.parametrize('shape, options', [((150, 201), {}), ((131, 128), {'sigma': 0.1})])
def test_the_centre(shape, options):
    sigma, (h, w) = options.get('sigma', 0.25), shape
    y, x = np.mgrid[:h, :w]
    expected = np.exp(-((y - (h - 1) / 2)**2 / (sigma * h)**2 + (x - (w - 1) / 2)**2 / (sigma * w)**2) / 2)
    np.testing.assert_allclose(classical.centre_gaussian(picture(h, w), **options), min_max(expected), atol=1e-6)


@pytest.mark.parametrize('shape', [(150, 201), (170, 90), (20, 300)])
def test_the_spectral_residual(shape):
    image = picture(*shape)
    np.testing.assert_allclose(classical.spectral_residual(np.float32(image)), spectral_residual(image), atol=2e-4)


@pytest.mark.parametrize('shape, options', [((150, 201), {}), ((260, 131), {'deltas': (2, 3), 'blur': 0})])
def test_itti(shape, options):
    image = np.float32(picture(*shape))
    np.testing.assert_allclose(classical.itti(image, **options), itti(np.float64(image), **options), atol=1e-3)


@pytest.mark.parametrize('shape, grey, options', [
    ((150, 201), False, {}),
    ((140, 128), True, {'size': 20, 'levels': (2, 3), 'sigma': 0.3, 'blur': 0, 'norm': 'graph', 'norm_sigma': 0.1})])
def test_gbvs(shape, grey, options):
    image = np.float32(picture(*shape, 1, grey))
    np.testing.assert_allclose(classical.gbvs(image, **options), gbvs(np.float64(image), **options), atol=1e-3)


def test_constant_images_have_no_more_than_the_border_in_their_maps():
    image = np.full((150, 201, 3), [.2, .7, .3], np.float32)
    assert not np.any(classical.spectral_residual(image)) and not np.any(classical.itti(image))
    # Of GBVS every activation is uniform; then the border fades.
    np.testing.assert_allclose(classical.gbvs(image), finish(np.ones((24, 32)), 0.02, (150, 201)), atol=1e-5)


@pytest.mark.parametrize('model', [classical.itti, classical.gbvs])
def test_small_images_are_refused(model):
    with pytest.raises(ValueError, match='must have 128 pixels or more on each side'):
        model(np.zeros((127, 300, 3), np.float32))


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm='max'"):
        classical.gbvs(np.zeros((130, 130, 3), np.float32), norm='max')


def test_peaks_are_counted():
    """Two peaks or more, one, and none: all at the border."""
    two, one, none = np.zeros((3, 6, 7))
    two[2, 2], two[3, 5], one[3, 3], none[0, 0] = 4, 2, 3, 5
    for m in (two, one, none):
        np.testing.assert_allclose(jax.jit(classical._promote)(np.float32(m)), promote(m), rtol=1e-5)
    assert promote(two).max() == 10 * 2.5**2 and promote(one).max() == 1000 and promote(none).max() == 10


def test_a_threshold_leaves_the_rest_as_it_is():
    maps = np.random.default_rng(0).random((2, 5, 6)) * 7 - 3
    maps[1] = 2
    for run in (threshold, jax.jit(threshold, static_argnums=1)):
        for level in (0, 0.3, 0.7):
            z = np.stack([min_max(m) for m in maps])
            np.testing.assert_allclose(run(np.float32(maps), level), np.where(z < level, 0, z), atol=1e-6)
    np.testing.assert_array_equal(threshold(np.float32([[0, 0.5, 1]]), 0.5), [[0, 0.5, 1]])  # what is at the level stays
