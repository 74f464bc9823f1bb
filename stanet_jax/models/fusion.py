"""How a spatial feature takes in sound and time: SA fuse (TPAMI Eq. 5), ST fuse (Eq. 6) and STA fuse (Eq. 15)."""
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stanet_jax.models.convolution import Conv


def fuse(s, gate):
    """`concat(relu(sigmoid(gate) * s + s), s)`: Eq. 5 with the audio map as gate, Eq. 6 with the temporal map.

    Args:
        s: spatial features, [b, h, w, c].
        gate: [b, h, w, c], before the sigmoid.
    Returns:
        [b, h, w, 2c]
    """
    return jnp.concatenate([nn.relu(nn.sigmoid(gate) * s + s), s], axis=-1)


def fuse_both(s, audio_gate, time_gate):
    """`concat(sigmoid(audio_gate) * s + s, sigmoid(time_gate) * s + s)`: what Eq. 15 convolves; all [b, h, w, c] -> [b, h, w, 2c]."""
    return jnp.concatenate([nn.sigmoid(gate) * s + s for gate in (audio_gate, time_gate)], axis=-1)


class Bilinear(nn.Module):
    """A bilinear form of each place's two vectors, of the rank `width`: a projection of the product of their projections."""
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, s, a):
        """[b, h, w, c] each -> [b, h, w, c]."""
        s_, a_ = (nn.Dense(self.width, dtype=self.dtype, name=name)(x) for name, x in (('of_s', s), ('of_a', a)))
        return nn.Dense(s.shape[-1], dtype=self.dtype, name='out')(s_ * a_)


# How SA may take in the audio map: SA fuse, and what TPAMI Table 3 compares it to.
SA_FUSIONS = {'gate': lambda width, dtype: fuse,
              'add': lambda width, dtype: jnp.add,
              'multiply': lambda width, dtype: jnp.multiply,
              'concatenate': lambda width, dtype: lambda s, a: jnp.concatenate([s, a], axis=-1),
              'bilinear': lambda width, dtype: Bilinear(width, dtype, name='bilinear')}


def he_normal(gain=1.0):
    return nn.initializers.variance_scaling(2.0 * gain, 'fan_in', 'truncated_normal')


class AudioMap(nn.Module):
    """`deconv(phi * a)` of Eq. 5: an audio embedding spread over space.

    A dense layer to a 1x1 map, transposed convolutions 1 -> 3 -> 5 -> 8, a 1x1 convolution to the channels of `s`, and a bilinear
    resize where `s` is not 8x8. Runs at an inner width (the papers give none; at full width it would hold 142 M parameters).
    """
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, a, phi, s):
        """a [b, d], phi [b] in {0, 1}, s [b, h, w, c] (its shape only) -> [b, h, w, c]; with phi 0, a has no effect at all."""
        b, h, w, c = s.shape
        a = jnp.where(phi[:, None] > 0, a, 0).astype(self.dtype)  # not a product: 0 * nan is nan
        x = nn.Dense(self.width, kernel_init=he_normal(), dtype=self.dtype, name='dense')(a)
        x = nn.relu(x)[:, None, None]
        for i, (side, larger) in enumerate(((1, 3), (3, 5), (5, 8))):
            kernel = (larger - side + 1,) * 2
            # Of a kernel's taps only one in (larger / side)^2 meets an input, which he_normal counts as if all did.
            x = Conv(self.width, kernel, padding=larger - side, kernel_init=he_normal((larger / side) ** 2),
                     dtype=self.dtype, name=f'deconv{i + 1}')(x)  # of stride 1: a convolution of what is padded
            x = nn.relu(x)
        x = Conv(c, (1, 1), dtype=self.dtype, name='out')(x)
        return x if (h, w) == (8, 8) else jax.image.resize(x, (b, h, w, c), 'bilinear')


def differences(key, shape, dtype=jnp.float32):
    """Initial weights over (time, channels), shape [3 c, width]: of sum zero over time, so that what stands still is nothing yet."""
    kernel = he_normal()(key, shape, dtype).reshape(3, -1, shape[-1])
    return (kernel - kernel.mean(axis=0)).reshape(shape)


def positive(key, shape, dtype=jnp.float32):
    """Initial weights without a sign, so that a gate over rectified features begins open where they are active.

    A tenth of the usual size: all of one sign they add up, and would leave the sigmoid no slope to learn by.
    """
    return 0.1 * jnp.abs(nn.initializers.lecun_normal()(key, shape, dtype))


class TimeMap(nn.Module):
    """`v` of Eq. 6: a 3D convolution over three frames' features that collapses time: (3, 1, 1), then (1, 3, 3) twice.

    On three frames, without padding, (3, 1, 1) is one weighted sum over time and channels; (1, 3, 3) is a 2D convolution of each
    moment, and written so. At an inner width (at full width it would hold 88 M parameters), and with a 1x1
    convolution to the channels of `s`. It begins as a detector of change: 0 where nothing moves, positive where something does.
    From random signs ST learned it too, but unreliably, in the few hundred steps of the embedded default.
    """
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, frames):
        """frames [b, 3, h, w, c] -> [b, h, w, c]."""
        b, t, h, w, c = frames.shape
        if t != 3:
            raise ValueError(f'three frames are needed, got {t}')
        x = nn.relu(nn.DenseGeneral(self.width, axis=(1, 4), kernel_init=differences, dtype=self.dtype, name='time')(frames))
        x = nn.relu(Conv(self.width, (3, 3), kernel_init=he_normal(), dtype=self.dtype, name='space1')(x))
        x = nn.relu(Conv(self.width, (3, 3), kernel_init=he_normal(), dtype=self.dtype, name='space2')(x))
        return Conv(c, (1, 1), kernel_init=positive, dtype=self.dtype, name='out')(x)
