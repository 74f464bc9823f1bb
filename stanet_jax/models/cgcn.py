"""C-GCN, the conservative graph convolutional network between the fragments of a video, and its fixation refine layer (TPAMI Sec. 4.3)."""
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, Float32

from stanet_jax.arrays import AnyArray
from stanet_jax.models.convolution import Conv

BLOCK = 128  # queries that attend at once, but on a GPU
LARGEST = 1 << 30  # bytes of attention that is computed at once on a GPU


def fixation_refine(h: Float[AnyArray, '*lead h w c'], threshold: float = 0.8, rate: float = 0.6) -> Float[AnyArray, '*lead h w c']:
    """The fixation refine layer (FRL; TPAMI Eq. 13, 14), which keeps strong responses and weakens the others.

    `h/2 (sigmoid(a) where(low, rate, 1)) + h/2` with `a` the mean over channels and `low = a < threshold max_hw(a)`.

    Args:
        h: nodes.
        threshold: `Td`, the share of the map's maximum below which a response is low.
        rate: `Tr`, the factor of low responses.
    """
    a = h.mean(axis=-1, keepdims=True)
    low = a < threshold * a.max(axis=(-3, -2), keepdims=True)
    return h / 2 * (jax.nn.sigmoid(a) * jnp.where(low, rate, 1)) + h / 2


def messages(query: Float[AnyArray, 'b k p c'], key: Float[AnyArray, 'b n p c'], h: Float[AnyArray, 'b n p c'],
             block: int | None = None) -> Float32[jax.Array, 'b k p c']:
    """The messages that the first k of n nodes receive from all other nodes (TPAMI Eq. 9 to 12).

    `msg_i[p] = sum_{j != i} sum_q softmax_q(query_i[p] . key_j[q]) h_j[q]` over positions p and q. Whatever the inputs' type, all is
    computed in float32: where attention is sharp, rounded scores would be felt.

    Args:
        query: of the first k nodes, which receive.
        key: of all nodes.
        h: of all nodes, what they send.
        block: largest number of positions that attend at once, see `in_blocks`; 0 for all, see `at_once`. By default all on a GPU,
            which is faster there (docs/performance.md), where their attention takes LARGEST bytes at most; BLOCK otherwise.
    """
    query, key, h = (jnp.asarray(x, jnp.float32) for x in (query, key, h))
    if block is None:
        (b, n, p, _), k = h.shape, query.shape[1]
        block = 0 if jax.default_backend() == 'gpu' and 4 * b * k * (n - 1) * p * p <= LARGEST else BLOCK
    return in_blocks(query, key, h, block) if block else at_once(query, key, h)


def at_once(query: Float[AnyArray, 'b k p c'], key: Float[AnyArray, 'b n p c'],
            h: Float[AnyArray, 'b n p c']) -> Float32[jax.Array, 'b k p c']:
    """`messages` with the attention of all positions of all pairs of nodes in memory."""
    (b, n, p, c), k = h.shape, query.shape[1]
    first, second = np.array([(i, j) for i in range(k) for j in range(n) if j != i]).T
    pairs = (x.reshape(-1, p, 1, c) for x in (query[:, first], key[:, second], h[:, second]))
    with jax.default_matmul_precision('highest'):
        heard = jax.nn.dot_product_attention(*pairs, scale=1.0)
    return heard.reshape(b, k, n - 1, p, c).sum(axis=2)


def in_blocks(query: Float[AnyArray, 'b k p c'], key: Float[AnyArray, 'b n p c'], h: Float[AnyArray, 'b n p c'],
              block: int) -> Float32[jax.Array, 'b k p c']:
    """`messages` with the attention of one block of queries in memory at a time, which the backward pass computes again.

    All blocks have one size, `block` at most. On a CPU the nodes come one at a time, so that a block's attention stays in the cache.
    """
    (b, n, p, c), k = h.shape, query.shape[1]
    product = functools.partial(jnp.einsum, precision='highest')
    others = jnp.array([[j for j in range(n) if j != i] for i in range(k)])  # [k, n - 1]
    # Channels first: all products, the backward pass's too, then have few rows and many columns, which a CPU does several times as fast.
    keys, values = (jnp.moveaxis(x[:, others], 4, 2).reshape(b * k, c, (n - 1) * p) for x in (key, h))
    block = -(-p // -(-p // block))
    queries = jnp.pad(query, ((0, 0), (0, 0), (0, -p % block), (0, 0))).reshape(b * k, -1, block, c)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def attend(queries, keys, values):  # [c, block], [c, (n - 1) p], [c, (n - 1) p] -> [c, block]
        scores = product('cp,cq->pq', queries, keys)
        attention = jax.nn.softmax(scores.reshape(block, n - 1, p), axis=-1).reshape(scores.shape)
        return product('cq,pq->cp', values, attention)

    def receive(node):
        queries, keys, values = node
        return jax.lax.map(lambda q: attend(q, keys, values), jnp.swapaxes(queries, 1, 2))  # [blocks, c, block]

    nodes = queries, keys, values
    heard = jax.lax.map(receive, nodes) if jax.default_backend() == 'cpu' else jax.vmap(receive)(nodes)
    return jnp.swapaxes(heard, 2, 3).reshape(b, k, -1, c)[:, :, :p]


class CGCN(nn.Module):
    """Reasoning steps over the nodes of a graph of fragments; every step updates all nodes from their old states.

    A step is `h_i <- FRL(h_i sigmoid(msg_i))`. The 1x1 convolutions `query` and `key` are shared by nodes and steps.

    Attributes:
        steps: `m`, the number of reasoning steps; 0 leaves the nodes as they are.
        threshold: of `fixation_refine`.
        rate: of `fixation_refine`.
        refine: whether the fixation refine layer is applied.
        dtype: of the nodes that are given back; the reasoning is in float32, which is little beside the encoders.
        block: of `messages`.
    """
    steps: int = 3
    threshold: float = 0.8
    rate: float = 0.6
    refine: bool = True
    dtype: DTypeLike = jnp.float32
    block: int | None = None

    @nn.compact
    def __call__(self, nodes: Float[AnyArray, 'b n h w c'], wanted: int | None = None) -> Float[AnyArray, 'b k h w c']:
        """The first `wanted` nodes after the reasoning, by default all; ValueError for fewer than two nodes."""
        if nodes.ndim != 5 or nodes.shape[1] < 2:
            raise ValueError(f'nodes {nodes.shape}: must be [b, n, h, w, c] of two nodes or more')
        conv = functools.partial(Conv, nodes.shape[-1], (1, 1), dtype=jnp.float32, precision='highest')
        query, key = (conv(name=name) for name in ('query', 'key'))
        refine = functools.partial(fixation_refine, threshold=self.threshold, rate=self.rate) if self.refine else lambda h: h
        h: AnyArray = jnp.asarray(nodes, jnp.float32)
        for step in range(self.steps):
            mine = h if step < self.steps - 1 else h[:, :wanted]
            queries, keys, values = (x.reshape(*x.shape[:2], -1, x.shape[-1]) for x in (query(mine), key(h), h))
            heard = messages(queries, keys, values, self.block)
            h = refine(mine * jax.nn.sigmoid(heard.reshape(mine.shape)))
        return h[:, :wanted].astype(self.dtype)
