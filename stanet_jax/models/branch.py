"""What all nets begin with: encoders of frames and of sound, and the fusion of S, SA, ST or STA (TPAMI Fig. 5, Fig. 12-D)."""
import flax.linen as nn
import jax.numpy as jnp

from stanet_jax.models import backbones, fusion
from stanet_jax.models.convolution import Conv

FRAMES = {'A': 0, 'S': 1, 'SA': 1, 'ST': 3, 'STA': 3}  # how many frames each looks at; the middle one is the target
SOUND = ('A', 'SA', 'STA')  # what hears
STA_CHANNELS = 32  # of STA fuse


class Branch(nn.Module):
    """The parts of a net that make features of fragments; nets are subclasses with the fields that are named here.

    Attributes:
        source: a key of `FRAMES`.
        encoder: name of the image encoder, audio_encoder: of the audio encoder; see `backbones.create`.
        width: inner width of the fusions.
        batch_norm: 'running' or 'batch' statistics in the encoders during training.
        dtype: of the computation; parameters are float32.
        sa_fuse: how SA takes in sound, see `fusion.SA_FUSIONS`.
    """
    def setup(self):
        fields = {'batch_norm': self.batch_norm, 'dtype': self.dtype}
        self.image_encoder = backbones.create(self.encoder, name='encoder', **fields)
        classes = self.classes if self.source == 'A' else 0
        self.sound_encoder = backbones.create(self.audio_encoder, classes=classes, name='audio_encoder', **fields)
        self.audio_map = fusion.AudioMap(self.width, self.dtype, name='audio_map')
        self.time_map = fusion.TimeMap(self.width, self.dtype, name='time_map')
        self.sa_blend = fusion.SA_FUSIONS[self.sa_fuse](self.width, self.dtype)
        self.fuse = Conv(STA_CHANNELS, (1, 1), dtype=self.dtype, name='fuse')

    def encode_frames(self, frames, train=False, mask=None):
        """Features of normalised frames [b, ..., h, w, 3], each looked at once: {'C3': [b, ..., h', w', c], 'C4': ..., 'C5': ...}."""
        lead = frames.shape[:-3]
        found = self.image_encoder(frames.reshape(-1, *frames.shape[-3:]), train=train, mask=spread(mask, lead))
        return {name: x.reshape(*lead, *x.shape[1:]) for name, x in found.items()}

    def encode_audio(self, audio, train=False, mask=None):
        """Embeddings [b, ..., d] of log-spectrograms [b, ..., 257, T]."""
        lead = audio.shape[:-2]
        found = self.sound_encoder(audio.reshape(-1, *audio.shape[-2:]), train=train, mask=spread(mask, lead))
        return found['embedding'].reshape(*lead, -1)

    def blend(self, seen, heard=None, phi=None):
        """Features of fragments: the middle frame's, fused with sound (Eq. 5), time (Eq. 6) or both (Eq. 15).

        Args:
            seen: C5 of `FRAMES[source]` frames, [b, t, h, w, f]; heard: [b, d] and phi [b] in {0, 1}, for SA and STA.
        Returns:
            [b, h, w, f'].
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

    def features(self, frames, audio, phi, train=False, mask=None):
        """What `encode_frames` gives of fragments' frames [b, ..., t, h, w, 3], and what `blend` makes of it, [b, ..., h', w', f']."""
        seen, lead = self.encode_frames(frames, train, mask), frames.shape[:-4]
        flat = {'seen': seen['C5'].reshape(-1, *seen['C5'].shape[-4:])}
        if self.source in SOUND:
            heard = self.encode_audio(audio, train, mask)
            flat |= {'heard': heard.reshape(-1, heard.shape[-1]), 'phi': phi.reshape(-1)}
        blended = self.blend(**flat)
        return seen, blended.reshape(*lead, *blended.shape[1:])


def spread(mask, lead):
    """A mask [b] for every one of the pictures or sounds of `lead` [b, ...], flat; None stays None."""
    return None if mask is None else jnp.broadcast_to(mask.reshape(-1, *[1] * (len(lead) - 1)), lead).reshape(-1)
