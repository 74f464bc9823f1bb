"""What is done to a batch of frames on the device: photometric jitter and normalisation."""
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from stanet_jax.arrays import AnyArray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32)


def jitter(frames: UInt8[AnyArray, 'b t h w 3'], key: jax.Array, strengths: Sequence[float]) -> UInt8[jax.Array, 'b t h w 3']:
    """Changes brightness, contrast, saturation and hue of each example by random amounts, the same for all frames of an example.

    Args:
        frames: RGB.
        key: of the step. Example i draws from `fold_in(key, i)`, so that padding the batch changes nothing.
        strengths: x of (brightness, contrast, saturation, hue): factors from `1 - x` to `1 + x`, the hue from -x to x of a full turn.
    """
    def grey_of(x):
        return jnp.matmul(x, LUMA, precision='highest')

    b = frames.shape[0]
    draw = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i), (4,), minval=-1))(jnp.arange(b))
    brightness, contrast, saturation, hue = (draw * jnp.array(strengths)).T[:, :, None, None, None, None]
    x = frames.astype(jnp.float32) * (1 + brightness)
    mean = grey_of(x).mean(axis=(1, 2, 3))[:, None, None, None, None]
    x = mean + (1 + contrast) * (x - mean)
    grey = grey_of(x)[..., None]
    x = grey + (1 + saturation) * (x - grey)
    if strengths[3]:
        turn = 2 * jnp.pi * hue[:, 0, 0, 0, 0]
        zero, one = jnp.zeros(b), jnp.ones(b)
        rotation = jnp.array([[one, zero, zero], [zero, jnp.cos(turn), -jnp.sin(turn)], [zero, jnp.sin(turn), jnp.cos(turn)]])
        turned = jnp.einsum('ij,jkb,kl->ilb', np.linalg.inv(YIQ), rotation, YIQ, precision='highest')[..., None, None, None]
        # A product of matrices in place of these sums would take half of jitter's time.
        planes = [sum(turned[d, c] * x[..., c] for c in range(3)) for d in range(3)]
        x = jnp.stack(planes, axis=-1)
    return jnp.clip(x + 0.5, 0, 255).astype(jnp.uint8)
