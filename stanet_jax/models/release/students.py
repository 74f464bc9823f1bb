"""The students of the second release, `sta` (STANet.pth) and `stagcn` (STAGCN.pth), each in two states of its code.

A student sees frames (`look`), hears sounds (`hear`) and makes of both what `__call__` gives for three positions or nodes; prediction on a
film calls these steps one by one. What the release does by mistake, and its weights were trained with, is kept and said.
"""
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
from jaxtyping import Float, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models import backbones
from stanet_jax.models.release import parts

Seen = Mapping[str, AnyArray]  # what a student keeps of a frame, by name


class STA(nn.Module):
    """What the two states of `sta` have in common: the steps from inputs to the maps of three positions.

    Subclasses define `look`, `hear` and `decode`. Position 1 is the frame of the map that the release saves.
    """
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3) + parts.numbered('audio', 3) + parts.numbered('switch', 3))

    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """The predictions of all positions, and `map`, of position 1, in [0, 1]."""
        frames, audio, switch = ([inputs[name] for name in parts.numbered(of, 3)] for of in ('frame', 'audio', 'switch'))
        seen = parts.in_turn(self.look, frames)
        gates = parts.in_turn(self.hear, audio, switch, [of['v'] for of in seen])
        found: dict[str, jax.Array] = {}
        for k in range(3):
            decoded = self.decode(k, [of['x'] for of in seen], seen[k], gates[k], frames[0].shape[1:3])
            found |= {f'{name}_{k}': x[..., 0] for name, x in decoded.items()}
        return {**found, 'map': jax.nn.sigmoid(found[f'{self.final}_1'])}

    def predict(self, triple: Sequence[AnyArray], seen: Seen, gate: AnyArray, shape: Sequence[int]) -> Float[jax.Array, 'b h w']:
        """The map in [0, 1] of position 1, of `shape`; `triple` are the features `x` of the three positions, the others are its own."""
        return jax.nn.sigmoid(self.decode(1, triple, seen, gate, shape)[self.final][..., 0])


class STABytecode(STA):
    """`sta` as the release's compiled modules have it.

    The time gate is added; at positions 1 and 2 the audio gate is added, too, at 0 it multiplies; predictions are made of enlarged
    features.
    """
    sides: ClassVar[tuple[int, int]] = (353, 384)
    offsets: ClassVar[tuple[int, ...]] = (1, 0, 2)  # the loader gives t, t-1, t+1, and saves the map of t-1 under the name of t
    order: ClassVar[tuple[tuple[int, ...], ...]] = ((1, 0, 2), (0, 1, 2), (0, 2, 1))  # of the frames before the time gate of each position
    final: ClassVar[str] = 'predict2'

    def setup(self):
        self.encoder = backbones.create('resnext101_32x8d')
        self.audio_encoder = backbones.create('vggsound', classes=0, pool='netvlad')
        self.extra_video_d0, self.extra_video_d1, self.extra_video_d2 = (parts.conv(parts.CLASSES) for _ in range(3))
        self.audio_gate = parts.DeconvolvedGate(((4, 2), (4, 2), (3, 1)))
        self.time_gate = parts.TimeGate((1,), None)
        self.self_gate, self.extra_gate = parts.SelfGate(), parts.conv(1, use_bias=False)
        self.extra_conv_fusion = parts.conv(parts.CLASSES)
        self.extra_refine4, self.extra_refine3, self.extra_refine2 = (parts.conv(parts.CLASSES, 3) for _ in range(3))
        self.extra_predict4, self.extra_predict3, self.extra_predict2 = (parts.conv(1) for _ in range(3))

    def look(self, frames: Float[AnyArray, 'b h w 3']) -> Seen:
        """What is kept of frames: y, z and x of C3, C4 and C5."""
        of = self.encoder(frames)
        x = self.extra_video_d2(of['C5'])
        return {'y': self.extra_video_d0(of['C3']), 'z': self.extra_video_d1(of['C4']), 'x': x, 'v': x}

    def hear(self, audio: Float[AnyArray, 'b f t'], switch: Num[AnyArray, ' b'], seen: AnyArray) -> Float[AnyArray, 'b h w 1']:
        """The audio gate; it does not depend on what is seen."""
        del seen
        return self.audio_gate(self.audio_encoder(audio)['embedding'], switch)

    def decode(self, k: int, triple: Sequence[AnyArray], seen: Seen, gate: AnyArray, shape: Sequence[int]) -> dict[str, AnyArray]:
        """The logits of position k, of `shape`."""
        y, z, x = seen['y'], seen['z'], seen['x']
        time = self.time_gate(parts.scramble(*(triple[i] for i in self.order[k])))
        heard = nn.relu(x + (gate if k else x * gate))
        fused = self.extra_conv_fusion(parts.cat(nn.relu(x + self.self_gate(x, self.extra_gate)), nn.relu(x + time), heard))
        r4 = parts.enlarge(self.extra_refine4(parts.cat(fused, x)), z.shape[1:3])
        r3 = parts.enlarge(self.extra_refine3(parts.cat(r4, z)), y.shape[1:3])
        r2 = self.extra_refine2(parts.cat(r3, y))
        made = (self.extra_predict4(r4), self.extra_predict3(r3), self.extra_predict2(r2))
        return {name: parts.enlarge(p, shape) for name, p in zip(('predict4', 'predict3', 'predict2'), made, strict=True)}


class STASource(STA):
    """`sta` as the release's source files have it. It takes the switch and does not use it."""
    sides: ClassVar[tuple[int, int]] = (32, 4096)
    offsets: ClassVar[tuple[int, ...]] = (-1, 0, 1)  # no script of the release says so; its triples are in order for these
    order: ClassVar[tuple[tuple[int, ...], ...]] = ((2, 0, 1), (0, 1, 2), (1, 2, 0))
    final: ClassVar[str] = 'out0'

    def setup(self):
        self.encoder = backbones.create('resnext101_32x8d')
        self.audio_encoder = backbones.create('vggsound', classes=0, pool='netvlad')
        self.extra_convsd0, self.extra_convsd1, self.extra_convs = (parts.conv(32) for _ in range(3))
        self.audio_gate = parts.ChannelGate(32)
        self.time_gate = parts.TimeGate((32, 32, 32))
        self.self_gate, self.extra_gates = parts.SelfGate(), parts.conv(1, use_bias=False)
        self.extra_conv_fusion, self.extra_ConvGRU = parts.conv(32, 3), parts.ConvGRU()
        self.extra_refine1, self.extra_refine0 = ([parts.conv(32, 3)] for _ in range(2))
        self.extra_out1, self.extra_out0 = parts.conv(1), parts.conv(1)

    def look(self, frames: Float[AnyArray, 'b h w 3']) -> Seen:
        """What is kept of frames: y, z and x of C3, C4 and C5, and v, which is C5."""
        of = self.encoder(frames)
        return {'y': self.extra_convsd0(of['C3']), 'z': self.extra_convsd1(of['C4']), 'x': self.extra_convs(of['C5']), 'v': of['C5']}

    def hear(self, audio: Float[AnyArray, 'b f t'], switch: Num[AnyArray, ' b'], seen: AnyArray) -> Float[AnyArray, 'b h w 1']:
        """The audio gate of sounds and of what is seen, C5."""
        del switch
        return self.audio_gate(self.audio_encoder(audio)['embedding'], seen)

    def decode(self, k: int, triple: Sequence[AnyArray], seen: Seen, gate: AnyArray, shape: Sequence[int]) -> dict[str, AnyArray]:
        """The logits of position k, of `shape`."""
        y, z, x = seen['y'], seen['z'], seen['x']
        time = self.time_gate(parts.scramble(*(triple[i] for i in self.order[k])))
        gates = (self.self_gate(x, self.extra_gates), x * time, x * gate)
        s = self.extra_ConvGRU(self.extra_conv_fusion(parts.cat(*(nn.relu(x + of) for of in gates))), x)
        r1 = nn.relu(self.extra_refine1[0](parts.cat(parts.enlarge(s, z.shape[1:3]), z)) + z)
        r1 = parts.enlarge(r1, y.shape[1:3])
        r0 = nn.relu(self.extra_refine0[0](parts.cat(r1, y)) + r1)
        return {'out1': parts.enlarge(self.extra_out1(r1), shape), 'out0': parts.enlarge(self.extra_out0(r0), shape)}


class STAGCN(nn.Module):
    """`stagcn`, STA+: three nodes of three frames each, in both states of the release, which differ in the audio gate.

    Attributes:
        version: 'bytecode', whose audio gate is bilinear, or 'source', whose channels attend to each other.
    """
    version: str = 'bytecode'
    sides: ClassVar[tuple[int, int]] = (256, 263)
    offsets: ClassVar[tuple[int, ...]] = (-1, 0, 1)  # of a node's frames from its middle one
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3, 3) + parts.numbered('audio', 3) + parts.numbered('switch', 3))

    def setup(self):
        self.encoder = backbones.create('vgg16')
        self.audio_encoder = backbones.create('vggsound', classes=0, pool='netvlad')
        self.to_classes = parts.ToClasses()
        self.audio_gate = parts.BilinearGate() if self.version == 'bytecode' else parts.ChannelGate(parts.CLASSES)
        self.time_gate = parts.TimeGate((parts.CLASSES, parts.CLASSES, 1))
        self.self_gate, self.extra_gate = parts.SelfGate(), parts.conv(1, use_bias=False)
        if self.version == 'source':
            self.extra_gates = parts.conv(1, use_bias=False)
        self.extra_conv_stafusion = parts.conv(parts.CLASSES, 3)
        self.graph = parts.Graph()
        self.extra_conv1, self.extra_bn1 = parts.conv(parts.CLASSES, use_bias=False), nn.BatchNorm(use_running_average=True, epsilon=1e-5)
        self.extra_main_classifier1 = parts.conv(1)

    def look(self, frames: Float[AnyArray, 'b h w 3']) -> Seen:
        """What is kept of frames: x, maps of the classes, and v, the encoder's features."""
        v = self.encoder(frames)['C5']
        return {'x': self.to_classes(v), 'v': v}

    def hear(self, audio: Float[AnyArray, 'b f t'], switch: Num[AnyArray, ' b'], seen: AnyArray) -> Float[AnyArray, 'b h w 1']:
        """The audio gate of sounds and of what is seen, v."""
        heard = self.audio_encoder(audio)['embedding']
        if self.version == 'bytecode':
            return self.audio_gate(heard, seen, switch)
        return switch[:, None, None, None] * self.audio_gate(heard, seen)

    def node(self, triple: Sequence[AnyArray], gate: AnyArray) -> Float[AnyArray, 'b h w 28']:
        """The node of three frames' features `x` and of the middle one's audio gate."""
        x = triple[1]
        own = self.self_gate(x, self.extra_gate if self.version == 'bytecode' else self.extra_gates)
        gates = (own, x * self.time_gate(parts.scramble(*triple)), x * gate)
        return self.extra_conv_stafusion(parts.cat(*(nn.relu(x + of) for of in gates)))

    def reason(self, nodes: Sequence[AnyArray]) -> list[Float[AnyArray, 'b h w 28']]:
        """The three nodes after the graph's rounds."""
        return self.graph(nodes, self.extra_gate)

    def read(self, node: AnyArray, x: AnyArray, shape: Sequence[int]) -> Float[jax.Array, 'b h w']:
        """The logits of a node's middle frame, of `shape`."""
        h = nn.relu(self.extra_bn1(self.extra_conv1(parts.cat(node, x))))
        return parts.enlarge(self.extra_main_classifier1(h), shape)[..., 0]

    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """The classes' logits of frames and nodes, the saliency's logits of nodes, and `map`, of node 1, in [0, 1]."""
        frames, audio, switch = (
            [inputs[name] for name in names] for names in (self.inputs[:9], self.inputs[9:12], self.inputs[12:]))
        seen: list[Any] = parts.in_turn(self.look, frames)
        gates = parts.in_turn(self.hear, audio, switch, [seen[3 * i + 1]['v'] for i in range(3)])
        x = [[seen[3 * i + j]['x'] for j in range(3)] for i in range(3)]
        found = {f'logits{i}_{j}': parts.mean(x[i][j]) for i in range(3) for j in range(3)}
        for i, node in enumerate(self.reason([self.node(x[i], gates[i]) for i in range(3)])):
            found[f'node_logits{i}'], found[f'saliency{i}'] = parts.mean(node), self.read(node, x[i][1], frames[0].shape[1:3])
        return {**found, 'map': jax.nn.sigmoid(found['saliency1'])}
