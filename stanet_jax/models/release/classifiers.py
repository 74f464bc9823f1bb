"""The classification nets of the second release: `s`, `sa`, `st` and, on VGG-16, `s_plus`, `sa_plus`, `st_plus`.

Each gives maps of 28 classes before (`map_first`) and after its fusion (`map_fused`); `deciding` names the logits by which the release
decides whether a frame's map is kept.
"""
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from stanet_jax.arrays import AnyArray
from stanet_jax.models import backbones
from stanet_jax.models.release import parts


class S(nn.Module):
    """`s`: a frame, its self-gate and a recurrent unit, on C4.

    Attributes:
        gate: name of the self-gate's layer in the checkpoint.
    """
    gate: str = 'extra_gate'
    sides: ClassVar[tuple[int, int]] = (32, 4096)
    inputs: ClassVar[tuple[str, ...]] = ('frame',)
    deciding: ClassVar[str] = 'logits'

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits` and `map_first` of the frame's maps, `logits_fused` and `map_fused` of those after the fusion."""
        x = parts.conv(parts.CLASSES, name='extra_convs')(backbones.create('resnext101_32x8d', name='encoder')(inputs['frame'])['C4'])
        own = parts.SelfGate(name='self_gate')(x, parts.conv(1, use_bias=False, name=self.gate))
        y = parts.ConvGRU(name='extra_ConvGRU')(parts.conv(parts.CLASSES, name='extra_conv_fusion')(parts.cat(x, own)), x)
        return {'logits': parts.mean(x), 'logits_fused': parts.mean(y), 'map_first': x, 'map_fused': y}


class SA(nn.Module):
    """`sa` bytecode: as `S` on C5, with a gate of sound; there is no switch. `gate` as in `S`."""
    gate: str = 'extra_gate'
    sides: ClassVar[tuple[int, int]] = (225, 256)  # the release's script has 224, which does not run
    inputs: ClassVar[tuple[str, ...]] = ('frame', 'audio')
    deciding: ClassVar[str] = 'logits'  # unsure: the release's script calls another net

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """As of `S`."""
        x = parts.conv(parts.CLASSES, name='extra_video_d')(backbones.create('resnext101_32x8d', name='encoder')(inputs['frame'])['C5'])
        heard = backbones.create('vggsound', classes=0, pool='netvlad', name='audio_encoder')(inputs['audio'])['embedding']
        own = parts.SelfGate(name='self_gate')(x, parts.conv(1, use_bias=False, name=self.gate))
        gate = parts.DeconvolvedGate(((3, 1), (3, 1), (4, 1)), name='audio_gate')(heard, jnp.ones(len(x)))
        fused = parts.conv(parts.CLASSES, name='extra_conv_fusion')(parts.cat(nn.relu(x + own), nn.relu(x + x * gate)))
        y = parts.ConvGRU(name='extra_ConvGRU')(fused, x)
        return {'logits': parts.mean(x), 'logits_fused': parts.mean(y), 'map_first': x, 'map_fused': y}


class ST(nn.Module):
    """`st`: three frames, on C5; `map_first` and `map_fused` are of position 0, the target. `gate` as in `S`.

    Attributes:
        version: 'bytecode', with relus between the convolutions of the time gate, or 'source', without.
    """
    version: str = 'bytecode'
    gate: str = 'extra_gate'
    sides: ClassVar[tuple[int, int]] = (225, 256)
    offsets: ClassVar[tuple[int, ...]] = (0, -1, 1)  # as it is trained; in the release's test script position 2 is t again
    order: ClassVar[tuple[tuple[int, ...], ...]] = ((1, 0, 2), (0, 1, 2), (0, 2, 1))
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3))
    deciding: ClassVar[str] = 'logits_fused0'

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits{k}` and `logits_fused{k}` of the three positions, and the maps of position 0."""
        encoder, to_classes = backbones.create('resnext101_32x8d', name='encoder'), parts.ToClasses(name='to_classes')
        x = parts.in_turn(lambda frames: to_classes(encoder(frames)['C5']), [inputs[name] for name in self.inputs])
        numbers, relu = ((0, 2, 4), True) if self.version == 'bytecode' else ((0, 1, 2), False)
        time_gate, self_gate = parts.TimeGate((parts.CLASSES,) * 3, numbers, relu, name='time_gate'), parts.SelfGate(name='self_gate')
        gate, fusion = parts.conv(1, use_bias=False, name=self.gate), parts.conv(parts.CLASSES, 3, name='extra_conv_fusion')
        update, y = parts.ConvGRU(name='extra_ConvGRU'), []
        for k in range(3):
            time = time_gate(parts.scramble(*(x[i] for i in self.order[k])))
            y.append(update(fusion(parts.cat(nn.relu(x[k] + self_gate(x[k], gate)), nn.relu(x[k] + x[k] * time))), x[k]))
        logits = {f'{name}{k}': parts.mean(of[k]) for name, of in (('logits', x), ('logits_fused', y)) for k in range(3)}
        return {**logits, 'map_first': x[0], 'map_fused': y[0]}


class SPlus(nn.Module):
    """`s_plus`: three frames, the first of which is the target, as nodes of a graph."""
    sides: ClassVar[tuple[int, int]] = (256, 263)
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3))
    deciding: ClassVar[str] = 'node_logits0'

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits{k}` of frames, `node_logits{k}` of nodes, `map_fused` of node 0; `map_first`, which the release never fills, is zeros."""
        encoder, to_classes = backbones.create('vgg16', name='encoder'), parts.ToClasses(name='to_classes')
        x = parts.in_turn(lambda frames: to_classes(encoder(frames)['C5']), [inputs[name] for name in self.inputs])
        self_gate, gate = parts.SelfGate(name='self_gate'), parts.conv(1, use_bias=False, name='extra_gate')
        nodes = parts.Graph(name='graph')([nn.relu(of + self_gate(of, gate)) for of in x], gate)
        logits = {f'{name}{k}': parts.mean(of[k]) for name, of in (('logits', x), ('node_logits', nodes)) for k in range(3)}
        return {**logits, 'map_first': jnp.zeros_like(nodes[0]), 'map_fused': nodes[0]}


class STPlus(nn.Module):
    """`st_plus`: three nodes of three frames each; the graph's messages take the nodes' places."""
    sides: ClassVar[tuple[int, int]] = (256, 263)
    offsets: ClassVar[tuple[int, ...]] = (-1, 0, 1)  # of a node's frames from its middle one
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3, 3))
    deciding: ClassVar[str] = 'node_logits0'

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits{i}_{j}` of frames, `node_logits{i}` of nodes; `map_first` of node 0's middle frame, `map_fused` of node 0."""
        encoder, to_classes = backbones.create('vgg16', name='encoder'), parts.ToClasses(name='to_classes')
        every = parts.in_turn(lambda frames: to_classes(encoder(frames)['C5']), [inputs[name] for name in self.inputs])
        x = [every[3 * i:3 * i + 3] for i in range(3)]
        self_gate, gate = parts.SelfGate(name='self_gate'), parts.conv(1, use_bias=False, name='extra_gate')
        time_gate, fusion = parts.TimeGate((parts.CLASSES,) * 3, name='time_gate'), parts.conv(parts.CLASSES, 3, name='extra_conv_stfusion')
        gates = [(self_gate(of[1], gate), of[1] * time_gate(parts.scramble(*of))) for of in x]
        nodes = [fusion(parts.cat(*(nn.relu(of[1] + gated) for gated in two))) for of, two in zip(x, gates, strict=True)]
        nodes = parts.Graph(recurrent=False, name='graph')(nodes, gate)
        logits = {f'logits{i}_{j}': parts.mean(x[i][j]) for i in range(3) for j in range(3)}
        logits |= {f'node_logits{i}': parts.mean(node) for i, node in enumerate(nodes)}
        return {**logits, 'map_first': x[0][1], 'map_fused': nodes[0]}


class SAPlus(nn.Module):
    """`sa_plus`: three frames with their sounds, the first of which is the target; there is no switch.

    Attributes:
        version: 'bytecode', whose bilinear audio gate is added, or 'source', whose channel gate multiplies.
    """
    version: str = 'bytecode'
    sides: ClassVar[tuple[int, int]] = (256, 263)
    inputs: ClassVar[tuple[str, ...]] = tuple(parts.numbered('frame', 3) + parts.numbered('audio', 3))
    deciding: ClassVar[str] = 'node_logits0'

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits{k}` of fused frames, `node_logits{k}` of nodes; `map_first` of the fused target, `map_fused` of node 0."""
        encoder, to_classes = backbones.create('vgg16', name='encoder'), parts.ToClasses(name='to_classes')
        audio_encoder = backbones.create('vggsound', classes=0, pool='netvlad', name='audio_encoder')
        added = self.version == 'bytecode'
        audio_gate = parts.BilinearGate(name='audio_gate') if added else parts.ChannelGate(parts.CLASSES, name='audio_gate')
        self_gate, gate = parts.SelfGate(name='self_gate'), parts.conv(1, use_bias=False, name='extra_gate')
        fusion = parts.conv(parts.CLASSES, 3, name='extra_conv_safusion')

        def fused(frames, audio):
            v = encoder(frames)['C5']
            x, heard = to_classes(v), audio_gate(audio_encoder(audio)['embedding'], v)
            sounding = nn.relu(x + (heard if added else x * heard))
            return fusion(parts.cat(nn.relu(x + self_gate(x, gate)), sounding))

        s = parts.in_turn(fused, *([inputs[name] for name in parts.numbered(of, 3)] for of in ('frame', 'audio')))
        nodes = parts.Graph(name='graph')(s, gate)
        logits = {f'{name}{k}': parts.mean(of[k]) for name, of in (('logits', s), ('node_logits', nodes)) for k in range(3)}
        return {**logits, 'map_first': s[0], 'map_fused': nodes[0]}
