"""EfficientNet-Lite 0, 1 and 2 (Tan and Le, ICML 2019, in the variant for phones): MBConv blocks without squeeze-and-excitation."""
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from stanet_jax.arrays import AnyArray
from stanet_jax.models.convolution import Conv

# Of EfficientNet-B0, stage by stage: blocks, kernel, stride, expansion, channels.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
STEM, HEAD = 32, 1280  # channels, which the larger variants do not scale


def scaled_channels(channels: int, width: float) -> int:
    """Gives `channels` times `width`, rounded to a multiple of 8, and down by no more than a tenth."""
    result = max(8, int(channels * width + 4) // 8 * 8)
    return result + 8 if result < 0.9 * channels * width else result


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite, whose padding is TensorFlow's "same": what is odd of it lies at the bottom and on the right.

    Attributes:
        width, depth: what channels and blocks of B0 are multiplied by; neither the stem, the head nor the blocks of the first and the
            last stage are.
        classes: of the head on ImageNet; 0 leaves it out.
        dilated: whether the last stride is left out and the kernels after it are dilated in its place, so that C5 has stride 16.
        inner: whether also `C2`, the last features of stride 4, and `B5`, what the head's convolution takes, are given.
        dtype: of the computation; parameters are float32.
        batch_norm: see `backbones.create`.
    """
    width: float = 1.0
    depth: float = 1.0
    classes: int = 1000
    dilated: bool = False
    inner: bool = False
    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w 3'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, jax.Array]:
        """Encodes images `(x - 127) / 128` of RGB in 0 ... 255, see `backbones.normalise`.

        Returns:
            `C3`, `C4`, the last features of stride 8 and 16, `C5`, the head's of stride 32, or 16 where `dilated`, and `logits`
            [b, classes] of ImageNet's classes.
        """
        mask = None if mask is None else mask[:, None, None, None]
        norm: Callable[..., Any] = functools.partial(
            nn.BatchNorm, use_running_average=not (train and self.batch_norm == 'batch'), momentum=0.99, epsilon=1e-3, dtype=self.dtype)

        def normed(x: AnyArray, channels: int, side: int, stride: int, name: str, bn: str, dilation: int = 1,
                   groups: int = 1) -> jax.Array:
            x = Conv(channels, (side, side), stride, padding='SAME', use_bias=False, kernel_dilation=dilation, feature_group_count=groups,
                     dtype=self.dtype, name=name)(x)
            return norm(name=bn)(x, mask=mask)

        x = nn.relu6(normed(x, STEM, 3, 2, 'conv_stem', 'bn0'))
        found: dict[str, Any] = {}
        number, stride, dilation = 0, 2, 1
        for stage, (blocks, side, step, expansion, channels) in enumerate(STAGES):
            repeats = blocks if stage in (0, len(STAGES) - 1) else math.ceil(blocks * self.depth)
            for k in range(repeats):
                ours = step if k == 0 else 1
                cut = self.dilated and stride * ours > 16
                x = MBConv(scaled_channels(channels, self.width), side, 1 if cut else ours, expansion, dilation, self.dtype,
                           norm, name=f'blocks_{number}')(x, mask)
                stride, dilation, number = stride if cut else stride * ours, 2 if cut else dilation, number + 1
            name = {1: 'C2', 2: 'C3', 4: 'C4', 6: 'B5'}.get(stage, '')
            if name in ('C3', 'C4') or name and self.inner:
                found[name] = x
        x = nn.relu6(normed(x, HEAD, 1, 1, 'conv_head', 'bn1'))
        found['C5'] = x
        if self.classes:
            found['logits'] = nn.Dense(self.classes, dtype=self.dtype, name='fc')(x.mean(axis=(1, 2)))
        return found


class MBConv(nn.Module):
    """An inverted residual block: expansion, a depthwise convolution, projection; the input is added where the shape stays.

    Attributes:
        channels: of the output; side, stride, dilation: of the depthwise kernel.
        expansion: what channels are multiplied by in between; 1 leaves the expansion out.
        dtype: of the computation; norm: makes a batch normalisation.
    """
    channels: int
    side: int
    stride: int
    expansion: int
    dilation: int
    dtype: DTypeLike
    norm: Callable

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c'], mask: Bool[AnyArray, 'b 1 1 1'] | None) -> Float[AnyArray, 'b h2 w2 d']:
        """Gives the block's output; `mask` is False at examples that only fill the batch."""
        conv, before, inner = functools.partial(Conv, padding='SAME', use_bias=False, dtype=self.dtype), x, x.shape[-1] * self.expansion
        if self.expansion > 1:
            x = nn.relu6(self.norm(name='bn0')(conv(inner, (1, 1), name='expand_conv')(x), mask=mask))
        x = conv(inner, (self.side, self.side), self.stride, kernel_dilation=self.dilation, feature_group_count=inner,
                 name='depthwise_conv')(x)
        x = nn.relu6(self.norm(name='bn1')(x, mask=mask))
        x = self.norm(name='bn2')(conv(self.channels, (1, 1), name='project_conv')(x), mask=mask)
        return x + before if x.shape == before.shape else x
