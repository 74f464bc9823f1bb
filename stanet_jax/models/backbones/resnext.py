"""ResNeXt-101 32x8d (Xie et al., arXiv:1611.05431) and ResNet-101, laid out as torchvision's so that their weights fit.

Every padding is explicit and symmetric, as in torch: 'SAME' pads a strided convolution on the far side only, which
shifts the features against the weights. Parameters are named as in torch, with `layer1.0` as `layer1_0`.

Batch normalisation here moves the running variance towards the biased variance of the batch, torch's towards the
unbiased one, n / (n - 1) times larger: running statistics agree with torch's when loaded, not quite when trained.
"""
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from stanet_jax.arrays import AnyArray
from stanet_jax.models.convolution import Conv

HE_NORMAL = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions with a skip connection, to 4 `planes` channels at h/stride, w/stride, rounded up.

    `width` is the number of channels of the grouped convolution, which has the stride and the dilation.
    """

    planes: int
    width: int
    groups: int
    stride: int
    dilation: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c'], mask: Bool[AnyArray, 'b 1 1 1'] | None = None) -> Float[jax.Array, 'b h2 w2 c2']:
        """The features after the block."""
        y = self.conv(self.width, (1, 1), name='conv1')(x)
        y = nn.relu(self.norm(name='bn1')(y, mask=mask))
        y = self.conv(self.width, (3, 3), self.stride, padding=self.dilation, kernel_dilation=self.dilation,
                      feature_group_count=self.groups, name='conv2')(y)
        y = nn.relu(self.norm(name='bn2')(y, mask=mask))
        y = self.conv(4 * self.planes, (1, 1), name='conv3')(y)
        y = self.norm(name='bn3')(y, mask=mask)
        if x.shape != y.shape:
            x = self.conv(4 * self.planes, (1, 1), self.stride, padding=0, name='downsample_0')(x)
            x = self.norm(name='downsample_1')(x, mask=mask)
        return nn.relu(x + y)


class ResNeXt(nn.Module):
    """ResNeXt; the defaults are 101 layers and 32 groups of 8 channels. With one group of 64 channels it is ResNet-101.

    Takes normalised images and returns `C3` [b, h/8, w/8, 512], `C4` [b, h/16, w/16, 1024] and `C5` [b, h/32, w/32, 2048] (layers 2,
    3 and 4), sides rounded up. The last `dilated` layers have dilation in place of stride, as in torchvision: with 2 of them `C4` and
    `C5` are at h/8, w/8, too. With `remat` the backward pass computes the inside of every block again, see `backbones.create`.
    """

    layers: tuple[int, ...] = (3, 4, 23, 3)
    groups: int = 32
    width_per_group: int = 8
    dilated: int = 0
    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'
    remat: bool = False

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w 3'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, Float[AnyArray, 'b _h _w _c']]:
        """The features of normalised images; `mask` is False at images that only pad the batch."""
        conv = partial(Conv, use_bias=False, padding=0, kernel_init=HE_NORMAL, dtype=self.dtype)
        norm: Callable[..., Any] = partial(nn.BatchNorm, use_running_average=not (train and self.batch_norm == 'batch'),
                                           momentum=0.9, epsilon=1e-5, dtype=self.dtype)
        if mask is not None:
            mask = mask[:, None, None, None]
        x = conv(64, (7, 7), 2, padding=3, name='conv1')(x)
        x = nn.relu(norm(name='bn1')(x, mask=mask))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))  # pads with -inf, as torch does
        out, dilation, block = {}, 1, nn.remat(Bottleneck) if self.remat else Bottleneck
        for level, blocks in enumerate(self.layers, start=1):
            planes = 64 * 2 ** (level - 1)
            width = planes * self.width_per_group // 64 * self.groups
            dilates, before = level > len(self.layers) - self.dilated, dilation
            dilation *= 2 if dilates else 1
            for i in range(blocks):
                stride = 2 if i == 0 and level > 1 and not dilates else 1
                x = block(planes, width, self.groups, stride, dilation if i else before, conv, norm, name=f'layer{level}_{i}')(x, mask)
            out[f'C{level + 1}'] = x
        return {name: out[name] for name in ('C3', 'C4', 'C5')}
