"""The switch of the second release, the student and the switch of the first (CVPR 2021), and EPS's classifier."""
from collections.abc import Mapping, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models import backbones
from stanet_jax.models.release import parts
from stanet_jax.models.release.students import Seen

SPECTRUM = (257, 48)  # half a second of sound


class Switch(nn.Module):
    """`switch` v2: whether sound belongs to picture."""
    sides: ClassVar[tuple[int, int]] = (32, 4096)
    inputs: ClassVar[tuple[str, ...]] = ('frame', 'audio')

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits` [b, 2], and `switch` [b], 1 where the second is above 0: not where it is the larger."""
        c5 = backbones.create('resnext101_32x8d', name='encoder')(inputs['frame'])['C5']
        heard = backbones.create('vggsound', classes=0, pool='netvlad', name='audio_encoder')(inputs['audio'])['embedding']
        weight, bias = parts.Bilinear((128, 128, 128), name='extra_bilinear')()
        alpha, beta = nn.Dense(128, name='layerA_d')(heard), nn.Dense(128, name='layerV_d')(parts.mean(c5))
        logits = nn.Dense(2, name='fc')(jnp.einsum('bi,kij,bj->bk', alpha, weight, beta) + bias)
        return {'logits': logits, 'switch': (logits[:, 1] > 0).astype(jnp.float32)}


class CVPRSwitch(nn.Module):
    """`cvpr_switch` v1: whether there is sound to look for, from half a second of sound alone."""
    sides: ClassVar[tuple[int, int]] = (32, 4096)
    inputs: ClassVar[tuple[str, ...]] = ('audio',)

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`probabilities` [b, 2]; a relu stands on the logits, too. ValueError for other than 48 columns."""
        audio = inputs['audio']
        if audio.shape[1:] != SPECTRUM:
            raise ValueError(f'cvpr_switch hears spectrograms [b, {SPECTRUM[0]}, {SPECTRUM[1]}], got {audio.shape}')
        x = backbones.create('vggsound', classes=0, pool='none', name='audio_encoder')(audio)['map']
        x = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)  # channel by channel, as torch has it
        for name, width in (('Afc1', 4096), ('Afc2', 1024), ('Afc3', 2)):
            x = nn.relu(nn.Dense(width, name=name)(x))
        return {'probabilities': jax.nn.softmax(x)}


class CVPRSTA(nn.Module):
    """`cvpr_sta`: the student of the first release, on frames t-1, t, t+1 and the sound of t. Time and channels are true axes.

    Attributes:
        version: 'modelsAVQ', whose switch is a pair of probabilities, or 'STA_model', whose switch is a number.
        predict_side: side of its last convolution's kernel.
    """
    version: str = 'modelsAVQ'
    predict_side: int = 1
    sides: ClassVar[tuple[int, int]] = (353, 384)
    offsets: ClassVar[tuple[int, ...]] = (-1, 0, 1)
    inputs: ClassVar[tuple[str, ...]] = (*parts.numbered('frame', 3), 'audio', 'switch')

    def setup(self):
        self.encoder = backbones.create('resnext101_32x8d')
        self.audio_encoder = backbones.create('vggsound', classes=0, pool='netvlad')
        self.downv4, self.downv3, self.downv2 = (parts.conv(32) for _ in range(3))
        self.time_gate = parts.TimeGate((1,), None, stem='refineST')
        self.deconvolved = parts.Deconvolutions(((4, 2), (4, 2), (3, 1)), (32, 32, 32), ('Aup1', 'Aup2', 'Aup3'))
        self.atten_conv, self.attention, self.AVTFuse = parts.conv(64), parts.conv(1), parts.conv(32)
        self.refineV33, self.refineV22, self.predictF = parts.conv(32, 3), parts.conv(32, 3), parts.conv(1, self.predict_side)

    def look(self, frames: Float[AnyArray, 'b h w 3']) -> Seen:
        """What is kept of frames: y, z and x of C3, C4 and C5."""
        of = self.encoder(frames)
        x = self.downv4(of['C5'])
        return {'y': self.downv2(of['C3']), 'z': self.downv3(of['C4']), 'x': x, 'v': x}

    def hear(self, audio: Float[AnyArray, 'b f t'], switch: Num[AnyArray, 'b ...'], seen: AnyArray) -> Float[AnyArray, 'b h w 1']:
        """The audio gate of sounds and of what is seen, x; the switch is a probability and is not rounded."""
        heard = self.deconvolved(self.audio_encoder(audio)['embedding'])
        phi = switch[:, 1] if switch.ndim > 1 else switch
        return phi[:, None, None, None] * jax.nn.sigmoid(self.attention(self.atten_conv(parts.cat(heard, seen))))

    def predict(self, triple: Sequence[AnyArray], seen: Seen, gate: AnyArray, shape: Sequence[int]) -> Float[jax.Array, 'b h w']:
        """The map in [0, 1] of the middle one of three frames, of `shape`."""
        y, z, x = seen['y'], seen['z'], seen['x']
        p = x * self.time_gate(jnp.stack(triple, axis=1)) + x
        fused = self.AVTFuse(parts.cat(nn.relu(p) if self.version == 'STA_model' else p, nn.relu(gate * x + x), x))
        r3 = self.refineV33(parts.cat(parts.enlarge(fused, z.shape[1:3]), z))
        r2 = self.refineV22(parts.cat(parts.enlarge(r3, y.shape[1:3]), y))
        return jax.nn.sigmoid(parts.enlarge(self.predictF(r2), shape)[..., 0])

    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`map`, of frame 1, in [0, 1]."""
        frames = [inputs[name] for name in parts.numbered('frame', 3)]
        seen = parts.in_turn(self.look, frames)
        gate = self.hear(inputs['audio'], inputs['switch'], seen[1]['v'])
        return {'map': self.predict([of['x'] for of in seen], seen[1], gate, frames[0].shape[1:3])}


class EPSNet(nn.Module):
    """`eps` and `eps_cls`: ResNet-38 and a 1x1 convolution without bias, to maps of the classes.

    Attributes:
        maps: how many; of `eps` the background's is the last.
        relu: whether `cam` is of positive values, as of `eps_cls`.
    """
    maps: int
    relu: bool
    sides: ClassVar[tuple[int, int]] = (8, 4096)
    inputs: ClassVar[tuple[str, ...]] = ('frame',)

    @nn.compact
    def __call__(self, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`logits` [b, k], the means of the maps, and `cam` [b, h/8, w/8, k]."""
        features = backbones.create('resnet38', name='encoder')(inputs['frame'])['C5']
        maps = parts.conv(self.maps, use_bias=False, name='fc8')(features)
        return {'logits': parts.mean(maps), 'cam': nn.relu(maps) if self.relu else maps}
