"""The students, which predict fixations without tags (TPAMI Sec. 5)."""
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stanet_jax.models import blenders, fusion
from stanet_jax.models.branch import Branch
from stanet_jax.models.convolution import Conv

CHANNELS = 32  # of the decoder and the read-out
NODE = 28  # channels of a node of STA+


class STA(Branch):
    """Spatial-temporal-audio fixation prediction (TPAMI Fig. 12-D, Eq. 15, 16).

    Attributes: see `branch.Branch`.
    """
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32
    source, sa_fuse = 'STA', 'gate'

    def setup(self):
        super().setup()
        self.decoder = Decoder(self.dtype, name='decoder')

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
        seen, sta = self.features(frames, audio, phi, train, mask)
        return self.decode(*(seen[level][:, 1] for level in ('C3', 'C4', 'C5')), sta, frames.shape[2:4])

    def decode(self, c3, c4, c5, sta, size):
        """The target frame's features and STA fuse's -> as `__call__`; size: (h, w) of the map."""
        return self.decoder(c3, c4, c5, sta, size), {'features': sta}


class STAPlus(Branch):
    """STA+ short or long: a target and other fragments of its video, by way of C-GCN (TPAMI Fig. 12-H, Eq. 18 to 20).

    Every fragment goes through STA's branch and a 1x1 convolution to 28 channels, C-GCN passes messages between these nodes, and a
    read-out that the nodes share makes a map of each: `Ref_1(up(Ref_32(h ++ s)))` with `Ref_p` a 1x1 convolution to p channels.

    Attributes:
        blender: what passes the messages, see `blenders.create`: its `name` and its fields.
        others: see `branch.Branch`.
    """
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32
    blender: Mapping = blenders.DEFAULT
    source, sa_fuse = 'STA', 'gate'

    def setup(self):
        super().setup()
        self.reduce = Conv(NODE, (1, 1), dtype=self.dtype, name='reduce')
        self.blender_net = blenders.create(**self.blender, dtype=self.dtype)
        self.read = Conv(CHANNELS, (1, 1), dtype=self.dtype, kernel_init=fusion.he_normal(), name='read')
        self.logits = Conv(1, (1, 1), dtype=self.dtype, name='logits')

    def __call__(self, frames, audio, phi, *, train=False, mask=None):
        """Predicts the fixation maps of the fragments' middle frames.

        Args:
            frames: [b, n, 3, h, w, 3], normalised, the target's first; audio: [b, n, 257, T]; phi: [b, n].
            train, mask: [b], as in `classifiers.Classifier`.
        Returns:
            logits [b, n, h, w], whose sigmoids are the maps, and a dict of `features`, the nodes after the reasoning [b, n, h/8, w/8, 28].
        """
        seen, sta = self.features(frames, audio, phi, train, mask)
        return self.decode(self.reduce(sta), seen['C5'][:, :, 1], frames.shape[3:5])

    def node(self, seen, heard, phi):
        """The nodes [b, h', w', 28] of fragments, from what `encode_frames` and `encode_audio` made of them; see `Branch.blend`."""
        return self.reduce(self.blend(seen, heard, phi))

    def decode(self, nodes, s, size):
        """Nodes [b, n, h', w', 28] and the first k nodes' own features [b, k, h', w', f] -> as `__call__`, for these k nodes."""
        b, k = s.shape[:2]
        h = self.blender_net(nodes, k)
        x = jnp.concatenate([h, s], axis=-1)
        # The 1x1 convolution and the resize commute; in this order the resize has one channel to do.
        logits = self.logits(nn.relu(self.read(x)))[..., 0].astype(jnp.float32)
        return jax.image.resize(logits, (b, k, *size), 'bilinear'), {'features': h}


class Decoder(nn.Module):
    """`up(Ref(Ref(C3) ++ up(Ref(Ref(C4) ++ up(Ref(Ref(C5) ++ sta))))))`, then one channel of logits (Eq. 16).

    `Ref` is a 3x3 convolution to 32 channels and a relu, `++` a concatenation, `up` a bilinear resize to the next feature's size.
    """
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, c3, c4, c5, sta, size):
        """Features [b, h', w', c] of one encoder and STA fuse's; size: (h, w) of the input -> logits [b, h, w], float32."""
        def ref(x, name):
            return nn.relu(Conv(CHANNELS, (3, 3), dtype=self.dtype, kernel_init=fusion.he_normal(), name=name)(x))

        x = sta
        for level, feature, larger in ((5, c5, c4.shape[1:3]), (4, c4, c3.shape[1:3]), (3, c3, size)):
            x = ref(jnp.concatenate([ref(feature, f'refine{level}'), x], axis=-1), f'join{level}')
            if level > 3:
                x = jax.image.resize(x, (x.shape[0], *larger, CHANNELS), 'bilinear')
        # The 1x1 convolution and the resize commute; in this order the resize has one channel to do.
        logits = Conv(1, (1, 1), dtype=self.dtype, name='logits')(x)[..., 0].astype(jnp.float32)
        return jax.image.resize(logits, (x.shape[0], *size), 'bilinear')
