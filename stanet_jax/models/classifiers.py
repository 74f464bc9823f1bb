"""The classification nets S, SA and ST (TPAMI Fig. 5 A-C)."""
import flax.linen as nn
import jax.numpy as jnp

from stanet_jax.models import backbones, fusion

FRAMES = {'A': 0, 'S': 1, 'SA': 1, 'ST': 3}  # how many frames each net looks at; the middle one is the target
SOUND = ('A', 'SA')  # the nets that hear


class Classifier(nn.Module):
    """One of the nets S, SA and ST: features of the target frame, fused with sound or time, to one map for each class.

    A, an audio encoder alone with a head of its own, gives no maps: it is what SA's audio encoder can begin from where there are
    no VGGSound weights.

    Attributes:
        source: 'A', 'S', 'SA' or 'ST'.
        classes: number of categories, c.
        encoder: name of the image encoder, audio_encoder: of the audio encoder; see `backbones.create`.
        width: inner width of the fusions.
        batch_norm: 'running' or 'batch' statistics in the encoders during training.
        dtype: of the computation; parameters are float32.
    """
    source: str
    classes: int
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, frames=None, audio=None, phi=None, *, train=False, mask=None):
        """Classifies fragments.

        Args:
            frames: [b, t, h, w, 3], normalised; t = 3 for ST, else 1. Not for A.
            audio: log-spectrogram of the second around the target, [b, 257, T]; for SA and A.
            phi: the audio switch, [b] in {0, 1}; with 0 the output does not depend on the audio. For SA.
            train: batch statistics are used and updated where `batch_norm` says so.
            mask: [b], False at examples that only pad the batch.
        Returns:
            logits [b, c], and a dict of `maps` [b, h', w', c] (the class activation maps before `Z`) and `features`.
        Raises:
            ValueError: not the number of frames that the net looks at.
        """
        fields = {'batch_norm': self.batch_norm, 'dtype': self.dtype}
        heads = self.classes if self.source == 'A' else 0
        if self.source in SOUND:
            listen = backbones.create(self.audio_encoder, classes=heads, name='audio_encoder', **fields)
            heard = listen(audio, train=train, mask=mask)
        if self.source == 'A':
            return heard['logits'].astype(jnp.float32), {}

        b, t = frames.shape[:2]
        if t != FRAMES[self.source]:
            raise ValueError(f'{self.source} looks at {FRAMES[self.source]} frames, got {t}')
        encoder = backbones.create(self.encoder, name='encoder', **fields)
        encoded = encoder(frames.reshape(b * t, *frames.shape[2:]), train=train,
                          mask=None if mask is None else jnp.repeat(mask, t))['C5']
        encoded = encoded.reshape(b, t, *encoded.shape[1:])
        features = s = encoded[:, t // 2]
        if self.source == 'SA':
            gate = fusion.AudioMap(self.width, self.dtype, name='audio_map')(heard['embedding'], phi, s)
            features = fusion.fuse(s, gate)
        elif self.source == 'ST':
            features = fusion.fuse(s, fusion.TimeMap(self.width, self.dtype, name='time_map')(encoded))
        maps = nn.Conv(self.classes, (1, 1), dtype=self.dtype, name='classifier')(features).astype(jnp.float32)
        return maps.mean(axis=(1, 2)), {'maps': maps, 'features': features}
