"""Small encoders that can be trained from random weights on a CPU, with the interface of the large ones.

Paddings are explicit and symmetric.
"""
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from stanet_jax.arrays import AnyArray
from stanet_jax.models.convolution import Conv

HE_NORMAL = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class Tiny(nn.Module):
    """Three convolutions, each with batch normalisation and a relu: 4x4 patches, then 4x4 at stride 2, then 3x3.

    Takes normalised images and returns `C3` [b, h/4, w/4, widths[0]], `C4` [b, h/8, w/8, widths[1]] and `C5`
    [b, h/8, w/8, widths[2]], sides rounded down. The receptive field of a place of C5 is 32 x 32 pixels, centred on the 8 x 8 pixels
    that the place stands for, so that maps resized to the frame are aligned with it: with 3x3 at stride 2, class activation maps are
    shifted by 2 pixels to the right and down. A dilated last convolution would see more, but maps then peak beside the object, where
    an outer tap meets it.
    """

    widths: tuple[int, int, int] = (32, 64, 64)
    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w 3'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, Float[AnyArray, 'b _h _w _c']]:
        """The features of normalised images; `mask` is False at images that only pad the batch."""
        conv = partial(Conv, use_bias=False, kernel_init=HE_NORMAL, dtype=self.dtype)
        norm: Callable[..., Any] = partial(nn.BatchNorm, use_running_average=not (train and self.batch_norm == 'batch'),
                                           momentum=0.9, epsilon=1e-5, dtype=self.dtype)
        if mask is not None:
            mask = mask[:, None, None, None]
        x = conv(self.widths[0], (4, 4), 4, padding=0, name='conv1')(x)
        c3 = nn.relu(norm(name='bn1')(x, mask=mask))
        x = conv(self.widths[1], (4, 4), 2, padding=1, name='conv2')(c3)
        c4 = nn.relu(norm(name='bn2')(x, mask=mask))
        x = conv(self.widths[2], (3, 3), padding=1, name='conv3')(c4)
        c5 = nn.relu(norm(name='bn3')(x, mask=mask))
        return {'C3': c3, 'C4': c4, 'C5': c5}


class TinyAudio(nn.Module):
    """Four convolutions over frequency and time, pooled over time only, as pitch is a position in frequency.

    Takes standardised log-spectrograms [b, f, t] or [b, f, t, 1] and returns `embedding` [b, 128] and `logits`
    [b, classes], which `classes=0` leaves out. Any t is accepted; f must be that of the initialisation, or Linen raises
    ScopeParamShapeError. The last convolution runs along time and has a receptive field of 0.6 s (61 columns of 159
    samples at 16 kHz), enough for a rhythm.
    """

    classes: int = 309
    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b f t *channel'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, Float[AnyArray, 'b _d']]:
        """The features of log-spectrograms; `mask` is False at examples that only pad the batch."""
        conv = partial(Conv, use_bias=False, kernel_init=HE_NORMAL, dtype=self.dtype)
        norm: Callable[..., Any] = partial(nn.BatchNorm, use_running_average=not (train and self.batch_norm == 'batch'),
                                           momentum=0.9, epsilon=1e-5, dtype=self.dtype)
        rows = mask if mask is None else mask[:, None]
        if mask is not None:
            mask = mask[:, None, None, None]
        b, f, t = x.shape[:3]
        x = conv(12, (5, 5), 4, padding=2, name='conv1')(x.reshape(b, f, t, 1))
        x = nn.relu(norm(name='bn1')(x, mask=mask))
        x = conv(16, (3, 3), 2, padding=1, name='conv2')(x)
        x = nn.relu(norm(name='bn2')(x, mask=mask))
        x = conv(32, (3, 3), 2, padding=1, name='conv3')(x)
        x = nn.relu(norm(name='bn3')(x, mask=mask))
        x = conv(32, (1, 3), padding=((0, 0), (1, 1)), name='conv4')(x)
        x = nn.relu(norm(name='bn4')(x, mask=mask))
        # Not x.max: its gradient divides by how often x equals it, nan where XLA computes x twice and rounds differently.
        loudest = nn.max_pool(x, (1, x.shape[2]))[:, :, 0]
        x = jnp.concatenate([x.mean(axis=2), loudest], axis=-1).reshape(b, -1)
        x = nn.Dense(128, use_bias=False, kernel_init=HE_NORMAL, dtype=self.dtype, name='dense')(x)
        embedding = nn.relu(norm(name='bn5')(x, mask=rows))
        if not self.classes:
            return {'embedding': embedding}
        return {'embedding': embedding, 'logits': nn.Dense(self.classes, dtype=self.dtype, name='logits')(embedding)}
