"""VGG-16 at stride 8 (Simonyan and Zisserman, arXiv:1409.1556; torchvision's configuration D)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

# Convolutions of a level and their channels; torchvision's `features.N` are these in order, with N counting the relus
# and pools between them: 0 2 | 5 7 | 10 12 14 | 17 19 21 | 24 26 28.
LEVELS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
HE_NORMAL = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class VGG16(nn.Module):
    """The convolutions of VGG-16, with pool4 at stride 1, conv5 dilated by 2 and no pool5.

    Takes normalised images [b, h, w, 3] and returns the features after the last relu of a level, before its pool:
    `C3` [b, h/4, w/4, 256], `C4` and `C5` [b, h/8, w/8, 512], sides rounded down.

    There is no batch normalisation in it: `batch_norm`, `train` and `mask` are accepted, as every encoder does, and
    change nothing. A side below 8 pixels leaves no features and raises ValueError.
    """

    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'

    @nn.compact
    def __call__(self, x, train=False, mask=None):
        del train, mask
        _, h, w, _ = x.shape
        if min(h, w) < 8:
            raise ValueError(f'VGG16 needs images of at least 8x8 pixels, got {h}x{w}.')
        out = {}
        for level, (convs, channels) in enumerate(LEVELS, start=1):
            dilation = 2 if level == 5 else 1
            for i in range(1, convs + 1):
                x = nn.Conv(channels, (3, 3), padding=dilation, kernel_dilation=dilation, dtype=self.dtype,
                            kernel_init=HE_NORMAL, name=f'conv{level}_{i}')(x)
                x = nn.relu(x)
            out[f'C{level}'] = x
            if level <= 3:
                x = nn.max_pool(x, (2, 2), (2, 2))
            elif level == 4:
                # At stride 1 the map keeps its size; the dilation of conv5 gives back the context that the stride gave.
                x = nn.max_pool(x, (3, 3), (1, 1), padding=((1, 1), (1, 1)))
        return {name: out[name] for name in ('C3', 'C4', 'C5')}
