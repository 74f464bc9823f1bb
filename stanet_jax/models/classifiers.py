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

    def setup(self):
        fields = {'batch_norm': self.batch_norm, 'dtype': self.dtype}
        if self.source in SOUND:
            self.audio_encoder_net = backbones.create(
                self.audio_encoder, classes=self.classes if self.source == 'A' else 0, name='audio_encoder', **fields)
        if self.source == 'A':
            return
        self.encoder_net = backbones.create(self.encoder, name='encoder', **fields)
        if self.source == 'SA':
            self.audio_map = fusion.AudioMap(self.width, self.dtype)
        if self.source == 'ST':
            self.time_map = fusion.TimeMap(self.width, self.dtype)
        self.classifier = nn.Conv(self.classes, (1, 1), dtype=self.dtype)
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
        heard = self.audio_encoder_net(audio, train=train, mask=mask) if self.source in SOUND else None
        if self.source == 'A':
            return heard['logits'].astype(jnp.float32), {}
        if frames.shape[1] != FRAMES[self.source]:
            raise ValueError(f'{self.source} looks at {FRAMES[self.source]} frames, got {frames.shape[1]}')
        return self._classify(self._encode(frames, train, mask), heard, phi)

    def along(self, frames, audio=None, phi=None):
        """Classifies every inner frame of stretches of video; each frame is encoded once, however many fragments it is part of.

        Args:
            frames: [b, n + 2, h, w, 3], n consecutive frames with one more at each end.
            audio, phi: of the inner frames, [b n, 257, T] and [b n].
        Returns:
            As `__call__` of the b n fragments.
        """
        heard = self.audio_encoder_net(audio) if self.source in SOUND else None
        encoded, n, reach = self._encode(frames), frames.shape[1] - 2, FRAMES[self.source] // 2
        fragments = jnp.stack([encoded[:, 1 + k:1 + k + n] for k in range(-reach, reach + 1)], axis=2)
        return self._classify(fragments.reshape(-1, *fragments.shape[2:]), heard, phi)

    def _encode(self, frames, train=False, mask=None):
        b, t = frames.shape[:2]
        mask = None if mask is None else jnp.repeat(mask, t)
        encoded = self.encoder_net(frames.reshape(b * t, *frames.shape[2:]), train=train, mask=mask)['C5']
        return encoded.reshape(b, t, *encoded.shape[1:])

    def _classify(self, encoded, heard, phi):
        features = s = encoded[:, encoded.shape[1] // 2]
        if self.source == 'SA':
            features = fusion.fuse(s, self.audio_map(heard['embedding'], phi, s))
        elif self.source == 'ST':
            features = fusion.fuse(s, self.time_map(encoded))
        maps = self.classifier(features).astype(jnp.float32)
        return maps.mean(axis=(1, 2)), {'maps': maps, 'features': features}
