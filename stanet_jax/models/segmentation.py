"""The nets of EPS (Lee et al., CVPR 2021): the classifier with a map for each class and one for the background, and DeepLab."""
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Float32

from stanet_jax.arrays import AnyArray
from stanet_jax.models import backbones
from stanet_jax.models.convolution import Conv


class EPS(nn.Module):
    """EPS's classifier: an encoder and a 1x1 convolution without bias to C + 1 maps, the background's last (EPS Fig. 2).

    Attributes:
        classes: C.
        encoder: name of the image encoder, see `backbones.create`.
        batch_norm: 'running' or 'batch' statistics in the encoder during training.
        dtype: of the computation; parameters are float32.
    """
    classes: int
    encoder: str
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, frames: Float[AnyArray, 'b h w 3'], *, train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> Float32[jax.Array, 'b h2 w2 c']:
        """The c = C + 1 maps of images, before the softmax.

        Args:
            frames: normalised images.
            train: whether batch statistics are used and updated, where `batch_norm` says so, and dropout is drawn from the random
                stream `dropout`, where the encoder has any.
            mask: False at images that only pad the batch.
        """
        seen = backbones.create(self.encoder, batch_norm=self.batch_norm, dtype=self.dtype, name='encoder')(frames, train=train, mask=mask)
        return Conv(self.classes + 1, (1, 1), use_bias=False, dtype=self.dtype, name='classifier')(seen['C5']).astype(jnp.float32)


class DeepLab(nn.Module):
    """DeepLab V1 LargeFOV or V2 ASPP (Chen et al., arXiv:1412.7062, arXiv:1606.00915) on one of our encoders.

    The head has a branch for each rate of dilation: a 3x3 convolution to `width` channels and a 1x1 convolution, both with a relu and
    dropout of one half, then a 1x1 convolution to the labels. The branches are summed. With width 0 a branch is a single dilated
    convolution to the labels, as in V2 on ResNet-101.

    Attributes:
        classes: C, without background.
        rates: of dilation in the head: (12,) in V1 LargeFOV, (6, 12, 18, 24) in V2 ASPP.
        width: of the head, in channels; 1024 in the papers.

    The other fields are those of `EPS`.
    """
    classes: int
    encoder: str
    rates: tuple[int, ...] = (6, 12, 18, 24)
    width: int = 1024
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, frames: Float[AnyArray, 'b h w 3'], *, train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> Float32[jax.Array, 'b h2 w2 c']:
        """The logits of the c = C + 1 labels, of which 0 is the background; the arguments are those of `EPS`."""
        seen = backbones.create(self.encoder, batch_norm=self.batch_norm, dtype=self.dtype, name='encoder')(frames, train=train, mask=mask)
        logits = sum(self.branch(seen['C5'], rate, train) for rate in self.rates)
        return logits.astype(jnp.float32)  # type: ignore[union-attr]  # the sum of no rates would be 0

    def branch(self, x: Float[AnyArray, 'b h w k'], rate: int, train: bool) -> Float[jax.Array, 'b h w c']:
        """The branch of one rate of dilation: logits of the labels from the encoder's features."""
        def conv(channels, side, name, dilation=1):
            return nn.Conv(channels, (side, side), padding=dilation * (side // 2), kernel_dilation=dilation, dtype=self.dtype,
                           name=f'{name}_{rate}')

        if not self.width:
            return conv(self.classes + 1, 3, 'fc8', rate)(x)
        for side, name, dilation in ((3, 'fc6', rate), (1, 'fc7', 1)):
            x = nn.relu(conv(self.width, side, name, dilation)(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
        return conv(self.classes + 1, 1, 'fc8')(x)


def resized(maps: Float[AnyArray, 'b h w c'], shape: Sequence[int]) -> Float[jax.Array, 'b h2 w2 c']:
    """Maps or images resized bilinearly to another `shape` (h2, w2)."""
    return jax.image.resize(maps, (len(maps), *shape, maps.shape[-1]), 'bilinear')
