"""Class activation maps against NumPy in float64, on a small net whose derivative is written out; what they come to on S; bad cases."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stanet_jax import scam
from stanet_jax.baselines import cam

B, H, W, K, C = 3, 4, 5, 7, 6  # images, positions, channels, classes; images are twice as high and wide
RNG = np.random.default_rng(0)
ENCODER = RNG.normal(size=(12, K)) / 3
HIDDEN, HEAD, BIAS = RNG.normal(size=(H * W * K, 8)) / 5, RNG.normal(size=(8, C)), RNG.normal(size=C)
IMAGES, CLASSES = RNG.normal(size=(B, 2 * H, 2 * W, 3)), np.array([4, 0, 5])


def make_net(xp, dtype):
    """(encode, forward, predict) in NumPy or JAX: patches of 2 x 2 pixels, a ReLU; then a hidden layer."""
    encoder, hidden, head, bias = (xp.asarray(x, dtype) for x in (ENCODER, HIDDEN, HEAD, BIAS))

    def encode(images):
        n = len(images)
        patches = images.reshape(n, H, 2, W, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, H, W, 12)
        return xp.maximum(patches @ encoder, 0)

    def forward(features):
        return xp.tanh(features.reshape(len(features), -1) @ hidden) @ head + bias
    return encode, forward, lambda images: forward(encode(images))


ENCODE, FORWARD, PREDICT = make_net(np, np.float64)
NETS = make_net(jnp, jnp.float32)
FEATURES = ENCODE(IMAGES)


def gradient(features):
    """The derivative of `FORWARD` at the class of each image, written out."""
    inner = np.tanh(features.reshape(len(features), -1) @ HIDDEN)
    return ((1 - inner**2) * HEAD[:, CLASSES[:len(features)]].T @ HIDDEN.T).reshape(features.shape)


def relu(x):
    return np.maximum(x, 0)


def min_max(x):
    low, high = x.min((-2, -1), keepdims=True), x.max((-2, -1), keepdims=True)
    return np.where(high > low, (x - low) / np.where(high > low, high - low, 1), 0)


def score(logits, i):
    return logits[0, CLASSES[i]]


def masks(i):
    """`up(Z(A_k))` of image i, [k, H, W]: bilinear, half-pixel."""
    def line(old, new):
        return np.array([[max(0, 1 - abs((y + 0.5) * old / new - 0.5 - j)) for j in range(old)] for y in range(new)])
    rows, columns = (x / x.sum(1, keepdims=True) for x in (line(H, 2 * H), line(W, 2 * W)))
    return np.einsum('yi,kij,xj->kyx', rows, min_max(np.moveaxis(FEATURES[i], -1, 0)), columns)


def masked(i, change, steps):
    """Softmax over the channels of the mean score under changed masks, and the map of these weights."""
    scores = [np.mean([score(PREDICT(change(mask, k, step)[None, ..., None] * IMAGES[i:i + 1]), i) for step in range(steps)])
              for k, mask in enumerate(masks(i))]
    weights = np.exp(scores - np.max(scores))
    return relu(FEATURES[i] @ (weights / weights.sum()))


def principal(x):
    found = []
    for image in x:
        flat = image.reshape(-1, image.shape[-1]) - image.mean((0, 1))
        values, vectors = np.linalg.eigh(flat.T @ flat)
        map_ = flat @ vectors[:, values.argmax()]
        found.append((-map_ if -map_.min() > map_.max() else map_).reshape(image.shape[:2]))
    return np.array(found)


NOISE, MASK_NOISE = RNG.normal(size=(5, B, 2 * H, 2 * W, 3)), RNG.normal(size=(4, K, B, 2 * H, 2 * W))
WEIGHTS = RNG.normal(size=(K, C))


def expected(name):
    a, g = FEATURES, gradient(FEATURES)
    total = a.sum((1, 2))
    if name == 'smooth_grad_cam_pp':
        each = np.array([gradient(ENCODE(IMAGES + 0.3 * NOISE[i])) for i in range(5)])
        d1, d2, d3 = each.mean(0), (each**2).mean(0), (each**3).mean(0)
        alpha = d2 / (2 * d2 + d3 * total[:, None, None])
        return relu(np.einsum('bhwk,bk->bhw', a, (alpha * relu(d1)).sum((1, 2))))
    if name == 'ablation_cam':
        drops = np.zeros((B, K))
        for i in range(B):
            for k in range(K):
                without = a[i:i + 1] * (np.arange(K) != k)
                drops[i, k] = score(FORWARD(a[i:i + 1]), i) - score(FORWARD(without), i)
        return relu(np.einsum('bhwk,bk->bhw', a, drops))
    return {
        'cam': lambda: np.array([a[i] @ WEIGHTS[:, CLASSES[i]] for i in range(B)]),
        'feature_sum': lambda: a.sum(-1),
        'grad_cam': lambda: relu(np.einsum('bhwk,bk->bhw', a, g.mean((1, 2)))),
        'xgrad_cam': lambda: relu(np.einsum('bhwk,bk->bhw', a, (g * a).sum((1, 2)) / total)),
        'grad_cam_pp': lambda: relu(np.einsum('bhwk,bk->bhw', a, (g**2 / (2 * g**2 + g**3 * total[:, None, None]) * relu(g)).sum((1, 2)))),
        'layer_cam': lambda: relu((relu(g) * a).sum(-1)),
        'eigen_cam': lambda: relu(principal(a)),
        'eigen_grad_cam': lambda: relu(principal(g * a)),
        'score_cam': lambda: np.array([masked(i, lambda mask, k, step: mask, 1) for i in range(B)]),
        'ss_cam': lambda: np.array([masked(i, lambda mask, k, step, i=i: mask + 2.0 * MASK_NOISE[step, k, i], 4) for i in range(B)]),
        'is_cam': lambda: np.array([masked(i, lambda mask, k, step: mask * (step + 1) * (step + 2) / 20, 10) for i in range(B)]),
    }[name]()


def call(name, nets=NETS, features=FEATURES, images=IMAGES, **options):
    """The function of a name, as a function of arrays alone that can be compiled, and these arrays."""
    encode, forward, predict = nets
    features, images, classes = np.float32(features), np.float32(images), CLASSES[:len(features)]
    noise, mask_noise = jnp.float32(NOISE), jnp.float32(MASK_NOISE)
    function, arguments = {
        'cam': (cam.cam, (features, np.float32(WEIGHTS), classes)),
        'feature_sum': (cam.feature_sum, (features,)),
        'eigen_cam': (cam.eigen_cam, (features,)),
        'smooth_grad_cam_pp': (lambda i, c, **o: cam.smooth_grad_cam_pp(encode, forward, i, c, lambda k: noise[k], samples=5, **o),
                               (images, classes)),
        'score_cam': (functools.partial(cam.score_cam, predict), (images, features, classes)),
        'is_cam': (functools.partial(cam.is_cam, predict), (images, features, classes)),
        'ss_cam': (lambda i, f, c, **o: cam.ss_cam(predict, i, f, c, lambda s, k: mask_noise[s, k], samples=4, **o),
                   (images, features, classes)),
    }.get(name) or (functools.partial(getattr(cam, name), forward), (features, classes))
    return functools.partial(function, **options), arguments


@functools.cache
def compiled(name, encode=NETS[0]):
    """The function of a name, compiled, for arguments of `call`: (maps, raw maps)."""
    function, _ = call(name, (encode, *NETS[1:]))
    return jax.jit(lambda *arguments: (function(*arguments), function(*arguments, raw=True)))


OF_FEATURES = ('cam', 'feature_sum', 'grad_cam', 'xgrad_cam', 'grad_cam_pp', 'layer_cam', 'ablation_cam', 'eigen_cam', 'eigen_grad_cam')
OF_MASKS = ('score_cam', 'ss_cam', 'is_cam')
ALL = (*OF_FEATURES, 'smooth_grad_cam_pp', *OF_MASKS)


@pytest.mark.parametrize('name', ALL)
def test_maps_are_their_definitions(name):
    wanted = expected(name)
    assert (min_max(wanted).max((1, 2)) == 1).any()
    found, raw = compiled(name)(*call(name)[1])
    np.testing.assert_allclose(found, min_max(wanted), atol=2e-4)
    np.testing.assert_allclose(raw, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize('name', ['ablation_cam', *OF_MASKS])
def test_the_size_of_a_batch_of_masks_does_not_matter(name):
    function, arguments = call(name, batch=3)
    np.testing.assert_allclose(jax.jit(function)(*arguments), compiled(name)(*arguments)[0], atol=1e-5)  # of 32


def test_no_more_masks_are_made_than_a_batch_holds():
    seen = []

    def predict(images):
        seen.append(images.shape[0])
        return NETS[2](images)
    function, arguments = call('score_cam', (*NETS[:2], predict), batch=2)
    jax.jit(function)(*arguments)
    assert set(seen) == {2 * B}


def test_other_scales():
    function, arguments = call('is_cam', scales=(0.5, 1.0))
    wanted = [masked(i, lambda mask, k, step: mask * (0.5, 1)[step], 2) for i in range(B)]
    np.testing.assert_allclose(jax.jit(function)(*arguments), min_max(np.array(wanted)), atol=2e-4)


@pytest.mark.parametrize('name', ALL)
def test_constant_features_give_zeros(name):
    """And no NaN: of images that the net sees nothing in, and of features that are alike everywhere, which derivatives may not be."""
    features = np.zeros((B, H, W, K)) + np.array([0, 2, 0.3])[:, None, None, None]
    run = compiled(name, lambda images: jnp.float32(features)) if name == 'smooth_grad_cam_pp' else compiled(name)
    found = np.asarray(run(*call(name, features=features)[1])[0])
    assert np.isfinite(found).all() and not found[:1 if name in ('layer_cam', 'eigen_grad_cam') else B].any()


# -------------------------------------------------------------------------------------------------------------------- on S


def linear(features):
    return features.mean(axis=(1, 2)) @ jnp.float32(WEIGHTS) + jnp.float32(BIAS)


def test_what_they_come_to_on_s():
    """`forward` is linear and A is not negative, so that most are the same map, or one written more simply."""
    nets = (NETS[0], linear, lambda images: linear(NETS[0](images)))
    functions, arguments = ({name: call(name, nets)[k] for name in ALL[:-3]} for k in (0, 1))
    found = jax.jit(lambda arguments: {name: of(*arguments[name]) for name, of in functions.items()})(arguments)
    w, mean = WEIGHTS[:, CLASSES].T, FEATURES.mean((1, 2))
    plain = min_max(relu(np.einsum('bhwk,bk->bhw', FEATURES, w)))
    for name in ('grad_cam', 'xgrad_cam'):
        np.testing.assert_allclose(found[name], plain, atol=1e-4)
    np.testing.assert_allclose(found['grad_cam_pp'], min_max(np.einsum('bhwk,bk->bhw', FEATURES, relu(w) / (2 + w * mean))), atol=1e-4)
    np.testing.assert_allclose(found['smooth_grad_cam_pp'], found['grad_cam_pp'], atol=1e-4)
    np.testing.assert_allclose(found['layer_cam'], min_max(np.einsum('bhwk,bk->bhw', FEATURES, relu(w))), atol=1e-4)
    np.testing.assert_allclose(found['ablation_cam'], min_max(relu(np.einsum('bhwk,bk->bhw', FEATURES, w * mean))), atol=1e-4)
    maps = np.float32(FEATURES @ WEIGHTS + BIAS)
    np.testing.assert_allclose(found['cam'], scam.class_activation(maps, np.eye(C, dtype=np.float32)[CLASSES]), atol=1e-4)


def test_small_derivatives_do_not_underflow():
    """Behind the average of a large map, cubes of derivatives are below float32's range."""
    small = lambda features: 1e-16 * linear(features)  # noqa: E731
    for name in ('grad_cam_pp', 'smooth_grad_cam_pp'):
        found = [np.asarray(jax.jit(f)(*a)) for f, a in (call(name, (NETS[0], net, None)) for net in (small, linear))]
        assert found[0].max() == 1
        if name == 'smooth_grad_cam_pp':
            g = 1e-16 * np.broadcast_to(WEIGHTS[:, CLASSES].T[:, None, None] / (H * W), FEATURES.shape)
            alpha = 1 / (2 + g * FEATURES.sum((1, 2))[:, None, None])
            wanted = min_max(np.einsum('bhwk,bk->bhw', FEATURES, (alpha * relu(g)).sum((1, 2))))
            np.testing.assert_allclose(found[0], wanted, atol=1e-4)


def test_noise_depends_on_its_indices_alone():
    key = jax.random.key(3)
    noise = cam.gaussian_noise(key, (4, 5))
    wanted = jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, 7), 2), (4, 5))
    np.testing.assert_array_equal(noise(7, 2), wanted)
    np.testing.assert_array_equal(jax.jit(noise)(7, 2), wanted)
    assert np.abs(noise(7) - wanted).max() > 0.1
