"""Classical saliency of an image, without training: Itti and Koch's model, GBVS, the spectral residual, a Gaussian at the centre.

Each takes an image [h, w, 3] in [0, 1] and gives a map [h, w], min-maxed; sizes are static under `jit`. A video is run frame by frame.
ITTI and GBVS follow Harel's package of 2008, which holds both, with its defaults, which leave out its channels of flicker and motion.
Bicubic is Keys' kernel with a = -0.5, antialiased where it shrinks.
"""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from stanet_jax import scam
from stanet_jax.arrays import AnyArray

Image = Float[AnyArray, 'h w 3']
Map = Float[jax.Array, 'h w']

LEAST_SIDE = 128  # pixels, of ITTI's and GBVS's images
ANGLES = (0, 45, 90, 135)  # degrees, of the orientation maps
# To the space of Derrington, Krauskopf and Lennie, from what a monitor makes of red, green and blue at 0, 1/8 ... 1.
DKL = np.array([[.7161, 2.3251, .4510], [.2301, -.1345, -.0965], [-.3773, -1.1661, 1.5370]], np.float32)
MONITOR = np.array([[.025, .029, .057, .139, .294, .487, .649, .788, 1], [.008, .012, .044, .135, .300, .495, .661, .797, 1],
                    [.042, .047, .084, .178, .345, .524, .673, .811, 1]], np.float32)

# ------------------------------------------------------------------------------------------------------------------- models


def centre_gaussian(image: Image, *, sigma: float = 0.25) -> Map:
    """A Gaussian at the centre, whose sigma is a share of the height and of the width; only the shape of the image is used."""
    rows, columns = (np.exp(-((np.arange(n) - (n - 1) / 2) / (sigma * n))**2 / 2) for n in image.shape[:2])
    bell = np.outer(rows, columns)
    span = bell.max() - bell.min()
    return jnp.asarray((bell - bell.min()) / (span or 1), jnp.float32)


@jax.jit
def spectral_residual(image: Image) -> Map:
    """The spectral residual (Hou and Zhang, CVPR 2007): what the log-amplitude spectrum has beyond its local mean; constant images: zeros.

    The spectrum is of the grey image, 64 pixels wide; the map is blurred by a Gaussian of 2.5 of its pixels.
    """
    image = jnp.asarray(image, jnp.float32)
    h, w, _ = image.shape
    grey = jnp.einsum('hwc,c->hw', image, jnp.float32([.2989, .5870, .1140]), precision='highest')
    grey = _resize(grey, (max(_round(64 * h / w), 1), 64))
    spectrum = jnp.fft.fft2(grey)
    amplitude = jnp.log(jnp.maximum(jnp.abs(spectrum), 1e-12))
    residual = amplitude - _filter(amplitude, np.full(3, 1 / 3), 'edge')
    saliency = jnp.abs(jnp.fft.ifft2(jnp.exp(residual + 1j * jnp.angle(spectrum))))**2
    saliency = scam.min_max(_filter(saliency, _bell(2.5, 5), 'constant'))
    return jnp.where((image == image[0, 0]).all(), 0, scam.min_max(jax.image.resize(saliency, (h, w), 'bilinear')))


@functools.partial(jax.jit, static_argnames=('blur', 'deltas'))
def itti(image: Image, *, blur: float = 0.03, deltas: tuple[int, ...] = (2,)) -> Map:
    """ITTI (Itti, Koch and Niebur, PAMI 1998), as Harel's package runs it: squared differences of centre and surround, unsigned opponency.

    Args:
        blur: sigma of the last Gaussian, as a share of the map's longer side; 0 for none.
        deltas: levels between centre and surround; (2, 3) are the paper's, meant for sides over 640 pixels.
    Raises:
        ValueError: a side is under 128 pixels.
    """
    image = _check(image)
    size = _working_size(image.shape, _round(max(image.shape) / 8))
    channels = [_opponency(level) for level in _pyramid(image, max(deltas) + 3)]
    conspicuity = []
    for maps in zip(*channels, strict=True):  # of colour, intensity and orientation: those of each level
        pairs = [(maps[c], maps[c + d]) for c in (2, 3) for d in deltas]
        differences = [(one - _resize(other, one.shape))**2 for centre, surround in pairs
                       for one, other in zip(centre, surround, strict=True)]
        conspicuity.append(_promote(sum(_promote(_resize(difference, size)) for difference in differences)))
    return _finish(sum(conspicuity), blur, image.shape[:2])


@functools.partial(jax.jit, static_argnames=('size', 'levels', 'sigma', 'norm', 'norm_sigma', 'blur'))
def gbvs(image: Image, *, size: int = 32, levels: tuple[int, ...] = (2, 3, 4), sigma: float = 0.15, norm: str = 'power',
         norm_sigma: float = 0.06, blur: float = 0.02) -> Map:
    """Graph-based visual saliency (Harel, Koch and Perona, NIPS 2006), of intensity, four orientations and three colours.

    The chain over a map's positions moves between unlike ones that are near; its equilibrium is the activation. The weights are symmetric,
    so that it is their row sums, and nothing is iterated.

    Args:
        size: longer side of the maps whose positions are the graph's nodes, in pixels.
        levels: of the pyramid.
        sigma: of the distance in the graph, as a share of the mean side.
        norm: 'power', the package's default, raises activations to 1.5; 'graph', the paper's, concentrates them by a second chain.
        norm_sigma: of the distance in the second chain.
        blur: see `itti`.
    Raises:
        ValueError: a side is under 128 pixels, or another norm.
    """
    if norm not in ('power', 'graph'):
        raise ValueError(f"norm={norm!r}: must be 'power' or 'graph'")
    image = _check(image)
    h, w = _working_size(image.shape, size)
    pyramid = _pyramid(image, max(levels))
    maps = jnp.stack([_resize(m, (h, w)) for level in levels for m in _gbvs_features(pyramid[level])])
    near = [[np.exp(-((np.arange(n) - np.arange(n)[:, None]) / (s * (h + w) / 2))**2 / 2).astype(np.float32) for n in (h, w)]
            for s in (sigma, norm_sigma)]
    activations = jax.lax.map(functools.partial(_equilibrium, near=jnp.kron(*near[0])), maps)
    if norm == 'power':
        activations = activations**1.5
    else:
        activations *= jnp.einsum('yv,nvu,ux->nyx', near[1][0], activations, near[1][1], precision='highest')
        activations /= activations.sum(axis=(1, 2), keepdims=True)
    return _finish(activations.sum(axis=0), blur, image.shape[:2])


# ------------------------------------------------------------------------------------------------------------- their features


def _pyramid(image, top):
    """The levels 0 to `top` of the planes r, g, b and i = max(r, g, b), each [4, h, w]."""
    levels = [jnp.concatenate([jnp.moveaxis(image, -1, 0), image.max(axis=-1)[None]])]
    for _ in range(top):
        levels.append(_half(levels[-1]))
    return levels


def _half(planes):
    """Half the size of planes [n, h, w], by the binomial filter of six taps; untouched where a side is 10 pixels or less."""
    h, w = planes.shape[1:]
    if min(h, w) <= 10:
        return planes
    smaller = jnp.einsum('yv,nvu,xu->nyx', _halving(h), planes, _halving(w), precision='highest')
    return _keep_flat(planes, smaller)


@functools.cache
def _halving(n):
    """The weights [n // 2, n] of halving one axis; those beyond the border are dropped, and the others add up to 1."""
    matrix = np.zeros((n // 2, n + 8))
    for i in range(n // 2):
        matrix[i, 2 * i + 2:2 * i + 8] = [1, 5, 10, 10, 5, 1]  # samples 2i - 2 to 2i + 3, of which sample 0 has the place 4
    matrix = matrix[:, 4:n + 4]
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def _opponency(planes):
    """ITTI's maps of one level: (colour, intensity, orientation), a tuple each."""
    r, g, b, i = planes
    divisor = jnp.where(i == 0, 1, i)
    colour = (jnp.where(i == 0, 0, x / divisor) for x in (jnp.abs(b - jnp.minimum(r, g)), jnp.abs(r - g)))
    return tuple(colour), (i,), tuple(_orientations(i))


def _gbvs_features(planes):
    """GBVS's eight maps of one level: intensity, orientations and colours."""
    shown = jnp.stack([jnp.interp(plane, jnp.linspace(0, 1, 9), curve) for plane, curve in zip(planes[:3], MONITOR, strict=True)])
    return planes[3], *_orientations(planes[3]), *jnp.einsum('dc,chw->dhw', DKL, shown, precision='highest')


def _orientations(plane):
    """The energy of Gabor filters of each of `ANGLES`, faded at the border; [4, h, w]."""
    padded = jnp.pad(plane, 13, 'edge')[None, None]
    found = jnp.abs(jax.lax.conv_general_dilated(padded, _gabors()[:, None], (1, 1), 'VALID', precision='highest')[0])
    energy = found[0::2] + found[1::2]
    return _fade(jnp.where(plane.min() == plane.max(), 0, energy), 13)


@functools.cache
def _gabors():
    """Two phases of each of `ANGLES`: [8, 27, 27], of period pi, sigma 2 and elongation 2, without mean and of norm 1."""
    y, x = np.mgrid[-13:14, -13:14]
    kernels = []
    for angle in np.deg2rad(ANGLES):
        u, v = y * np.cos(angle) - x * np.sin(angle), -y * np.sin(angle) - x * np.cos(angle)
        for phase in (0, np.pi / 2):
            kernel = np.cos(2 * u + phase) * np.exp(-u**2 / 8 - v**2 / 32)
            kernel -= kernel.mean()
            kernels.append(kernel / np.sqrt((kernel**2).sum()))
    return np.array(kernels, np.float32)


# ------------------------------------------------------------------------------------------------------- normalisation of maps


def _promote(m):
    """Itti's N: raises a map of few peaks over one of many."""
    m = 10 * scam.min_max(m)
    inner = m[1:-1, 1:-1]
    neighbours = (m[:-2, 1:-1], m[2:, 1:-1], m[1:-1, :-2], m[1:-1, 2:])
    peaks = functools.reduce(jnp.logical_and, (inner >= other for other in neighbours), inner >= 1)
    count = peaks.sum()
    mean = jnp.where(peaks, inner, 0).sum() / jnp.maximum(count, 1)
    return m * jnp.where(count > 1, (10 - mean)**2, jnp.where(count == 1, 100.0, 1.0))


def _equilibrium(m, near):
    """The equilibrium of the chain over the positions of a map, whose weights are `near` times the difference of values."""
    values = m.reshape(-1)
    rows = (near * jnp.abs(values[:, None] - values)).sum(axis=1)
    total = rows.sum()
    return jnp.where(total > 0, rows / jnp.where(total > 0, total, 1), 1 / m.size).reshape(m.shape)


# ------------------------------------------------------------------------------------------------------------------ arithmetic


def _check(image):
    image = jnp.asarray(image, jnp.float32)
    if min(image.shape[:2]) < LEAST_SIDE:
        raise ValueError(f'image {image.shape}: must have {LEAST_SIDE} pixels or more on each side')
    return image


def _finish(m, blur, shape):
    """The end of ITTI and GBVS: the border is faded, the map blurred and resized to `shape`."""
    m = scam.min_max(_fade(m, 4))
    if blur:
        sigma = blur * max(m.shape)
        m = scam.min_max(_filter(m, _bell(sigma, _round(2 * sigma)), 'edge'))
    return scam.min_max(_resize(m, shape))


def _round(x):
    return math.floor(x + 0.5)


def _working_size(shape, longest):
    """(h, w) with the longer side of `longest` pixels."""
    return tuple(max(_round(side * longest / max(shape[:2])), 1) for side in shape[:2])


def _resize(m, shape):
    return _keep_flat(m, jax.image.resize(m, shape, 'cubic'))


def _keep_flat(maps, changed):
    """Maps [..., h, w] made of others by weights that add up to 1; a constant one stays so to the bit, as later steps raise any rest."""
    low, high = maps.min(axis=(-2, -1), keepdims=True), maps.max(axis=(-2, -1), keepdims=True)
    return jnp.where(low == high, low, changed)


def _fade(maps, n):
    """Maps [..., h, w] whose outermost n rows and columns go down to 1 / (n + 1); n is at most half of either side."""
    n = min(n, maps.shape[-2] // 2, maps.shape[-1] // 2)
    ramp = np.arange(1, n + 1) / (n + 1)
    rows, columns = (np.concatenate([ramp, np.ones(size - 2 * n), ramp[::-1]]).astype(np.float32) for size in maps.shape[-2:])
    return maps * rows[:, None] * columns


def _bell(sigma, radius):
    if radius == 0:
        return np.ones(1)
    bell = np.exp(-(np.arange(-radius, radius + 1) / sigma)**2 / 2)
    return bell / bell.sum()


def _filter(m, kernel, border):
    """A map filtered along both axes by a symmetric kernel, padded as `np.pad` says."""
    reach = len(kernel) // 2
    padded = jnp.pad(m, reach, border)
    rows = sum(float(k) * padded[i:i + m.shape[0]] for i, k in enumerate(kernel))
    return sum(float(k) * rows[:, i:i + m.shape[1]] for i, k in enumerate(kernel))
