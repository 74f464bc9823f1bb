"""What is done to a batch of frames on the device: photometric jitter and normalisation."""
import jax
import jax.numpy as jnp
import numpy as np

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])  # of ImageNet
LUMA = np.float32([0.299, 0.587, 0.114])
YIQ = np.float32([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def normalise(frames):
    """uint8 RGB [..., h, w, 3] -> float32, with ImageNet's mean and standard deviation."""
    return (frames.astype(jnp.float32) / 255 - MEAN) / STD


def jitter(frames, key, strengths):
    """Changes brightness, contrast, saturation and hue of each example by a factor or a turn of its own.

    Args:
        frames: uint8 [b, t, h, w, 3]; the frames of an example change alike.
        key: of the step. Example i draws from `fold_in(key, i)`, so that padding the batch changes nothing.
        strengths: (brightness, contrast, saturation, hue): factors from `1 - x` to `1 + x`, hue from -x to x of a full turn.
    Returns:
        uint8, like `frames`.
    """
    b = frames.shape[0]
    draw = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i), (4,), minval=-1))(jnp.arange(b))
    brightness, contrast, saturation, hue = (draw * jnp.array(strengths)).T[:, :, None, None, None, None]
    x = frames.astype(jnp.float32) * (1 + brightness)
    mean = (x @ LUMA).mean(axis=(1, 2, 3))[:, None, None, None, None]
    x = mean + (1 + contrast) * (x - mean)
    grey = (x @ LUMA)[..., None]
    x = grey + (1 + saturation) * (x - grey)
    if strengths[3]:
        turn = 2 * jnp.pi * hue[:, 0, 0, 0, 0]
        zero, one = jnp.zeros(b), jnp.ones(b)
        rotation = jnp.array([[one, zero, zero], [zero, jnp.cos(turn), -jnp.sin(turn)], [zero, jnp.sin(turn), jnp.cos(turn)]])
        turned = jnp.einsum('ij,jkb,kl->ilb', np.linalg.inv(YIQ), rotation, YIQ)[..., None, None, None]
        planes = [sum(turned[d, c] * x[..., c] for c in range(3)) for d in range(3)]  # as a product of matrices, half of all jitter's time
        x = jnp.stack(planes, axis=-1)
    return jnp.clip(x + 0.5, 0, 255).astype(jnp.uint8)
