"""What all nets begin with: encoders of frames and of sound, and the fusion of S, SA, ST or STA (TPAMI Fig. 5, Fig. 12-D)."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models import backbones, fusion
from stanet_jax.models.convolution import Conv

FRAMES = {'A': 0, 'S': 1, 'SA': 1, 'ST': 3, 'STA': 3}  # how many frames each source takes; the middle one is the target
SOUND = ('A', 'SA', 'STA')  # the sources that take sound
STA_CHANNELS = 32  # of STA fuse


class NetName(NamedTuple):
    """The two parts of a net's name.

    Attributes:
        source: what the net takes of each fragment, a key of `FRAMES` ('ST').
        granularity: where its other fragments come from, 'short', 'long' or 'cross'; '' for a net that takes one fragment alone.
    """
    source: str
    granularity: str


def parse_net(net: str) -> NetName:
    """Splits a net's name: 'ST_short' has the source 'ST' and the granularity 'short', 'ST' the granularity ''."""
    source, _, granularity = net.partition('_')
    return NetName(source, granularity)


class FragmentFeatures(NamedTuple):
    """What the branch of a net makes of fragments.

    Attributes:
        levels: the image encoder's features `C3`, `C4` and `C5` of every frame, [b, ..., t, h', w', c].
        fused: the middle frame's features, fused with sound and time, [b, ..., h', w', c'].
    """
    levels: dict[str, jax.Array]
    fused: AnyArray


# Normalised frames, and what is heard; or, where the encoders are frozen, the features that they gave, by name.
Frames = AnyArray | Mapping[str, AnyArray]
Audio = AnyArray | Mapping[str, AnyArray]


class Branch(nn.Module):
    """The parts of a net that make features of fragments; nets are subclasses that declare the fields named here.

    Where frames or sounds are given as their features, the net has no such encoder among its parts.

    Attributes:
        source: a key of `FRAMES`.
        encoder: name of the image encoder, see `backbones.create`.
        audio_encoder: name of the audio encoder, see `backbones.create`.
        width: inner width of the fusions, in channels.
        batch_norm: 'running' or 'batch' statistics in the encoders during training.
        dtype: of the computation; parameters are float32.
        sa_fuse: how SA fuses sound, a key of `fusion.SA_FUSIONS`.
        remat: whether the backward pass computes the inside of the image encoder again, see `backbones.create`.
    """
    def setup(self):
        fields = {'batch_norm': self.batch_norm, 'dtype': self.dtype}
        remat = {'remat': True} if self.remat else {}
        self.image_encoder = backbones.create(self.encoder, name='encoder', **fields, **remat)
        classes = self.classes if self.source == 'A' else 0
        self.sound_encoder = backbones.create(self.audio_encoder, classes=classes, name='audio_encoder', **fields)
        self.audio_map = fusion.AudioMap(self.width, self.dtype, name='audio_map')
        self.time_map = fusion.TimeMap(self.width, self.dtype, name='time_map')
        self.sa_blend = fusion.SA_FUSIONS[self.sa_fuse](self.width, self.dtype)
        self.fuse = Conv(STA_CHANNELS, (1, 1), dtype=self.dtype, name='fuse')

    def encode_frames(self, frames: Frames, train: bool = False,
                      mask: Bool[AnyArray, ' b'] | None = None) -> dict[str, Float[jax.Array, 'b *lead _h _w _c']]:
        """The image encoder's features `C3`, `C4` and `C5` of frames.

        Args:
            frames: [b, ..., h, w, 3], see `backbones.normalise`; or a dict of these features, which are given back.
            train: whether batch statistics are used and updated, where `batch_norm` says so.
            mask: False at examples that only pad the batch.
        """
        if isinstance(frames, Mapping):
            return {name: jnp.asarray(x, self.dtype) for name, x in frames.items()}
        lead = frames.shape[:-3]
        found = self.image_encoder(frames.reshape(-1, *frames.shape[-3:]), train=train, mask=_spread(mask, lead))
        return {name: x.reshape(*lead, *x.shape[1:]) for name, x in found.items() if name != 'logits'}

    def encode_audio(self, audio: Audio, train: bool = False,
                     mask: Bool[AnyArray, ' b'] | None = None) -> Float[jax.Array, 'b *lead d']:
        """The audio encoder's embeddings of sounds [b, ..., f, t]; `train` and `mask` as in `encode_frames`.

        `audio` may also be a dict of `embedding`, which is given back.
        """
        if isinstance(audio, Mapping):
            return jnp.asarray(audio['embedding'], self.dtype)
        lead = audio.shape[:-2]
        found = self.sound_encoder(audio.reshape(-1, *audio.shape[-2:]), train=train, mask=_spread(mask, lead))
        return found['embedding'].reshape(*lead, -1)

    def blend(self, seen: Float[AnyArray, 'b t h w c'], heard: Float[AnyArray, 'b d'] | None = None,
              phi: Num[AnyArray, ' b'] | None = None) -> Float[AnyArray, 'b h w c2']:
        """Features of fragments: the middle frame's, fused with sound (Eq. 5), time (Eq. 6) or both (Eq. 15).

        Args:
            seen: `C5` of `FRAMES[source]` frames.
            heard: embeddings of their sound, for SA and STA.
            phi: the audio switch, in {0, 1}, for SA and STA.
        Raises:
            ValueError: another number of frames.
        """
        if seen.shape[1] != FRAMES[self.source]:
            raise ValueError(f'{self.source} looks at {FRAMES[self.source]} frames, got {seen.shape[1]}')
        s = seen[:, seen.shape[1] // 2]
        if self.source == 'S':
            return s
        if self.source == 'ST':
            return fusion.fuse(s, self.time_map(seen))
        if self.source == 'SA':
            return self.sa_blend(s, self.audio_map(heard, phi, s))
        return nn.relu(self.fuse(fusion.fuse_both(s, self.audio_map(heard, phi, s), self.time_map(seen))))

    def features(self, frames: Frames, audio: Audio | None,
                 phi: Num[AnyArray, ' b *lead'] | None, train: bool = False, mask: Bool[AnyArray, ' b'] | None = None) -> FragmentFeatures:
        """The features that `encode_frames` gives of fragments' frames, [b, ..., t, h, w, 3], and those that `blend` makes of them.

        `audio` and `phi` are needed by SA and STA only; the arguments are those of `encode_frames`, `encode_audio` and `blend`.
        """
        seen = self.encode_frames(frames, train, mask)
        lead = seen['C5'].shape[:-4]
        flat: dict[str, AnyArray] = {'seen': seen['C5'].reshape(-1, *seen['C5'].shape[-4:])}
        if self.source in SOUND:
            assert audio is not None and phi is not None, f'{self.source} takes sound'
            heard = self.encode_audio(audio, train, mask)
            flat |= {'heard': heard.reshape(-1, heard.shape[-1]), 'phi': phi.reshape(-1)}
        blended = self.blend(**flat)
        return FragmentFeatures(seen, blended.reshape(*lead, *blended.shape[1:]))


def _spread(mask: Bool[AnyArray, ' b'] | None, lead: Sequence[int]) -> Bool[jax.Array, ' n'] | None:
    """Repeats an example's mask for each of its pictures or sounds, which stand in the axes `lead` = (b, ...); flat."""
    return None if mask is None else jnp.broadcast_to(mask.reshape(-1, *[1] * (len(lead) - 1)), lead).reshape(-1)
