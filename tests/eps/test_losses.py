"""EPS's saliency loss against NumPy in float64, position by position as the paper writes it."""
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from jax.test_util import check_grads

from stanet_jax import losses
from tests.signatures import unchecked


def np_eps(logits, saliency, tags, threshold=0.4, mix=0.5, selection='adaptive', background_classes=None):
    """(loss, M_fg, 1 - M_bg, estimate) of one example after the other."""
    rows = []
    for x, m_s, y in zip(np.float64(logits), np.float64(saliency), tags, strict=True):
        e = np.exp(x - x.max(axis=2, keepdims=True))
        m = e / e.sum(axis=2, keepdims=True)
        fg, bg = np.zeros(m_s.shape), m[:, :, -1].copy()
        for i in np.flatnonzero(y):
            b_i = m[:, :, i] > 0.5
            o = (b_i & (m_s > 0.5)).sum() / b_i.sum() if b_i.any() else 0
            if {'adaptive': o > threshold, 'naive': True, 'predefined': not (background_classes or {}).get(i)}[selection]:
                fg += m[:, :, i]
            else:
                bg += m[:, :, i]
        rows.append((fg, 1 - bg, mix * fg + (1 - mix) * (1 - bg)))
    fg, not_bg, estimate = map(np.stack, zip(*rows, strict=True))
    return np.mean((estimate - saliency)**2), fg, not_bg, estimate


def example(seed=0, b=3, h=6, w=7, c=4):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 4, (b, h, w, c + 1)).astype(np.float32), rng.random((b, h, w)).astype(np.float32), rng.integers(0, 2, (b, c))


def assert_same(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-9)
    for name, x in zip(('foreground', 'background', 'estimate'), expected[1:], strict=True):
        np.testing.assert_allclose(found[1][name], x, atol=1e-5, err_msg=name)


class Eps(chex.TestCase):

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters((0.4, 0.5), (0.7, 0.2), (0.0, 1.0))
    def test_is_equations_1_to_3(self, threshold, mix):
        for seed in range(4):
            logits, saliency, tags = example(seed)
            loss = self.variant(functools.partial(losses.eps_saliency, threshold=threshold, mix=mix))
            assert_same(loss(logits, saliency, tags), np_eps(logits, saliency, tags, threshold, mix))

    @chex.variants(with_jit=True, without_jit=True)
    def test_selections(self):
        logits, saliency, tags = example(5, b=8)
        found = {}
        for selection, listed in (('adaptive', None), ('naive', None), ('predefined', [False, True, False, True])):
            loss = self.variant(functools.partial(losses.eps_saliency, selection=selection, background_classes=listed))
            found[selection] = loss(logits, saliency, tags)
            never = dict(enumerate(listed or []))
            assert_same(found[selection], np_eps(logits, saliency, tags, selection=selection, background_classes=never))
        assert len({float(loss) for loss, _ in found.values()}) == 3

    @chex.variants(with_jit=True, without_jit=True)
    def test_no_tag_all_tags_empty_and_full_saliency(self):
        logits, saliency, tags = example(1)
        for of in (saliency, 0 * saliency, 0 * saliency + 1):
            for y in (0 * tags, 0 * tags + 1, tags):
                found = self.variant(losses.eps_saliency)(logits, of, y)
                assert_same(found, np_eps(logits, of, y))
                if not of.any():  # nothing lies on what is salient: no class is foreground
                    assert not np.any(found[1]['foreground'])
                assert np.all(np.isfinite(jax.grad(lambda x, of=of, y=y: losses.eps_saliency(x, of, y)[0])(logits)))


def test_overlap():
    maps = np.zeros((1, 2, 4, 3), np.float32)
    maps[0, 0, :, 0], maps[0, 1, :2, 1] = 0.6, 0.9  # 4 places, 2 places, none
    saliency = np.float32([[[1, 1, 0.5, 0], [0, 1, 1, 1]]])  # above 0.5, not at it
    np.testing.assert_allclose(losses.overlap(maps, saliency), [[0.5, 0.5, 0]])
    assert not np.any(jax.grad(lambda m: losses.overlap(m, saliency).sum())(maps))


def test_gradient_leaves_the_selection_out():
    """It is that of the loss with the chosen classes held fixed."""
    logits, saliency, tags = example(2)
    chosen = np.asarray(losses.overlap(jax.nn.softmax(logits)[..., :-1], saliency)) > 0.4

    def held(x):
        maps = jax.nn.softmax(x)
        fg = jnp.einsum('bhwc,bc->bhw', maps[..., :-1], (tags * chosen).astype(np.float32))
        bg = jnp.einsum('bhwc,bc->bhw', maps[..., :-1], (tags * ~chosen).astype(np.float32)) + maps[..., -1]
        return jnp.mean((0.5 * fg + 0.5 * (1 - bg) - saliency)**2)
    found = jax.grad(lambda x: losses.eps_saliency(x, saliency, tags)[0])(logits)
    np.testing.assert_allclose(found, jax.grad(held)(logits), atol=1e-7)
    check_grads(lambda x: losses.eps_saliency(x, saliency, tags, selection='naive')[0], (logits,), order=1, modes=['rev'], atol=1e-2,
                rtol=1e-2)


@pytest.mark.parametrize('wrong', [{'tags': np.zeros((3, 5))}, {'saliency': np.zeros((3, 6, 6))}, {'selection': 'all'},
                                   {'selection': 'predefined'}])
def test_mistakes(wrong):
    logits, saliency, tags = example()
    with unchecked(), pytest.raises(ValueError, match='must be'):
        losses.eps_saliency(**{'logits': logits, 'saliency': saliency, 'tags': tags, **wrong})
