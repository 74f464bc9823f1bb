"""What the nets of the authors' releases share: gates, messages and updates, as their checkpoints were trained with.

They are not the papers' (see `models.fusion` and `models.cgcn` for those). Layers are named as in the checkpoints, with `extra_convs.0` as
`extra_convs_0`; the parts have names of their own, which the checkpoints do not have (`PARTS`).
"""
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models.cgcn import fixation_refine

Layer = Callable[[Any], jax.Array]
PARTS = ('self_gate', 'time_gate', 'audio_gate', 'graph', 'to_classes', 'deconvolved')  # names in our variables that no key has
CLASSES = 28  # of AVE
STEPS = 3  # of reasoning


def conv(channels: int, side: int = 1, **fields: Any) -> nn.Conv:
    """A convolution that keeps the map's size."""
    return nn.Conv(channels, (side, side), padding=side // 2, **fields)


def enlarge(x: Float[AnyArray, 'b h w c'], shape: Sequence[int]) -> Float[jax.Array, 'b h2 w2 c']:
    """Maps resized bilinearly to `shape` (h2, w2): half-pixel centres, clamped edges, no antialiasing."""
    return jax.image.resize(x, (len(x), *shape, x.shape[-1]), 'bilinear', antialias=False)


def cat(*x: AnyArray) -> jax.Array:
    """Channels side by side."""
    return jnp.concatenate(x, axis=-1)


def mean(x: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b c']:
    """The mean over places."""
    return x.mean(axis=(1, 2))


def places(x: Float[AnyArray, 'b h w c']) -> Float[AnyArray, 'b p c']:
    """The places of maps, row by row."""
    return x.reshape(len(x), -1, x.shape[-1])


def scramble(u: Float[AnyArray, 'b h w c'], v: Float[AnyArray, 'b h w c'], w: Float[AnyArray, 'b h w c']) -> Float[jax.Array, 'b 3 h w c']:
    """Three maps as the release lays them out in time: it reads the list of their 3 c channels as c channels of 3 times each.

    Where a transposition was meant stands a `view`: channel k at time j is entry 3 k + j of the list. The nets were trained with it.
    """
    listed = jnp.concatenate([u, v, w], axis=-1)
    return jnp.moveaxis(listed.reshape(*u.shape, 3), -1, 1)


class SelfGate(nn.Module):
    """`G(x) = sigmoid(gate(s)) x`, where s attends over x's places; the softmax is over those of the query, not of the key."""

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c'], gate: Layer) -> Float[AnyArray, 'b h w c']:
        """x, gated; `gate` is a layer from c channels to one."""
        c = x.shape[-1]
        f, g, k = (places(conv(n, name=f'extra_proj{name}')(x)) for name, n in (('f', c // 2), ('g', c // 2), ('h', c)))
        attention = jax.nn.softmax(jnp.einsum('bpc,bqc->bpq', f, g), axis=1)
        s = jnp.einsum('bpc,bpq->bqc', k, attention).reshape(x.shape)
        return jax.nn.sigmoid(gate(s)) * x


class ConvGRU(nn.Module):
    """A gated recurrent unit of 1x1 convolutions."""

    @nn.compact
    def __call__(self, given: Float[AnyArray, 'b h w c'], state: Float[AnyArray, 'b h w c']) -> Float[AnyArray, 'b h w c']:
        """The next state."""
        both = jnp.concatenate([given, state], axis=-1)
        update, reset = (jax.nn.sigmoid(conv(state.shape[-1], name=f'{name}_gate')(both)) for name in ('update', 'reset'))
        new = jnp.tanh(conv(state.shape[-1], name='out_gate')(jnp.concatenate([given, state * reset], axis=-1)))
        return state * (1 - update) + new * update


class TimeGate(nn.Module):
    """Scrambled maps of three frames to a gate in [0, 1]: 3D convolutions (3, 1, 1) and (1, 3, 3).

    Attributes:
        channels: of each convolution; the first takes the time away.
        numbers: of the convolutions in the checkpoint; None where it names the only one without a number.
        relu: whether all but the last are followed by a relu.
        stem: of their names in the checkpoint.
    """
    channels: tuple[int, ...]
    numbers: tuple[int, ...] | None = (0, 1, 2)
    relu: bool = False
    stem: str = 'extra_refineST'

    @nn.compact
    def __call__(self, triple: Float[AnyArray, 'b 3 h w c']) -> Float[AnyArray, 'b h w c2']:
        """The gate of three frames, see `scramble`."""
        x = triple
        names = [f'{self.stem}_{number}' for number in self.numbers] if self.numbers else [self.stem]
        for k, (channels, name) in enumerate(zip(self.channels, names, strict=True)):
            kernel, padding = ((1, 3, 3), ((0, 0), (1, 1), (1, 1))) if k else ((3, 1, 1), 'VALID')
            x = nn.Conv(channels, kernel, padding=padding, name=name)(nn.relu(x) if k and self.relu else x)
        return jax.nn.sigmoid(x[:, 0])


class Bilinear(nn.Module):
    """The parameters of torch's bilinear layer, `weight` [k, i, j] and `bias` [k]."""
    shape: tuple[int, int, int]

    @nn.compact
    def __call__(self) -> tuple[AnyArray, AnyArray]:
        """(weight, bias)."""
        return self.param('weight', nn.initializers.normal(0.01), self.shape), self.param('bias', nn.initializers.zeros, self.shape[:1])


class Deconvolutions(nn.Module):
    """Transposed convolutions without padding, `Aup`, from one place to a map.

    Attributes:
        sizes: (kernel, stride) of each.
        channels: of each.
        names: of each in the checkpoint.
    """
    sizes: tuple[tuple[int, int], ...]
    channels: tuple[int, ...]
    names: tuple[str, ...] = ('Aup_0', 'Aup_1', 'Aup_2')

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b d']) -> Float[AnyArray, 'b h w c']:
        """The map of a vector; h = w is 12 for kernels 4, 4, 3 with strides 2, 2, 1."""
        x = x[:, None, None]
        for (kernel, stride), channels, name in zip(self.sizes, self.channels, self.names, strict=True):
            x = nn.ConvTranspose(channels, (kernel, kernel), (stride, stride), padding='VALID', transpose_kernel=True, name=name)(x)
        return x


class DeconvolvedGate(nn.Module):
    """A gate in [0, 1] of sound: deconvolved, then 28 channels, then one. A closed switch leaves a constant of the biases, not nothing.

    Attributes:
        sizes: of `Deconvolutions`.
        width: of the deconvolutions, in channels.
    """
    sizes: tuple[tuple[int, int], ...]
    width: int = 2048

    @nn.compact
    def __call__(self, heard: Float[AnyArray, 'b d'], switch: Num[AnyArray, ' b']) -> Float[AnyArray, 'b h w 1']:
        """The gate of the sound encoder's embedding."""
        x = Deconvolutions(self.sizes, (self.width,) * 3, name='deconvolved')(nn.Dense(self.width, name='extra_audio_d')(heard))
        x = conv(CLASSES, name='extra_convs_0')(x * switch[:, None, None, None])
        return jax.nn.sigmoid(conv(1, name='extra_convs_1')(x))


class BilinearGate(nn.Module):
    """`R(phi B(a, v))`: a gate in [0, 1] of sound a and picture v whose bilinear layer mixes places, alike for each channel.

    With the switch closed it is a constant of the biases. The picture's features are 32x32, of 512 channels.
    """

    @nn.compact
    def __call__(self, heard: Float[AnyArray, 'b d'], seen: Float[AnyArray, 'b h w c'],
                 switch: Num[AnyArray, ' b'] | None = None) -> Float[AnyArray, 'b h w 1']:
        """The gate; without a switch it is open."""
        d = nn.Dense(seen.shape[-1], name='extra_audio_d')(heard)
        weight, bias = Bilinear((1024, 1024, 1), name='extra_bilinear')()
        mixed = jnp.einsum('qp,bpc->bqc', weight[:, :, 0], places(seen)) * d[:, None] + bias[:, None]
        mixed = mixed.reshape(seen.shape) * (1 if switch is None else switch[:, None, None, None])
        return jax.nn.sigmoid(conv(1, name='extra_refineSA_1')(conv(CLASSES, name='extra_refineSA_0')(mixed)))


class ChannelGate(nn.Module):
    """`N(a, v)`: a gate in [0, 1] of sound a and picture v, whose 128 channels attend to each other by a and the mean of v.

    Attributes:
        width: inner width of the last two convolutions, in channels.
    """
    width: int

    @nn.compact
    def __call__(self, heard: Float[AnyArray, 'b d'], seen: Float[AnyArray, 'b h w c']) -> Float[AnyArray, 'b h w 1']:
        """The gate."""
        alpha, beta = nn.Dense(128, name='extra_lineara')(heard), nn.Dense(128, name='extra_linearv')(mean(seen))
        attention = jax.nn.softmax(alpha[:, :, None] * beta[:, None], axis=-1)
        u = jnp.einsum('bij,bhwj->bhwi', attention, conv(128, name='extra_convv')(seen))
        return jax.nn.sigmoid(conv(1, name='extra_gateav_2')(nn.relu(conv(self.width, name='extra_gateav_0')(u))))


class ToClasses(nn.Module):
    """Features to maps of 28 classes: three 3x3 convolutions with relus that keep the number of channels, and a 1x1 convolution."""

    @nn.compact
    def __call__(self, x: Float[AnyArray, 'b h w c']) -> Float[AnyArray, 'b h w 28']:
        """The maps."""
        for number in (0, 2, 4):
            x = nn.relu(conv(x.shape[-1], 3, name=f'extra_convs_{number}')(x))
        return conv(CLASSES, name='extra_convs_6')(x)


class Graph(nn.Module):
    """The releases' C-GCN on three nodes: three rounds, in which each node hears the two others and is refined.

    Attributes:
        recurrent: whether a message updates a node by `extra_ConvGRU`; otherwise it takes the node's place.
    """
    recurrent: bool = True

    @nn.compact
    def __call__(self, nodes: Sequence[Float[AnyArray, 'b h w c']], gate: Layer) -> list[Float[AnyArray, 'b h w c']]:
        """The nodes after the rounds; `gate` is a layer from c channels to one."""
        to, of = (conv(CLASSES // 2, name=f'extra_proj{name}') for name in 'ab')
        fuse = conv(CLASSES, 3, name='extra_conv_fusion')
        update = ConvGRU(name='extra_ConvGRU') if self.recurrent else lambda message, node: message
        for _ in range(STEPS):
            queries, keys = [to(x) for x in nodes], [of(x) for x in nodes]
            heard = [[gated(attend(queries[i], keys[j], nodes[j]), gate) for j in range(3) if j != i] for i in range(3)]
            nodes = [fixation_refine(update(fuse(jnp.concatenate(two, axis=-1)), x)) for two, x in zip(heard, nodes, strict=True)]
        return list(nodes)


def attend(query: Float[AnyArray, 'b h w d'], key: Float[AnyArray, 'b h w d'],
           value: Float[AnyArray, 'b h w c']) -> Float[AnyArray, 'b h w c']:
    """What each place hears of another node's values: the softmax is over the other's places."""
    attention = jax.nn.softmax(jnp.einsum('bpc,bqc->bpq', places(query), places(key)), axis=-1)
    return jnp.einsum('bpq,bqc->bpc', attention, places(value)).reshape(value.shape)


def gated(x: Float[AnyArray, 'b h w c'], gate: Layer) -> Float[AnyArray, 'b h w c']:
    """`sigmoid(gate(x)) x`."""
    return jax.nn.sigmoid(gate(x)) * x


def in_turn(function: Callable[..., Any], *lists: Sequence[AnyArray]) -> list[Any]:
    """`function` of the items of each of the lists, all of which go through it in one batch."""
    joined = function(*(jnp.concatenate(items) for items in lists))
    size = len(lists[0][0])
    return [jax.tree.map(lambda x, k=k: x[k * size:(k + 1) * size], joined) for k in range(len(lists[0]))]


def numbered(name: str, *counts: int) -> list[str]:
    """Names of inputs: ('frame', 3) gives frame0, frame1, frame2; ('frame', 3, 3) gives frame0_0, frame0_1, ..."""
    return [name + '_'.join(map(str, index)) for index in itertools.product(*map(range, counts))]
