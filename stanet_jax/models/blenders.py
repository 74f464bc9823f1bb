"""Nets that blend the nodes of a graph of fragments: C-GCN and, for comparison, GRU, LSTM, Transformers, a convolution (TPAMI Table 5)."""
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


class ConvLSTM(nn.Module):
    """A long short-term memory whose gates are 3x3 convolutions of what is given and of its state, over the nodes in turn and back again.

    The text says "RNNs" alone; as many layers as this one has are what it counts (`tables.operations`). A node becomes the sum of the
    states of both ways at it. With `i, f, o, g` the gates: `c <- sigmoid(f) c + sigmoid(i) tanh(g)`, `h = sigmoid(o) tanh(c)`.
    """
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, nodes: Float[AnyArray, 'b n h w c'], wanted: int | None = None) -> Float[jax.Array, 'b k h w c']:
        """The first `wanted` nodes after the blending, by default all."""
        return sum(self._way(nodes, way) for way in ('forth', 'back'))[:, :wanted]  # type: ignore[index]  # two arrays have a sum

    def _way(self, nodes, way):
        order = range(nodes.shape[1]) if way == 'forth' else range(nodes.shape[1])[::-1]
        gates = Conv(4 * nodes.shape[-1], (3, 3), dtype=self.dtype, name=way)
        state = cell = jnp.zeros_like(nodes[:, 0], self.dtype)
        states = {}
        for k in order:
            into, keep, out, new = jnp.split(gates(jnp.concatenate([nodes[:, k], state], axis=-1)), 4, axis=-1)
            cell = nn.sigmoid(keep) * cell + nn.sigmoid(into) * jnp.tanh(new)
            states[k] = state = nn.sigmoid(out) * jnp.tanh(cell)
        return jnp.stack([states[k] for k in range(nodes.shape[1])], axis=1)


class Transformer(nn.Module):
    """Encoder blocks of attention between the places of the nodes (Table 5, best with three blocks of one head, B).

    The text has four of them, A to D, in a figure that it does not describe: C and D are A and B with several heads. Here places see all
    nodes in B and D, and the other nodes alone, as in C-GCN, in A and C.

    Attributes:
        blocks: number of encoder blocks.
        heads: of attention.
        sees: 'all' nodes, or the 'others'.
        width: of the inner layer of a block; 0 for four times the channels.
        dtype: of the computation.
    """
    blocks: int = 3
    heads: int = 1
    sees: str = 'all'
    width: int = 0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, nodes: Float[AnyArray, 'b n h w c'], wanted: int | None = None) -> Float[AnyArray, 'b k h w c']:
        """The first `wanted` nodes after the blending, by default all."""
        if self.sees not in ('all', 'others'):
            raise ValueError(f'blender transformer: sees={self.sees!r}: must be all or others')
        b, n, h, w, c = nodes.shape
        node = jnp.repeat(jnp.arange(n), h * w)
        mask = None if self.sees == 'all' else (node[:, None] != node)[None, None]
        place = self.param('place', nn.initializers.normal(0.02), (h, w, c))
        x = (nodes + place.astype(self.dtype)).reshape(b, n * h * w, c)
        for k in range(self.blocks):
            y = nn.LayerNorm(dtype=self.dtype, name=f'norm{k}a')(x)
            x += nn.MultiHeadDotProductAttention(self.heads, dtype=self.dtype, name=f'attention{k}')(y, mask=mask)
            y = nn.Dense(self.width or 4 * c, dtype=self.dtype, name=f'dense{k}a')(nn.LayerNorm(dtype=self.dtype, name=f'norm{k}b')(x))
            x += nn.Dense(c, dtype=self.dtype, name=f'dense{k}b')(jax.nn.gelu(y))
        return x.reshape(nodes.shape)[:, :wanted]


BLENDERS = {'cgcn': CGCN, 'concatenate': Concatenate, 'gru': GRU, 'rnn': ConvLSTM, 'transformer': Transformer}


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
