"""VGG-16 at stride 8 (Simonyan and Zisserman, arXiv:1409.1556; torchvision's configuration D)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from stanet_jax.arrays import AnyArray

# Convolutions of a level and their channels; torchvision's `features.N` are these in order, with N counting the relus
# and pools between them: 0 2 | 5 7 | 10 12 14 | 17 19 21 | 24 26 28.
LEVELS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
HE_NORMAL = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class VGG16(nn.Module):
    """The convolutions of VGG-16, with pool4 at stride 1, conv5 dilated by 2 and no pool5.

    Takes normalised images and returns the features after the last relu of a level, before its pool:
    `C3` [b, h/4, w/4, 256], `C4` and `C5` [b, h/8, w/8, 512], sides rounded down.

    It has no batch normalisation: `batch_norm`, `train` and `mask` are accepted, as by every encoder, and change
    nothing. A side below 8 pixels leaves no features and raises ValueError. With `remat` the backward pass computes the inside of
    every level again, see `backbones.create`.
    """

    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'
    remat: bool = False

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w 3'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, Float[AnyArray, 'b _h _w _c']]:
        """The features of normalised images; `mask` is False at images that only pad the batch."""
        del train, mask
        _, h, w, _ = x.shape
        if min(h, w) < 8:
            raise ValueError(f'VGG16 needs images of at least 8x8 pixels, got {h}x{w}.')
        out, run = {}, nn.remat(_level, static_argnums=2) if self.remat else _level
        for level in range(1, len(LEVELS) + 1):
            out[f'C{level}'], x = run(self, x, level)
        return {name: out[name] for name in ('C3', 'C4', 'C5')}


def _level(net, x, level):
    """The features of a level of a `VGG16`, and what the next level takes of them."""
    convs, channels = LEVELS[level - 1]
    dilation = 2 if level == 5 else 1
    for i in range(1, convs + 1):
        x = nn.relu(nn.Conv(channels, (3, 3), padding=dilation, kernel_dilation=dilation, dtype=net.dtype, kernel_init=HE_NORMAL,
                            name=f'conv{level}_{i}')(x))
    if level <= 3:
        return x, nn.max_pool(x, (2, 2), (2, 2))
    # At stride 1 the map keeps its size; the dilation of conv5 makes up for the context that the stride gave. Conv5 has no pool.
    return x, nn.max_pool(x, (3, 3), (1, 1), padding=((1, 1), (1, 1))) if level == 4 else x
