"""The students, which predict fixations without tags (TPAMI Sec. 5)."""
import flax.linen as nn
import jax
import jax.numpy as jnp

from stanet_jax.models import backbones, fusion
from stanet_jax.models.cgcn import CGCN

CHANNELS = 32  # of STA fuse and the decoder
NODE = 28  # channels of a node of STA+


class STA(nn.Module):
    """Spatial-temporal-audio fixation prediction (TPAMI Fig. 12-D, Eq. 15, 16).

    Attributes: as `classifiers.Classifier`.
    """
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, frames, audio, phi, *, train=False, mask=None):
        """Predicts the fixation map of the middle frame.

        Args:
            frames: [b, 3, h, w, 3], normalised.
            audio: log-spectrogram of the second around the target, [b, 257, T].
            phi: the audio switch, [b] in {0, 1}; with 0 the output does not depend on the audio.
            train, mask: as in `classifiers.Classifier`.
        Returns:
            logits [b, h, w], whose sigmoid is the map, and a dict of `features`, STA fuse's [b, h/8, w/8, 32].
        Raises:
            ValueError: not three frames.
        """
        encoded, sta = branch(self, frames, audio, phi, train, mask)
        c3, c4, s = (encoded[k][:, 1] for k in ('C3', 'C4', 'C5'))
        logits = Decoder(self.dtype, name='decoder')(c3, c4, s, sta, frames.shape[2:4])
        return logits, {'features': sta}


def branch(net, frames, audio, phi, train, mask):
    """The encoder's features of frames [b, 3, h, w, 3], {name: [b, 3, h', w', c]}, and STA fuse's (Eq. 15), [b, h', w', 32].

    Makes its parts in the compact module `net`, of STA's attributes; arguments as of its call.
    """
    b, t = frames.shape[:2]
    if t != 3:
        raise ValueError(f'STA looks at 3 frames, got {t}')
    fields = {'batch_norm': net.batch_norm, 'dtype': net.dtype}
    heard = backbones.create(net.audio_encoder, classes=0, name='audio_encoder', **fields)(audio, train=train, mask=mask)
    encoded = backbones.create(net.encoder, name='encoder', **fields)(
        frames.reshape(b * t, *frames.shape[2:]), train=train, mask=None if mask is None else jnp.repeat(mask, t))
    encoded = {k: x.reshape(b, t, *x.shape[1:]) for k, x in encoded.items()}
    s = encoded['C5'][:, 1]
    gates = (fusion.AudioMap(net.width, net.dtype, name='audio_map')(heard['embedding'], phi, s),
             fusion.TimeMap(net.width, net.dtype, name='time_map')(encoded['C5']))
    return encoded, nn.relu(nn.Conv(CHANNELS, (1, 1), dtype=net.dtype, name='fuse')(fusion.fuse_both(s, *gates)))


class STAPlus(nn.Module):
    """STA+ short or long: a target and other fragments of its video, by way of C-GCN (TPAMI Fig. 12-H, Eq. 18 to 20).

    Every fragment goes through STA's branch and a 1x1 convolution to 28 channels, C-GCN passes messages between these nodes, and a
    read-out that the nodes share makes a map of each: `Ref_1(up(Ref_32(h ++ s)))` with `Ref_p` a 1x1 convolution to p channels.

    Attributes: as of STA, and `steps`, `threshold`, `rate`, `refine` as of `cgcn.CGCN`.
    """
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
    def __call__(self, frames, audio, phi, *, train=False, mask=None):
        """Predicts the fixation maps of the fragments' middle frames.

        Args:
            frames: [b, n, 3, h, w, 3], normalised, the target's first; audio: [b, n, 257, T]; phi: [b, n].
            train, mask: [b], as in `classifiers.Classifier`.
        Returns:
            logits [b, n, h, w], whose sigmoids are the maps, and a dict of `features`, the nodes [b, n, h/8, w/8, 28].
        """
        b, n = frames.shape[:2]
        flat = (x.reshape(b * n, *x.shape[2:]) for x in (frames, audio, phi))
        encoded, sta = branch(self, *flat, train, None if mask is None else jnp.repeat(mask, n))
        h = nn.Conv(NODE, (1, 1), dtype=self.dtype, name='reduce')(sta)
        h = CGCN(self.steps, self.threshold, self.rate, self.refine, self.dtype, name='cgcn')(h.reshape(b, n, *h.shape[1:]))
        x = jnp.concatenate([h.reshape(b * n, *h.shape[2:]), encoded['C5'][:, 1]], axis=-1)
        x = nn.relu(nn.Conv(CHANNELS, (1, 1), dtype=self.dtype, kernel_init=fusion.he_normal(), name='read')(x))
        # The 1x1 convolution and the resize commute; in this order the resize has one channel to do.
        logits = nn.Conv(1, (1, 1), dtype=self.dtype, name='logits')(x)[..., 0].astype(jnp.float32)
        size = frames.shape[3:5]
        return jax.image.resize(logits, (b * n, *size), 'bilinear').reshape(b, n, *size), {'features': h}


class Decoder(nn.Module):
    """`up(Ref(Ref(C3) ++ up(Ref(Ref(C4) ++ up(Ref(Ref(C5) ++ sta))))))`, then one channel of logits (Eq. 16).

    `Ref` is a 3x3 convolution to 32 channels and a relu, `++` a concatenation, `up` a bilinear resize to the next feature's size.
    """
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, c3, c4, c5, sta, size):
        """Features [b, h', w', c] of one encoder and STA fuse's; size: (h, w) of the input -> logits [b, h, w], float32."""
        def ref(x, name):
            return nn.relu(nn.Conv(CHANNELS, (3, 3), dtype=self.dtype, kernel_init=fusion.he_normal(), name=name)(x))

        x = sta
        for level, feature, larger in ((5, c5, c4.shape[1:3]), (4, c4, c3.shape[1:3]), (3, c3, size)):
            x = ref(jnp.concatenate([ref(feature, f'refine{level}'), x], axis=-1), f'join{level}')
            if level > 3:
                x = jax.image.resize(x, (x.shape[0], *larger, CHANNELS), 'bilinear')
        # The 1x1 convolution and the resize commute; in this order the resize has one channel to do.
        logits = nn.Conv(1, (1, 1), dtype=self.dtype, name='logits')(x)[..., 0].astype(jnp.float32)
        return jax.image.resize(logits, (x.shape[0], *size), 'bilinear')
