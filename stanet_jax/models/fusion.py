"""How a spatial feature takes in sound and time: SA fuse (TPAMI Eq. 5), ST fuse (Eq. 6) and STA fuse (Eq. 15)."""
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Key, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models.convolution import Conv


def fuse(s: Float[AnyArray, 'b h w c'], gate: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b h w 2*c']:
    """`concat(relu(sigmoid(gate) * s + s), s)`: Eq. 5 with the audio map as gate, Eq. 6 with the temporal map.

    Args:
        s: spatial features.
        gate: before the sigmoid.
    """
    return jnp.concatenate([nn.relu(nn.sigmoid(gate) * s + s), s], axis=-1)


def fuse_both(s: Float[AnyArray, 'b h w c'], audio_gate: Float[AnyArray, 'b h w c'],
              time_gate: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b h w 2*c']:
    """`concat(sigmoid(audio_gate) * s + s, sigmoid(time_gate) * s + s)`: what Eq. 15 convolves.

    Args:
        s: spatial features.
        audio_gate: the audio map, before the sigmoid.
        time_gate: the temporal map, before the sigmoid.
    """
    return jnp.concatenate([nn.sigmoid(gate) * s + s for gate in (audio_gate, time_gate)], axis=-1)


class Bilinear(nn.Module):
    """A bilinear form of two vectors at each place, of rank `width`: a projection of the product of their projections."""
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, s: Float[AnyArray, 'b h w c'], a: Float[AnyArray, 'b h w c2']) -> Float[jax.Array, 'b h w c']:
        """The form of spatial features and the audio map."""
        s_, a_ = (nn.Dense(self.width, dtype=self.dtype, name=name)(x) for name, x in (('of_s', s), ('of_a', a)))
        return nn.Dense(s.shape[-1], dtype=self.dtype, name='out')(s_ * a_)


# How SA may take in the audio map: SA fuse, and what TPAMI Table 3 compares it to. Each gives (spatial features, audio map) -> features.
SA_FUSIONS: dict[str, Callable[[int, DTypeLike], Callable]] = {
    'gate': lambda width, dtype: fuse,
    'add': lambda width, dtype: jnp.add,
    'multiply': lambda width, dtype: jnp.multiply,
    'concatenate': lambda width, dtype: lambda s, a: jnp.concatenate([s, a], axis=-1),
    'bilinear': lambda width, dtype: Bilinear(width, dtype, name='bilinear')}


def he_normal(gain: float = 1.0) -> Callable[..., jax.Array]:
    """He's initializer for weights before a relu, from a truncated normal distribution; the variance is multiplied by `gain`."""
    return nn.initializers.variance_scaling(2.0 * gain, 'fan_in', 'truncated_normal')


class AudioMap(nn.Module):
    """`deconv(phi * a)` of Eq. 5: an audio embedding spread over space.

    A dense layer to a 1x1 map, transposed convolutions 1 -> 3 -> 5 -> 8, a 1x1 convolution to the channels of `s`, and a bilinear
    resize where `s` is not 8x8. All but the last run at an inner width, of which the papers say nothing; at full width the map would
    hold 142 M parameters.

    Attributes:
        width: inner width, in channels.
        dtype: of the computation.
    """
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, a: Float[AnyArray, 'b d'], phi: Num[AnyArray, ' b'], s: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b h w c']:
        """The audio map at the size of the spatial features.

        Args:
            a: audio embeddings.
            phi: the audio switch, in {0, 1}; with 0 the embedding has no effect, even where it is not finite.
            s: spatial features, of which only the shape counts.
        """
        b, h, w, c = s.shape
        a = jnp.where(phi[:, None] > 0, a, 0).astype(self.dtype)  # not a product: 0 * nan is nan
        x = nn.Dense(self.width, kernel_init=he_normal(), dtype=self.dtype, name='dense')(a)
        x = nn.relu(x)[:, None, None]
        for i, (side, larger) in enumerate(((1, 3), (3, 5), (5, 8))):
            kernel = (larger - side + 1,) * 2
            # Of a kernel's taps only one in (larger / side)^2 meets an input, which he_normal counts as if all did.
            x = Conv(self.width, kernel, padding=larger - side, kernel_init=he_normal((larger / side) ** 2),
                     dtype=self.dtype, name=f'deconv{i + 1}')(x)  # at stride 1 a transposed convolution is one of the padded input
            x = nn.relu(x)
        x = Conv(c, (1, 1), dtype=self.dtype, name='out')(x)
        return x if (h, w) == (8, 8) else jax.image.resize(x, (b, h, w, c), 'bilinear')


def differences(key: Key[jax.Array, ''], shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[jax.Array, 'k width']:
    """Initial weights over (time, channels) that sum to zero over time, so that what stands still gives no response at first.

    Args:
        key: random.
        shape: (3 c, width), time slowest.
        dtype: of the weights.
    """
    kernel = he_normal()(key, shape, dtype).reshape(3, -1, shape[-1])
    return (kernel - kernel.mean(axis=0)).reshape(shape)


def positive(key: Key[jax.Array, ''], shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[jax.Array, '...']:
    """Non-negative initial weights, so that a gate over rectified features begins open where they are active.

    They have a tenth of the usual size: weights of one sign add up, and at full size would saturate the sigmoid.
    """
    return 0.1 * jnp.abs(nn.initializers.lecun_normal()(key, shape, dtype))


class TimeMap(nn.Module):
    """`v` of Eq. 6: a 3D convolution over three frames' features that collapses time: (3, 1, 1), then (1, 3, 3) twice.

    On three frames, without padding, (3, 1, 1) is one weighted sum over time and channels, and (1, 3, 3) is a 2D convolution; the code
    says so. They run at an inner width (at full width they would hold 88 M parameters), before a 1x1 convolution to the channels of
    the features. The map begins as a detector of change: 0 where nothing moves, positive where something does. From random signs ST
    learns that too, but unreliably within the few hundred steps of the embedded default.

    Attributes:
        width: inner width, in channels.
        dtype: of the computation.
    """
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, frames: Float[AnyArray, 'b t h w c']) -> Float[jax.Array, 'b h w c']:
        """The temporal map of three frames' features; ValueError for another number of frames."""
        b, t, h, w, c = frames.shape
        if t != 3:
            raise ValueError(f'three frames are needed, got {t}')
        x = nn.relu(nn.DenseGeneral(self.width, axis=(1, 4), kernel_init=differences, dtype=self.dtype, name='time')(frames))
        x = nn.relu(Conv(self.width, (3, 3), kernel_init=he_normal(), dtype=self.dtype, name='space1')(x))
        x = nn.relu(Conv(self.width, (3, 3), kernel_init=he_normal(), dtype=self.dtype, name='space2')(x))
        return Conv(c, (1, 1), kernel_init=positive, dtype=self.dtype, name='out')(x)
