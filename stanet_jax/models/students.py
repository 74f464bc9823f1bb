"""The students, which predict fixations without tags (TPAMI Sec. 5)."""
import flax.linen as nn
import jax
import jax.numpy as jnp

from stanet_jax.models import backbones, fusion

CHANNELS = 32  # of the decoder


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
        b, t, height, width = frames.shape[:4]
        if t != 3:
            raise ValueError(f'STA looks at 3 frames, got {t}')
        fields = {'batch_norm': self.batch_norm, 'dtype': self.dtype}
        heard = backbones.create(self.audio_encoder, classes=0, name='audio_encoder', **fields)(audio, train=train, mask=mask)
        encoded = backbones.create(self.encoder, name='encoder', **fields)(
            frames.reshape(b * t, *frames.shape[2:]), train=train, mask=None if mask is None else jnp.repeat(mask, t))
        encoded = {k: x.reshape(b, t, *x.shape[1:]) for k, x in encoded.items()}
        c3, c4, s = (encoded[k][:, 1] for k in ('C3', 'C4', 'C5'))
        gates = (fusion.AudioMap(self.width, self.dtype, name='audio_map')(heard['embedding'], phi, s),
                 fusion.TimeMap(self.width, self.dtype, name='time_map')(encoded['C5']))
        sta = nn.relu(nn.Conv(CHANNELS, (1, 1), dtype=self.dtype, name='fuse')(fusion.fuse_both(s, *gates)))
        logits = Decoder(self.dtype, name='decoder')(c3, c4, s, sta, (height, width))
        return logits, {'features': sta}


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
