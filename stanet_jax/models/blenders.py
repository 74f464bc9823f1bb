"""Nets that blend the nodes of a graph of fragments: C-GCN and, for comparison, a GRU, a Transformer and a convolution (TPAMI Table 5)."""
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jax.typing import DTypeLike
from jaxtyping import Float

from stanet_jax.arrays import AnyArray
from stanet_jax.models.cgcn import CGCN
from stanet_jax.models.convolution import Conv

DEFAULT: FrozenDict[str, Any] = FrozenDict({'name': 'cgcn', 'steps': 3, 'threshold': 0.8, 'rate': 0.6, 'refine': True})


class Concatenate(nn.Module):
    """No reasoning: a 1x1 convolution of each node concatenated with the others, as in the row "w/o Rea." of Table 5."""
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, nodes: Float[AnyArray, 'b n h w c'], wanted: int | None = None) -> Float[jax.Array, 'b k h w c']:
        """The first `wanted` nodes after the blending, by default all."""
        beside = jnp.concatenate([jnp.roll(nodes, -k, axis=1) for k in range(nodes.shape[1])], axis=-1)
        return Conv(nodes.shape[-1], (1, 1), dtype=self.dtype, name='join')(beside[:, :wanted])


class GRU(nn.Module):
    """A gated recurrent unit at each place of the maps, which for each node runs over the other nodes and ends at the node itself."""
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, nodes: Float[AnyArray, 'b n h w c'], wanted: int | None = None) -> Float[jax.Array, 'b k h w c']:
        """The first `wanted` nodes after the blending, by default all."""
        n, cell = nodes.shape[1], nn.GRUCell(nodes.shape[-1], dtype=self.dtype, name='cell')
        state = jnp.zeros_like(nodes)
        for k in range(1, n + 1):
            state, _ = cell(state, jnp.roll(nodes, -k, axis=1))  # node i takes i + 1, i + 2, ... and last i itself
        return state[:, :wanted]


class Transformer(nn.Module):
    """Encoder blocks of self-attention over all places of all nodes (Table 5, best with three blocks of one head).

    Attributes:
        blocks: number of encoder blocks.
        heads: of attention.
        hidden: width of the two-layer network in a block, as a multiple of the channels.
        dtype: of the computation.
    """
    blocks: int = 3
    heads: int = 1
    hidden: int = 4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, nodes: Float[AnyArray, 'b n h w c'], wanted: int | None = None) -> Float[AnyArray, 'b k h w c']:
        """The first `wanted` nodes after the blending, by default all."""
        b, n, h, w, c = nodes.shape
        place = self.param('place', nn.initializers.normal(0.02), (h, w, c))
        x = (nodes + place.astype(self.dtype)).reshape(b, n * h * w, c)
        for k in range(self.blocks):
            y = nn.LayerNorm(dtype=self.dtype, name=f'norm{k}a')(x)
            x += nn.MultiHeadDotProductAttention(self.heads, dtype=self.dtype, name=f'attention{k}')(y)
            y = nn.Dense(self.hidden * c, dtype=self.dtype, name=f'dense{k}a')(nn.LayerNorm(dtype=self.dtype, name=f'norm{k}b')(x))
            x += nn.Dense(c, dtype=self.dtype, name=f'dense{k}b')(jax.nn.gelu(y))
        return x.reshape(nodes.shape)[:, :wanted]


BLENDERS = {'cgcn': CGCN, 'concatenate': Concatenate, 'gru': GRU, 'transformer': Transformer}


def create(name: str, **fields: Any) -> nn.Module:
    """Makes a blender.

    Args:
        name: a key of `BLENDERS`.
        **fields: fields of its module.
    Raises:
        ValueError: an unknown name, or a field that the module does not have.
    """
    if name not in BLENDERS:
        raise ValueError(f'Unknown blender {name!r}. Choose one of: {", ".join(BLENDERS)}.')
    try:
        return BLENDERS[name](**fields, name=name)
    except TypeError as error:
        raise ValueError(f'blender {name}: {error}') from error
