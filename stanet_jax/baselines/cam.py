"""Class activation maps of a classifier, twelve of them and the plain sum of its features (TPAMI Table 7), as pure functions.

All give maps [b, h, w] of the features' size: `Z(L)` of the formula L that each one states, or L itself with `raw=True`. `sum_p` and
`mean_p` run over positions. The arguments mean the same everywhere:

    features   [b, h, w, k], A: the output of the layer that is looked at, in float32; of S always C5
    classes    [b], one class of each image; of several tags the mean of their maps is taken
    forward    features -> [b, c], the rest of the net, up to its logits, in which examples do not mix
    encode     images -> features
    predict    images -> [b, c], the whole net
    images     [b, H, W, 3], as the net takes them, normalised

y is the logit of an image's class and g its derivative by A. A divisor of 0 gives the weight 0. Functions and numbers after the star are
static under `jit`.
"""
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from stanet_jax import scam
from stanet_jax.arrays import AnyArray

METHODS = ('cam', 'grad_cam', 'xgrad_cam', 'grad_cam_pp', 'smooth_grad_cam_pp', 'score_cam', 'ss_cam', 'is_cam', 'layer_cam',
           'ablation_cam', 'eigen_cam', 'eigen_grad_cam', 'feature_sum')

Features = Float[AnyArray, 'b h w k']
Images = Float[AnyArray, 'b h2 w2 3']
Classes = Int[AnyArray, ' b']
Maps = Float[jax.Array, 'b h w']
Net = Callable[[Any], Any]  # of arrays: `forward`, `encode` or `predict`
Noise = Callable[..., Any]  # standard normals as a function of integers, see `gaussian_noise`

# ------------------------------------------------------------------------------------------------- of features and gradients


def cam(features: Features, weights: Float[AnyArray, 'k c'], classes: Classes, *, raw: bool = False) -> Maps:
    """CAM (Zhou et al., CVPR 2016): `L = sum_k weights[k, class] A_k`, negative values and all.

    `weights` are those of the 1x1 convolution that classifies; its bias plays no part.
    """
    return _finish(_weighted_sum(features, jnp.asarray(weights)[:, classes].T), raw)


def feature_sum(features: Features, *, raw: bool = False) -> Maps:
    """The plain sum of features, `L = sum_k A_k`, which knows no class: what every class activation map has to be better than."""
    return _finish(jnp.asarray(features, jnp.float32).sum(axis=-1), raw)


def grad_cam(forward: Net, features: Features, classes: Classes, *, raw: bool = False) -> Maps:
    """Grad-CAM (Selvaraju et al., ICCV 2017): `L = relu(sum_k a_k A_k)`, `a_k = mean_p g_k`."""
    return _finish(jax.nn.relu(_weighted_sum(features, _gradient(forward, features, classes).mean(axis=(1, 2)))), raw)


def xgrad_cam(forward: Net, features: Features, classes: Classes, *, raw: bool = False) -> Maps:
    """XGrad-CAM (Fu et al., BMVC 2020): `L = relu(sum_k a_k A_k)`, `a_k = sum_p(g_k A_k) / sum_p A_k`."""
    g, a = _gradient(forward, features, classes), jnp.asarray(features, jnp.float32)
    return _finish(jax.nn.relu(_weighted_sum(a, _divide((g * a).sum(axis=(1, 2)), a.sum(axis=(1, 2))))), raw)


def grad_cam_pp(forward: Net, features: Features, classes: Classes, *, raw: bool = False) -> Maps:
    """Grad-CAM++ (Chattopadhyay et al., WACV 2018, Eq. 19): `L = relu(sum_k a_k A_k)`, `a_k = sum_p relu(g_k) / (2 + g_k sum_q A_k[q])`.

    It is the paper's `alpha = g^2 / (2 g^2 + g^3 sum_q A)`, divided through by `g^2`, which underflows behind a global average.
    """
    g, a = _gradient(forward, features, classes), jnp.asarray(features, jnp.float32)
    weights = _divide(jax.nn.relu(g), 2 + g * a.sum(axis=(1, 2), keepdims=True), 1e-12).sum(axis=(1, 2))
    return _finish(jax.nn.relu(_weighted_sum(a, weights)), raw)


def layer_cam(forward: Net, features: Features, classes: Classes, *, raw: bool = False) -> Maps:
    """Layer-CAM (Jiang et al., TIP 2021), of one layer: `L = relu(sum_k relu(g_k) A_k)`, with weights of each position."""
    g = _gradient(forward, features, classes)
    return _finish(jax.nn.relu((jax.nn.relu(g) * jnp.asarray(features, jnp.float32)).sum(axis=-1)), raw)


def ablation_cam(forward: Net, features: Features, classes: Classes, *, batch: int = 32, raw: bool = False) -> Maps:
    """Ablation-CAM (Desai and Ramaswamy, WACV 2020): `L = relu(sum_k (y - y_k) A_k)`, `y_k` the logit with `A_k` set to 0.

    The paper also divides by y: a constant, which `Z` cannot see, but for a negative y, which would turn the map inside out.
    """
    a = jnp.asarray(features, jnp.float32)

    def ablated(channels):
        kept = 1 - jax.nn.one_hot(channels, a.shape[-1], dtype=a.dtype)
        return _class_scores(forward, a * kept[:, None, None, None], classes)

    drops = _class_scores(forward, a[None], classes) - _by_channel(ablated, a.shape[-1], batch)
    return _finish(jax.nn.relu(_weighted_sum(a, drops.T)), raw)


def eigen_cam(features: Features, *, raw: bool = False) -> Maps:
    """Eigen-CAM (Muhammad and Yeasin, IJCNN 2020): `L = relu(P(A))`, P the projection on the first principal component."""
    return _finish(jax.nn.relu(_principal_component(jnp.asarray(features, jnp.float32))), raw)


def eigen_grad_cam(forward: Net, features: Features, classes: Classes, *, raw: bool = False) -> Maps:
    """Eigen-Grad-CAM, which pytorch-grad-cam has and no paper: `L = relu(P(g A))`, see `eigen_cam`."""
    g = _gradient(forward, features, classes)
    return _finish(jax.nn.relu(_principal_component(g * jnp.asarray(features, jnp.float32))), raw)


# --------------------------------------------------------------------------------------------------------- of changed images


def smooth_grad_cam_pp(encode: Net, forward: Net, images: Images, classes: Classes, noise: Noise, *, samples: int = 4, std: float = 0.3,
                       raw: bool = False) -> Maps:
    """Smooth Grad-CAM++ (Omeiza et al., 2019): Grad-CAM++ with the mean derivatives of noisy images.

    With `g_i` the derivative at `encode(images + std noise(i))`, D1, D2, D3 the means of `g_i`, `g_i^2`, `g_i^3`, and A of the clean
    images: `L = relu(sum_k (sum_p alpha relu(D1)) A_k)`, `alpha = D2 / (2 D2 + D3 sum_q A)`.

    Args:
        noise: `i -> [b, H, W, 3]`.
        samples: how many noisy images.
        std: of the noise, in units of the normalised image.
    """
    a = jnp.asarray(encode(images), jnp.float32)
    g = jax.lax.map(lambda i: _gradient(forward, encode(images + std * noise(i)), classes), jnp.arange(samples))
    largest = jnp.abs(g).max(axis=(0, 2, 3, 4))[:, None, None, None]
    scaled = _divide(g, largest)  # the squares and cubes of g itself underflow
    d2, d3 = (scaled**2).mean(axis=0), (scaled**3).mean(axis=0)
    alpha = _divide(d2, 2 * d2 + largest * d3 * a.sum(axis=(1, 2), keepdims=True), 1e-30)
    return _finish(jax.nn.relu(_weighted_sum(a, (alpha * jax.nn.relu(g.mean(axis=0))).sum(axis=(1, 2)))), raw)


def score_cam(predict: Net, images: Images, features: Features, classes: Classes, *, batch: int = 32, raw: bool = False) -> Maps:
    """Score-CAM (Wang et al., CVPRW 2020): `L = relu(sum_k softmax_k(s) A_k)`, `s_k` the logit of the image times `up(Z(A_k))`.

    The mask multiplies the normalised image, so that what is masked out is mean grey. The score of the whole image, which the paper
    subtracts, cancels in the softmax. At most `batch` masks of an image are in memory.
    """
    scores = _mask_scores(predict, images, features, classes, batch, 1, lambda masks, channels, step: masks)
    return _finish(_softmax_map(features, scores), raw)


def ss_cam(predict: Net, images: Images, features: Features, classes: Classes, noise: Noise, *, samples: int = 35, std: float = 2.0,
           batch: int = 32, raw: bool = False) -> Maps:
    """SS-CAM (Wang et al., 2020): `score_cam` with `s_k` the mean over samples of the logit under the mask `up(Z(A_k)) + std noise(i, k)`.

    Args:
        noise: `(i, k) -> [b, H, W]`.
        samples: how many noisy masks of each channel.
        std: of the noise.
        batch: see `score_cam`.
    """
    def noisy(masks, channels, step):
        return masks + std * jax.vmap(noise, in_axes=(None, 0))(step, channels)

    return _finish(_softmax_map(features, _mask_scores(predict, images, features, classes, batch, samples, noisy)), raw)


def is_cam(predict: Net, images: Images, features: Features, classes: Classes, *, scales: Sequence[float] | None = None, batch: int = 32,
           raw: bool = False) -> Maps:
    """IS-CAM (Naidu et al., 2020): `score_cam` with `s_k` the mean over scales of the logit under the mask `scale up(Z(A_k))`.

    `scales` are by default 0.1, 0.3, 0.6 ... 5.5, the running sum of 0.1, 0.2 ... 1, as torch-cam reads the paper. `batch`: see
    `score_cam`.
    """
    steps = jnp.asarray(np.cumsum(np.arange(1, 11) / 10) if scales is None else scales, jnp.float32)
    scores = _mask_scores(predict, images, features, classes, batch, len(steps), lambda masks, channels, step: steps[step] * masks)
    return _finish(_softmax_map(features, scores), raw)


def gaussian_noise(key: Key[jax.Array, ''], shape: tuple[int, ...]) -> Noise:
    """`(*index) -> ` standard normals of a shape, drawn with the key into which each index is folded in turn."""
    def noise(*index):
        folded = key
        for i in index:
            folded = jax.random.fold_in(folded, i)
        return jax.random.normal(folded, shape)
    return noise


# ------------------------------------------------------------------------------------------------------------------- their parts


def _finish(maps, raw):
    return maps if raw else scam.min_max(maps)


def _weighted_sum(features, weights):
    """`sum_k weights[b, k] A_k`."""
    return jnp.einsum('bhwk,bk->bhw', jnp.asarray(features, jnp.float32), jnp.asarray(weights, jnp.float32), precision='highest')


def _divide(x, by, least=0.0):
    """`x / by`, 0 where the divisor is 0 or, in size, below `least`."""
    there = (by != 0) & (jnp.abs(by) >= least)
    return jnp.where(there, x / jnp.where(there, by, 1), 0)


def _gradient(forward, features, classes):
    """The derivative of each image's logit by its features."""
    def total(a):
        return jnp.take_along_axis(forward(a), classes[:, None], axis=1).sum().astype(jnp.float32)
    return jax.grad(total)(jnp.asarray(features, jnp.float32))


def _class_scores(net, inputs, classes):
    """The logit of its class for each of [n, b, ...] inputs, which go through the net at once; float32 [n, b]."""
    n, b = inputs.shape[:2]
    logits = net(inputs.reshape(n * b, *inputs.shape[2:]))
    return jnp.take_along_axis(logits, jnp.tile(classes, n)[:, None], axis=1).reshape(n, b).astype(jnp.float32)


def _by_channel(scores, count, batch):
    """`scores(channels [n]) -> [n, b]` of `count` channels, `batch` at a time, the last batch filled up; [count, b]."""
    size = min(batch, count)
    channels = jnp.minimum(jnp.arange(-(-count // size) * size), count - 1).reshape(-1, size)
    found = jax.lax.map(scores, channels)
    return found.reshape(-1, found.shape[-1])[:count]


def _mask_scores(predict, images, features, classes, batch, steps, change):
    """The mean over steps of the logits of images under `change(masks [n, b, H, W], channels [n], step)` of each channel's mask; [k, b]."""
    images, channels_first = jnp.asarray(images, jnp.float32), jnp.moveaxis(jnp.asarray(features, jnp.float32), -1, 0)

    def of_channels(channels):
        masks = jax.image.resize(scam.min_max(channels_first[channels]), (len(channels), *images.shape[:3]), 'bilinear')

        def add(total, step):
            masked = change(masks, channels, step)[..., None] * images
            return total + _class_scores(predict, masked, classes), None

        return jax.lax.scan(add, jnp.zeros((len(channels), len(images))), jnp.arange(steps))[0] / steps

    return _by_channel(of_channels, len(channels_first), batch)


def _softmax_map(features, scores):
    """`relu(sum_k softmax_k(scores [k, b]) A_k)`."""
    return jax.nn.relu(_weighted_sum(features, jax.nn.softmax(scores.T, axis=1)))


def _principal_component(x):
    """Each image's values [h, w, k], less each channel's mean, on their first right singular vector, signed by the larger extreme."""
    b, h, w, k = x.shape
    flat = x.reshape(b, h * w, k)
    constant = flat.max(axis=1, keepdims=True) == flat.min(axis=1, keepdims=True)
    flat = jnp.where(constant, 0, flat - flat.mean(axis=1, keepdims=True))
    _, _, vectors = jnp.linalg.svd(flat, full_matrices=False)
    maps = jnp.einsum('bpk,bk->bp', flat, vectors[:, 0], precision='highest')
    flipped = -maps.min(axis=1, keepdims=True) > maps.max(axis=1, keepdims=True)
    return jnp.where(flipped, -maps, maps).reshape(b, h, w)
