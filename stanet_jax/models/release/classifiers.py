"""The classification nets of the second release `s`, `sa` and `st`.

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
