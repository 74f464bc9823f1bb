"""The audio encoders of VGGSound (Chen et al., arXiv:2004.14368): ResNet-18 and NetVLAD or a mean, laid out as its release.

Parameters are named as in the release's checkpoint, with `layer1.0` as `layer1_0`. Paddings are explicit and symmetric,
and running variances biased where torch's are unbiased: see `resnext`.
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

HE_NORMAL = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection, to `planes` channels at h/stride, w/stride, sides rounded up."""

    planes: int
    stride: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c'], mask: Bool[AnyArray, 'b 1 1 1'] | None = None) -> Float[jax.Array, 'b h2 w2 c2']:
        """The features after the block."""
        y = self.conv(self.planes, (3, 3), self.stride, padding=1, name='conv1')(x)
        y = nn.relu(self.norm(name='bn1')(y, mask=mask))
        y = self.conv(self.planes, (3, 3), padding=1, name='conv2')(y)
        y = self.norm(name='bn2')(y, mask=mask)
        if x.shape != y.shape:
            x = self.conv(self.planes, (1, 1), self.stride, padding=0, name='downsample_0')(x)
            x = self.norm(name='downsample_1')(x, mask=mask)
        return nn.relu(x + y)


def l2_normalize(x: Float[AnyArray, '*lead d'], epsilon: float = 1e-12) -> Float[AnyArray, '*lead d']:
    """x / max(|x|, epsilon) along the last axis; zeros stay zeros, with a finite gradient."""
    return x / jnp.sqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), epsilon**2))


def netvlad(x: Float[AnyArray, 'b p c'], assignment: Float[AnyArray, 'b p k'],
            centroids: Float[AnyArray, 'k c']) -> Float[AnyArray, 'b k*c']:
    """NetVLAD (Arandjelovic et al., arXiv:1511.07247, Eq. 1 and 4).

    V_k = sum_p a_pk (x_p - m_k); each V_k is divided by its L2 norm, then all of V by its own.

    Args:
        x: descriptors of unit length, at p positions.
        assignment: a, the weight of each of k clusters at each position.
        centroids: m, of the clusters.
    Returns:
        V of unit length, cluster by cluster.
    """
    b = x.shape[0]
    residuals = jnp.einsum('bpk,bpc->bkc', assignment, x) - assignment.sum(axis=1)[:, :, None] * centroids
    return l2_normalize(l2_normalize(residuals).reshape(b, -1))


class NetVLAD(nn.Module):
    """NetVLAD as a pooling layer. It computes in float32, whatever the type of its input.

    The assignment is the softmax of a 1x1 convolution, whose weights start at 2 alpha m_k and biases at -alpha |m_k|, as
    in the release (the paper has the squared norm).
    """

    clusters: int = 16
    alpha: float = 100.0

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c']) -> Float[AnyArray, 'b k']:
        """Pools descriptors to a vector of unit length, k = clusters * c."""
        b, h, w, c = x.shape
        x = l2_normalize(x.astype(jnp.float32))
        centroids = self.param('centroids', nn.initializers.uniform(1.0), (self.clusters, c))
        conv = nn.Conv(
            self.clusters, (1, 1), name='conv',
            kernel_init=lambda key, shape, dtype: (2 * self.alpha * centroids.T).reshape(shape).astype(dtype),
            bias_init=lambda key, shape, dtype: (-self.alpha * jnp.linalg.norm(centroids, axis=1)).astype(dtype))
        assignment = jax.nn.softmax(conv(x), axis=-1)
        return netvlad(x.reshape(b, h * w, c), assignment.reshape(b, h * w, self.clusters), centroids)


class VGGSound(nn.Module):
    """ResNet-18 with a one-channel stem, NetVLAD or the mean over places, and a classifier.

    Takes standardised log-spectrograms [b, 257, t] or [b, 257, t, 1] (98 columns for 1 s, 1004 for 10 s) and returns
    `embedding`, [b, 8192] with `pool='netvlad'` and [b, 512] with `pool='average'`, and `logits` [b, classes], which `classes=0`
    leaves out; with `pool='none'` it returns the `map` before the pool, [b, h, w, 512], alone. By default the pool is the one that the
    variables are for, and NetVLAD at initialisation. Another shape or another pool raises ValueError.
    """

    classes: int = 309
    dtype: DTypeLike = jnp.float32
    batch_norm: str = 'running'
    pool: str = ''

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b f t *channel'], train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, Float[AnyArray, 'b ...']]:
        """The features of log-spectrograms; `mask` is False at examples that only pad the batch."""
        if self.pool not in ('', 'netvlad', 'average', 'none'):
            raise ValueError(f"pool is 'netvlad', 'average' or 'none', got {self.pool!r}.")
        vlad = self.pool == 'netvlad' or not self.pool and (self.is_initializing() or self.has_variable('params', 'avgpool'))
        b, f, t = x.shape[:3]
        if f != 257 or x.shape[3:] not in ((), (1,)):
            raise ValueError(f'VGGSound needs spectrograms [b, 257, t] or [b, 257, t, 1], got {x.shape}.')
        conv = partial(nn.Conv, use_bias=False, kernel_init=HE_NORMAL, dtype=self.dtype)
        norm: Callable[..., Any] = partial(nn.BatchNorm, use_running_average=not (train and self.batch_norm == 'batch'),
                                           momentum=0.9, epsilon=1e-5, dtype=self.dtype)
        if mask is not None:
            mask = mask[:, None, None, None]
        x = conv(64, (7, 7), 2, padding=3, name='conv1')(x.reshape(b, f, t, 1))
        x = nn.relu(norm(name='bn1')(x, mask=mask))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))  # pads with -inf, as torch does
        for level, planes in enumerate((64, 128, 256, 512), start=1):
            for i in range(2):
                stride = 2 if i == 0 and level > 1 else 1
                x = BasicBlock(planes, stride, conv, norm, name=f'layer{level}_{i}')(x, mask)
        if self.pool == 'none':
            return {'map': x}
        embedding = NetVLAD(name='avgpool')(x).astype(self.dtype) if vlad else x.mean(axis=(1, 2))
        if not self.classes:
            return {'embedding': embedding}
        logits = nn.Dense(self.classes, dtype=self.dtype, name='fc_' if vlad else 'fc')(embedding)
        return {'embedding': embedding, 'logits': logits}
