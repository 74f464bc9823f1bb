"""The classification nets of the second release with further fragments, on VGG-16: `s_plus`, `sa_plus`, `st_plus`.

Each sees frames (`look`), makes a node of a fragment (`node`), and lets three nodes, the target's first, exchange messages (`reason`).
`map_first` and `map_fused` are the target's maps of 28 classes before and after; `deciding` is as in `classifiers`.
"""
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from stanet_jax.arrays import AnyArray
from stanet_jax.models import backbones
from stanet_jax.models.release import parts

DECIDING = 'node_logits0'


class Node(NamedTuple):
    """What a net makes of a fragment.

    Attributes:
        node: that exchanges messages.
        first: what is `map_first` where the fragment is the target.
    """
    node: AnyArray
    first: AnyArray


class SPlus(nn.Module):
    """`s_plus`: three frames as nodes. The release never fills its `map_first`, which is zeros."""
    sides: ClassVar[tuple[int, int]] = (256, 263)
    offsets: ClassVar[tuple[int, ...]] = (0,)
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3))
    deciding: ClassVar[str] = DECIDING

    def setup(self):
        self.encoder, self.to_classes = backbones.create('vgg16'), parts.ToClasses()
        self.self_gate, self.extra_gate, self.graph = parts.SelfGate(), parts.conv(1, use_bias=False), parts.Graph()

    def look(self, frames: Float[AnyArray, 'b h w 3']) -> Float[AnyArray, 'b h2 w2 28']:
        """The maps of frames."""
        return self.to_classes(self.encoder(frames)['C5'])

    def node(self, seen: Sequence[AnyArray], heard: AnyArray | None = None) -> Node:
        """The node of a frame."""
        x = seen[0]
        return Node(nn.relu(x + self.self_gate(x, self.extra_gate)), jnp.zeros_like(x))

    def reason(self, nodes: Sequence[AnyArray]) -> list[AnyArray]:
        """The nodes after the graph's rounds."""
        return self.graph(nodes, self.extra_gate)

    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits{k}` of frames, `node_logits{k}` of nodes, `map_first` and `map_fused` of the target."""
        x = parts.in_turn(self.look, [inputs[name] for name in self.inputs])
        made = [self.node([of]) for of in x]
        return {**{f'logits{k}': parts.mean(of) for k, of in enumerate(x)}, **answer(made, self.reason([of.node for of in made]))}


class STPlus(nn.Module):
    """`st_plus`: three nodes of three frames each; the graph's messages take the nodes' places."""
    sides: ClassVar[tuple[int, int]] = (256, 263)
    offsets: ClassVar[tuple[int, ...]] = (-1, 0, 1)  # of a node's frames from its middle one
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3, 3))
    deciding: ClassVar[str] = DECIDING

    def setup(self):
        self.encoder, self.to_classes = backbones.create('vgg16'), parts.ToClasses()
        self.self_gate, self.extra_gate = parts.SelfGate(), parts.conv(1, use_bias=False)
        self.time_gate, self.extra_conv_stfusion = parts.TimeGate((parts.CLASSES,) * 3), parts.conv(parts.CLASSES, 3)
        self.graph = parts.Graph(recurrent=False)

    def look(self, frames: Float[AnyArray, 'b h w 3']) -> Float[AnyArray, 'b h2 w2 28']:
        """The maps of frames."""
        return self.to_classes(self.encoder(frames)['C5'])

    def node(self, seen: Sequence[AnyArray], heard: AnyArray | None = None) -> Node:
        """The node of three frames."""
        x = seen[1]
        gates = (self.self_gate(x, self.extra_gate), x * self.time_gate(parts.scramble(*seen)))
        return Node(self.extra_conv_stfusion(parts.cat(*(nn.relu(x + of) for of in gates))), x)

    def reason(self, nodes: Sequence[AnyArray]) -> list[AnyArray]:
        """The nodes after the graph's rounds."""
        return self.graph(nodes, self.extra_gate)

    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits{i}_{j}` of frames, `node_logits{i}` of nodes, `map_first` (of the middle frame) and `map_fused` of the target."""
        x = parts.in_turn(self.look, [inputs[name] for name in self.inputs])
        made = [self.node(x[3 * i:3 * i + 3]) for i in range(3)]
        logits = {f'logits{i}_{j}': parts.mean(x[3 * i + j]) for i in range(3) for j in range(3)}
        return {**logits, **answer(made, self.reason([of.node for of in made]))}


class SAPlus(nn.Module):
    """`sa_plus`: three frames with their sounds as nodes; there is no switch.

    Attributes:
        version: 'bytecode', whose bilinear audio gate is added, or 'source', whose channel gate multiplies.
    """
    version: str = 'bytecode'
    sides: ClassVar[tuple[int, int]] = (256, 263)
    offsets: ClassVar[tuple[int, ...]] = (0,)
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3) + parts.numbered('audio', 3))
    deciding: ClassVar[str] = DECIDING

    def setup(self):
        self.encoder, self.to_classes = backbones.create('vgg16'), parts.ToClasses()
        self.audio_encoder = backbones.create('vggsound', classes=0, pool='netvlad')
        self.audio_gate = parts.BilinearGate() if self.version == 'bytecode' else parts.ChannelGate(parts.CLASSES)
        self.self_gate, self.extra_gate = parts.SelfGate(), parts.conv(1, use_bias=False)
        self.extra_conv_safusion, self.graph = parts.conv(parts.CLASSES, 3), parts.Graph()

    def look(self, frames: Float[AnyArray, 'b h w 3']) -> Float[AnyArray, 'b h2 w2 k']:
        """The maps of frames, and behind them in the channels the encoder's features."""
        v = self.encoder(frames)['C5']
        return parts.cat(self.to_classes(v), v)

    def listen(self, audio: Float[AnyArray, 'b f t']) -> Float[AnyArray, 'b d']:
        """The embedding of sounds."""
        return self.audio_encoder(audio)['embedding']

    def node(self, seen: Sequence[AnyArray], heard: AnyArray) -> Node:
        """The node of a frame and its sound."""
        x, v = jnp.split(seen[0], [parts.CLASSES], axis=-1)
        gate = self.audio_gate(heard, v)
        sounding = x + (gate if self.version == 'bytecode' else x * gate)
        s = self.extra_conv_safusion(parts.cat(nn.relu(x + self.self_gate(x, self.extra_gate)), nn.relu(sounding)))
        return Node(s, s)

    def reason(self, nodes: Sequence[AnyArray]) -> list[AnyArray]:
        """The nodes after the graph's rounds."""
        return self.graph(nodes, self.extra_gate)

    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits{k}` of fused frames, `node_logits{k}` of nodes, `map_first` (of the fused frame) and `map_fused` of the target."""
        seen = parts.in_turn(self.look, [inputs[name] for name in self.inputs[:3]])
        heard = parts.in_turn(self.listen, [inputs[name] for name in self.inputs[3:]])
        made = [self.node([x], a) for x, a in zip(seen, heard, strict=True)]
        logits = {f'logits{k}': parts.mean(of.first) for k, of in enumerate(made)}
        return {**logits, **answer(made, self.reason([of.node for of in made]))}


def answer(made: Sequence[Node], nodes: Sequence[AnyArray]) -> dict[str, AnyArray]:
    """`node_logits{i}` of nodes after the graph's rounds, `map_first` and `map_fused` of the target."""
    return {**{f'node_logits{i}': parts.mean(node) for i, node in enumerate(nodes)}, 'map_first': made[0].first, 'map_fused': nodes[0]}
