"""YAMNet (Plakal and Ellis, 2019): MobileNet v1 on log-mel patches, trained on the 521 sound classes of AudioSet."""
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from stanet_jax.arrays import AnyArray
from stanet_jax.models.convolution import Conv

# Stride and channels of the depthwise-separable blocks that follow the first convolution.
BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 5, (2, 1024), (1, 1024))


class YAMNet(nn.Module):
    """YAMNet, with TensorFlow's "same" padding, batch normalisation without scale, and ReLU.

    Attributes:
        classes: of the head; 0 leaves it out.
        dtype: of the computation; parameters are float32.
        batch_norm: see `backbones.create`.
    """
    classes: int = 521
    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b mel time'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, jax.Array]:
        """Encodes patches of 64 mel bands and 96 frames (0.96 s), as `sound.log_mel` makes them.

        Returns:
            `embedding` [b, 1024] and `logits` [b, classes], whose sigmoids are the classes' probabilities.
        """
        mask = None if mask is None else mask[:, None, None, None]
        norm: Callable[..., Any] = functools.partial(
            nn.BatchNorm, use_running_average=not (train and self.batch_norm == 'batch'), momentum=0.99, epsilon=1e-4, use_scale=False,
            dtype=self.dtype)
        conv = functools.partial(Conv, padding='SAME', use_bias=False, dtype=self.dtype)
        x = x.swapaxes(1, 2)[..., None]  # time, then frequency, as it was trained
        x = nn.relu(norm(name='bn1')(conv(32, (3, 3), 2, name='conv1')(x), mask=mask))
        for k, (stride, channels) in enumerate(BLOCKS, start=2):
            x = conv(x.shape[-1], (3, 3), stride, feature_group_count=x.shape[-1], name=f'depthwise{k}')(x)
            x = nn.relu(norm(name=f'depthwise{k}_bn')(x, mask=mask))
            x = nn.relu(norm(name=f'pointwise{k}_bn')(conv(channels, (1, 1), name=f'pointwise{k}')(x), mask=mask))
        embedding = x.mean(axis=(1, 2))
        if not self.classes:
            return {'embedding': embedding}
        return {'embedding': embedding, 'logits': nn.Dense(self.classes, dtype=self.dtype, name='logits')(embedding)}
