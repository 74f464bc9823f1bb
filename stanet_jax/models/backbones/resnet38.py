"""ResNet-38 (Wu et al., arXiv:1611.10080, model A1) at stride 8, laid out as the release of EPS so that its weights fit.

Blocks are pre-activated: batch normalisation and relu come before each convolution. Paddings are explicit and symmetric, and running
variances biased where torch's are unbiased: see `resnext`.
"""
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from stanet_jax.arrays import AnyArray

HE_NORMAL = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
# Groups of blocks: name, count, channels (middle, out), stride and dilation of all, dilation of the very first convolution.
GROUPS = (('b2', 3, 128, 128, 2, 1, 1), ('b3', 3, 256, 256, 2, 1, 1), ('b4', 6, 512, 512, 2, 1, 1), ('b5', 3, 512, 1024, 1, 2, 1))


class Block(nn.Module):
    """Two 3x3 convolutions with a skip connection, to `out` channels at h/stride, w/stride, sides rounded up."""

    middle: int
    out: int
    stride: int
    dilations: tuple[int, int]
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c'], mask: Bool[AnyArray, 'b 1 1 1'] | None = None) -> Float[jax.Array, 'b h2 w2 c2']:
        """The features after the block."""
        y = nn.relu(self.norm(name='bn_branch2a')(x, mask=mask))
        if x.shape[-1] != self.out or self.stride > 1:
            x = self.conv(self.out, (1, 1), self.stride, padding=0, name='conv_branch1')(y)
        first, second = self.dilations
        y = self.conv(self.middle, (3, 3), self.stride, padding=first, kernel_dilation=first, name='conv_branch2a')(y)
        y = nn.relu(self.norm(name='bn_branch2b1')(y, mask=mask))
        return x + self.conv(self.out, (3, 3), padding=second, kernel_dilation=second, name='conv_branch2b1')(y)


class BottleneckFeatures(NamedTuple):
    """What a bottleneck gives.

    Attributes:
        out: the features after the block.
        entry: the activated features before it.
    """
    out: Float[jax.Array, 'b h w c2']
    entry: Float[jax.Array, 'b h w c']


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a skip connection, to `out` channels; in training with dropout of whole channels."""

    out: int
    dilation: int
    dropout: float
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c'], train: bool, mask: Bool[AnyArray, 'b 1 1 1'] | None = None) -> BottleneckFeatures:
        """The features after the block, and its activated input."""
        drop = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)
        entry = nn.relu(self.norm(name='bn_branch2a')(x, mask=mask))
        skip = self.conv(self.out, (1, 1), padding=0, name='conv_branch1')(entry)
        y = self.conv(self.out // 4, (1, 1), padding=0, name='conv_branch2a')(entry)
        y = drop(nn.relu(self.norm(name='bn_branch2b1')(y, mask=mask)))
        y = self.conv(self.out // 2, (3, 3), padding=self.dilation, kernel_dilation=self.dilation, name='conv_branch2b1')(y)
        y = drop(nn.relu(self.norm(name='bn_branch2b2')(y, mask=mask)))
        return BottleneckFeatures(skip + self.conv(self.out, (1, 1), padding=0, name='conv_branch2b2')(y), entry)


class ResNet38(nn.Module):
    """ResNet-38 at stride 8.

    Takes normalised images and returns `C3` [b, h/8, w/8, 1024] and `C4` [b, h/8, w/8, 2048], the activated inputs of the two
    bottlenecks, and `C5` [b, h/8, w/8, 4096], sides rounded up. With `train=True` it draws dropout from the random stream `dropout`.
    """

    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w 3'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, Float[AnyArray, 'b _h _w _c']]:
        """The features of normalised images; `mask` is False at images that only pad the batch."""
        conv = partial(nn.Conv, use_bias=False, kernel_init=HE_NORMAL, dtype=self.dtype)
        norm: Callable[..., Any] = partial(nn.BatchNorm, use_running_average=not (train and self.batch_norm == 'batch'),
                                           momentum=0.9, epsilon=1e-5, dtype=self.dtype)
        if mask is not None:
            mask = mask[:, None, None, None]
        x = conv(64, (3, 3), padding=1, name='conv1a')(x)
        for name, count, middle, out, stride, dilation, first in GROUPS:
            for i in range(count):
                x = Block(middle, out, stride if i == 0 else 1, (first if i == 0 else dilation, dilation), conv, norm,
                          name=f'{name}_{i}' if i else name)(x, mask)
        x, c3 = Bottleneck(2048, 4, 0.3, conv, norm, name='b6')(x, train, mask)
        x, c4 = Bottleneck(4096, 4, 0.5, conv, norm, name='b7')(x, train, mask)
        return {'C3': c3, 'C4': c4, 'C5': nn.relu(norm(name='bn7')(x, mask=mask))}
