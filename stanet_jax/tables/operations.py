"""How many parameters and operations the blenders of TPAMI Table 5 have, by XLA's count and by the paper's."""
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from stanet_jax.models import blenders, cgcn
from stanet_jax.models.release.parts import Graph

# Of an example at the paper's size: a target and two other nodes of 32 x 32 places, 28 channels.
NODES, SIDE, CHANNELS = 3, 32, 28
PAPER = {'C-GCN': 189_923_328, 'RNN': 347_504_640, 'Transformer B': 1_071_673_344}
# Whose operations are counted, and what the paper gives.
BLENDERS: dict[str, tuple[Mapping[str, Any], int | None]] = {
    'C-GCN, m = 3': (dict(blenders.DEFAULT), None), 'C-GCN, one step': ({'name': 'cgcn', 'steps': 1}, None),
    'RNN': ({'name': 'rnn'}, PAPER['RNN']), 'GRU': ({'name': 'gru'}, None),
    'Transformer A, 3 blocks of 1 head': ({'name': 'transformer', 'sees': 'others'}, None),
    'Transformer B, 3 blocks of 1 head': ({'name': 'transformer'}, None),
    'the same, inner layers of 2,048': ({'name': 'transformer', 'width': 2048}, PAPER['Transformer B']),
    'no reasoning': ({'name': 'concatenate'}, None)}
EXPLAINED = (
    'The paper\'s numbers are products of layers with weights, a convolution\'s bias counting as one, and nothing else. That of C-GCN '
    'is to the last digit the one of its release, in three rounds: 9 x 1,024 x 28 x (505 + 171 + 2 x 30), a 3x3 convolution of 56 '
    'channels, three gates of 56, and two messages, each with a query and a key of 14 and a gate; made once a node, as here, its '
    'queries and keys are half as many. The other two are read from their numbers alone. That of the RNN is 24 3x3 convolutions of 56 '
    'channels to 28 with bias, as many as a convolutional LSTM has that goes over three nodes both ways. That of the Transformer is '
    '9,216 x 28 x (2 x 2,048 + 57), as of three blocks with inner layers of 2,048 and of 57 products more to a channel, a 1x1 '
    'convolution of 56 channels perhaps; attention\'s own are not in it.')


def operations(blender: Mapping[str, Any], nodes: int = NODES, side: int = SIDE, channels: int = CHANNELS) -> tuple[int, float]:
    """The number of parameters of a blender, and of floating-point operations of a forward pass for one example, as XLA counts them.

    XLA counts the body of a loop once; for C-GCN's loops, over nodes and blocks of queries, the count is corrected here.
    """
    net, shape = blenders.create(**blender), jax.ShapeDtypeStruct((1, nodes, side, side, channels), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), shape)
    count = flops(net.apply, variables, shape)
    if isinstance(net, cgcn.CGCN):
        flat = jax.ShapeDtypeStruct((1, nodes, side**2, channels), jnp.float32)
        one = jax.ShapeDtypeStruct((1, 1, *flat.shape[2:]), jnp.float32)  # a node's queries in one block
        whole = nodes * flops(functools.partial(cgcn.messages, block=side**2), one, flat, flat)
        count += net.steps * (whole - flops(cgcn.messages, flat, flat, flat))
    return sum(x.size for x in jax.tree.leaves(variables)), count


def flops(function: Any, *shapes: Any) -> float:
    """The floating-point operations of a function as compiled for a CPU; on other devices, products by libraries would not be counted."""
    with jax.default_device(jax.local_devices(backend='cpu')[0]):
        analysis: Any = jax.jit(function).lower(*shapes).compile().cost_analysis()
        return analysis['flops']


def multiply_adds(net: nn.Module, *shapes: Any) -> int:
    """The products of a net's convolutions and dense layers with their weights in a forward pass, a bias counting as one more.

    It is how the paper counts, as tools do that go over a net's layers: what is between layers, as attention's products, is left out.
    Its dense layers count without their bias.

    Args:
        net: the module.
        *shapes: of its arguments, as `jax.ShapeDtypeStruct`.
    """
    count = 0

    def tally(call, args, kwargs, context):
        nonlocal count
        out = call(*args, **kwargs)
        if isinstance(context.module, nn.Conv | nn.Dense | nn.DenseGeneral) and context.method_name == '__call__':
            weights: Any = context.module.variables['params']
            places = out.size // (weights['kernel'].size // _inputs(weights['kernel'], context.module))
            biased = isinstance(context.module, nn.Conv) and 'bias' in weights
            count += places * weights['kernel'].size + out.size * biased
        return out

    with nn.intercept_methods(tally):
        jax.eval_shape(net.init, jax.random.key(0), *shapes)
    return count


def _inputs(kernel, layer):
    """How many numbers each output of a layer is a sum over."""
    if isinstance(layer, nn.DenseGeneral) and not isinstance(layer, nn.Dense):
        axes = (layer.axis,) if isinstance(layer.axis, int) else layer.axis
        return functools.reduce(lambda n, k: n * k, kernel.shape[:len(axes)], 1)
    return kernel.size // kernel.shape[-1]


class _Released(nn.Module):
    """The release's C-GCN, with the gate that it shares."""

    @nn.compact
    def __call__(self, nodes: Sequence[Any]) -> list[Any]:
        """The nodes after the reasoning."""
        return Graph()(nodes, nn.Conv(1, (1, 1), use_bias=False, name='extra_gate'))


def released_graph() -> int:
    """`multiply_adds` of the release's C-GCN at the paper's size."""
    node = jax.ShapeDtypeStruct((1, SIDE, SIDE, CHANNELS), jnp.float32)
    return multiply_adds(_Released(), [node] * NODES)


def operation_table() -> list[str]:
    """The lines of a Markdown table of every blender's parameters and operations, and how the paper counts."""
    lines = ['Operations forward for one target at the paper\'s size, three nodes of 32 x 32 places and 28 channels: as XLA counts them, '
             'where a product and a sum are two and exponentials are left out; and products of layers alone.', '',
             '| blender | parameters | operations | of C-GCN, m = 3 | products of layers | paper |', '|---|---|---|---|---|---|']
    shape = jax.ShapeDtypeStruct((1, NODES, SIDE, SIDE, CHANNELS), jnp.float32)
    counts = {name: operations(blender) for name, (blender, _) in BLENDERS.items()}
    for name, (parameters, count) in counts.items():
        blender, paper = BLENDERS[name]
        lines.append(f'| {name} | {parameters:,} | {count / 1e6:,.1f} M | {count / counts["C-GCN, m = 3"][1]:.2f} '
                     f'| {multiply_adds(blenders.create(**blender), shape):,} | {f"{paper:,}" if paper else ""} |')
    lines.append(f'| C-GCN as released | | | | {released_graph():,} | {PAPER["C-GCN"]:,} |')
    return [*lines, '', EXPLAINED]
