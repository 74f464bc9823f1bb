"""The classification nets S, SA and ST (TPAMI Fig. 5 A-C) and their extensions S+, SA+ and ST+ (Fig. 6 to 8)."""
import flax.linen as nn
import jax.numpy as jnp

from stanet_jax.models import backbones, fusion
from stanet_jax.models.cgcn import CGCN

FRAMES = {'A': 0, 'S': 1, 'SA': 1, 'ST': 3, 'STA': 3}  # how many frames each net looks at; the middle one is the target
SOUND = ('A', 'SA', 'STA')  # the nets that hear
PLUS = ('S_short', 'ST_short', 'S_long', 'SA_long', 'ST_long', 'S_cross', 'SA_cross', 'ST_cross')  # S+, SA+, ST+ by what else they see


def encode(net, frames, train=False, mask=None):
    """C5 of frames [b, t, h, w, 3] -> [b, t, h', w', f]; makes the part `encoder` in the compact module `net`."""
    b, t = frames.shape[:2]
    if t != FRAMES[net.source]:
        raise ValueError(f'{net.source} looks at {FRAMES[net.source]} frames, got {t}')
    encoder = backbones.create(net.encoder, name='encoder', batch_norm=net.batch_norm, dtype=net.dtype)
    encoded = encoder(frames.reshape(b * t, *frames.shape[2:]), train=train, mask=None if mask is None else jnp.repeat(mask, t))['C5']
    return encoded.reshape(b, t, *encoded.shape[1:])


def hear(net, audio, train=False, mask=None, classes=0):
    """`embedding` [b, d] of log-spectrograms [b, 257, T], and `logits`; makes the part `audio_encoder` in the compact module `net`."""
    encoder = backbones.create(net.audio_encoder, classes=classes, name='audio_encoder', batch_norm=net.batch_norm, dtype=net.dtype)
    return encoder(audio, train=train, mask=mask)


def blend(net, encoded, heard, phi):
    """The features of S, SA or ST, [b, h, w, f']: the middle of encoded [b, t, h, w, f], fused with sound (Eq. 5) or time (Eq. 6).

    Makes the part `audio_map` or `time_map` in the compact module `net`; heard [b, d] and phi [b] are for SA.
    """
    s = encoded[:, encoded.shape[1] // 2]
    if net.source == 'SA':
        return fusion.fuse(s, fusion.AudioMap(net.width, net.dtype, name='audio_map')(heard, phi, s))
    if net.source == 'ST':
        return fusion.fuse(s, fusion.TimeMap(net.width, net.dtype, name='time_map')(encoded))
    return s


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
        if self.source == 'A':
            return hear(self, audio, train, mask, self.classes)['logits'].astype(jnp.float32), {}
        heard = hear(self, audio, train, mask)['embedding'] if self.source in SOUND else None
        features = blend(self, encode(self, frames, train, mask), heard, phi)
        maps = nn.Conv(self.classes, (1, 1), dtype=self.dtype, name='classifier')(features).astype(jnp.float32)
        return maps.mean(axis=(1, 2)), {'maps': maps, 'features': features}


class ClassifierPlus(nn.Module):
    """One of S+, SA+ and ST+: the branch of S, SA or ST on a target and other fragments, which reason with each other (TPAMI Sec. 4).

    The branch's parts are shared by the fragments, which go through the encoder in one call; a 1x1 convolution `reduce` brings each
    to a map for each class, C-GCN passes messages between them, and the target's node is classified.

    Attributes: as of `Classifier`, and `steps`, `threshold`, `rate`, `refine` as of `cgcn.CGCN`.
    """
    source: str
    classes: int
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: jnp.dtype = jnp.float32
    steps: int = 3
    threshold: float = 0.8
    rate: float = 0.6
    refine: bool = True

    @nn.compact
    def __call__(self, frames=None, audio=None, phi=None, *, encoded=None, heard=None, train=False, mask=None):
        """Classifies targets.

        Args:
            frames: [b, n, t, h, w, 3], normalised, the target's first; t = 3 for ST+, else 1.
            audio: [b, n, 257, T] and phi: [b, n], for SA+; see `Classifier`.
            encoded: [b, n, t, h', w', f], in place of frames: what the part `encoder` makes of them; heard: [b, n, d], likewise of audio.
            train, mask: [b], see `Classifier`.
        Returns:
            As `Classifier`, of the target; `features` are all nodes' [b, n, h', w', c].
        """
        b, n = (frames if encoded is None else encoded).shape[:2]
        frames, audio, phi, encoded, heard = (None if x is None else x.reshape(b * n, *x.shape[2:])
                                              for x in (frames, audio, phi, encoded, heard))
        mask = None if mask is None else jnp.repeat(mask, n)
        if encoded is None:
            encoded = encode(self, frames, train, mask)
        if heard is None and self.source in SOUND:
            heard = hear(self, audio, train, mask)['embedding']
        features = blend(self, encoded, heard, phi)
        h = nn.Conv(self.classes, (1, 1), dtype=self.dtype, name='reduce')(features)
        h = CGCN(self.steps, self.threshold, self.rate, self.refine, self.dtype, name='cgcn')(h.reshape(b, n, *h.shape[1:]))
        maps = nn.Conv(self.classes, (1, 1), dtype=self.dtype, name='classifier')(h[:, 0]).astype(jnp.float32)
        return maps.mean(axis=(1, 2)), {'maps': maps, 'features': h}
