"""The students, which predict fixations without tags (TPAMI Sec. 5)."""
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Float32, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models import blenders, fusion
from stanet_jax.models.branch import Audio, Branch, Frames
from stanet_jax.models.convolution import Conv

CHANNELS = 32  # of the decoder and of the read-out
NODE = 28  # channels of a node of STA+


class STA(Branch):
    """Spatial-temporal-audio fixation prediction (TPAMI Fig. 12-D, Eq. 15, 16). The fields are those of `branch.Branch`."""
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    source, sa_fuse = 'STA', 'gate'

    def setup(self):
        super().setup()
        self.decoder = Decoder(self.dtype, name='decoder')

    def __call__(self, frames: Frames, audio: Audio, phi: Num[AnyArray, ' b'], *, train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None, size: Sequence[int] | None = None,
                 ) -> tuple[Float[jax.Array, 'b h w'], dict[str, Float[AnyArray, 'b h2 w2 32']]]:
        """Predicts the fixation map of the middle one of three frames.

        Args:
            frames: [b, 3, h, w, 3], normalised; or their features, see `Branch`, of C3 and C4 those of the target alone.
            audio: [b, f, t], the second around the target as the audio encoder hears it; or its features.
            phi: the audio switch, in {0, 1}; with 0 the output does not depend on the audio.
            train: as in `classifiers.Classifier`.
            mask: as in `classifiers.Classifier`.
            size: (h, w) of the map; that of the frames where these are given.
        Returns:
            Logits, whose sigmoid is the map, and a dict of `features`, those of STA fuse, at the size of `C5`.
        Raises:
            ValueError: another number of frames.
        """
        seen, sta = self.features(frames, audio, phi, train, mask)
        c3, c4, c5 = (seen[level][:, seen[level].shape[1] // 2] for level in ('C3', 'C4', 'C5'))
        return self.decode(c3, c4, c5, sta, size or map_size(frames))

    def decode(self, c3: Float[AnyArray, 'b h3 w3 k3'], c4: Float[AnyArray, 'b h4 w4 k4'], c5: Float[AnyArray, 'b h2 w2 k5'],
               sta: Float[AnyArray, 'b h2 w2 32'], size: Sequence[int],
               ) -> tuple[Float[jax.Array, 'b h w'], dict[str, Float[AnyArray, 'b h2 w2 32']]]:
        """Decodes the target frame's features and those of STA fuse to a map of `size` (h, w); returns what `__call__` does."""
        return self.decoder(c3, c4, c5, sta, size), {'features': sta}


class STAPlus(Branch):
    """STA+ short or long: a target and other fragments of its video, related by C-GCN (TPAMI Fig. 12-H, Eq. 18 to 20).

    Every fragment passes STA's branch and a 1x1 convolution to 28 channels, C-GCN passes messages between these nodes, and a read-out
    that the nodes share turns each into a map: `Ref_1(up(Ref_32(h ++ s)))` with `Ref_p` a 1x1 convolution to p channels.

    Attributes:
        blender: the net that passes the messages, its `name` and its fields; see `blenders.create`.

    The other fields are those of `branch.Branch`.
    """
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    blender: Mapping = blenders.DEFAULT
    source, sa_fuse = 'STA', 'gate'

    def setup(self):
        super().setup()
        self.reduce = Conv(NODE, (1, 1), dtype=self.dtype, name='reduce')
        self.blender_net = blenders.create(**self.blender, dtype=self.dtype)
        self.read = Conv(CHANNELS, (1, 1), dtype=self.dtype, kernel_init=fusion.he_normal(), name='read')
        self.logits = Conv(1, (1, 1), dtype=self.dtype, name='logits')

    def __call__(self, frames: Frames, audio: Audio, phi: Num[AnyArray, 'b n'], *, train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None, size: Sequence[int] | None = None,
                 ) -> tuple[Float[jax.Array, 'b n h w'], dict[str, Float[AnyArray, 'b n h2 w2 28']]]:
        """Predicts the fixation maps of the middle frames of n fragments.

        Args:
            frames: [b, n, 3, h, w, 3], normalised, the target's first; or their features.
            audio: [b, n, f, t], of the n fragments, as in `STA`.
            phi: of the n fragments, as in `STA`.
            train: as in `classifiers.Classifier`.
            mask: as in `classifiers.Classifier`.
            size: as in `STA`.
        Returns:
            Logits, whose sigmoids are the maps, and a dict of `features`, the nodes after the reasoning, at the size of `C5`.
        Raises:
            ValueError: another number of frames in a fragment.
        """
        seen, sta = self.features(frames, audio, phi, train, mask)
        return self.decode(self.reduce(sta), seen['C5'][:, :, 1], size or map_size(frames))

    def node(self, seen: Float[AnyArray, 'b t h w f'], heard: Float[AnyArray, 'b d'], phi: Num[AnyArray, ' b'],
             ) -> Float[jax.Array, 'b h w 28']:
        """The nodes of fragments, from what `encode_frames` and `encode_audio` give; the arguments are those of `Branch.blend`."""
        return self.reduce(self.blend(seen, heard, phi))

    def decode(self, nodes: Float[AnyArray, 'b n h2 w2 28'], s: Float[AnyArray, 'b k h2 w2 f'], size: Sequence[int],
               ) -> tuple[Float[jax.Array, 'b k h w'], dict[str, Float[AnyArray, 'b k h2 w2 28']]]:
        """Passes messages between nodes and reads out the maps of the first k; returns what `__call__` does, for these k nodes.

        Args:
            nodes: of n fragments, the target's first.
            s: `C5` of the middle frames of the first k fragments.
            size: (h, w) of the maps.
        """
        b, k = s.shape[:2]
        h = self.blender_net(nodes, k)
        x = jnp.concatenate([h, s], axis=-1)
        # The 1x1 convolution and the resize commute; in this order the resize has one channel to do.
        logits = self.logits(nn.relu(self.read(x)))[..., 0].astype(jnp.float32)
        return jax.image.resize(logits, (b, k, *size), 'bilinear'), {'features': h}


def map_size(frames: Frames) -> tuple[int, int]:
    """The height and width of frames, which a map has; ValueError where features are given in their place."""
    if isinstance(frames, Mapping):
        raise ValueError('a map made of features needs a size')
    return frames.shape[-3], frames.shape[-2]


class Decoder(nn.Module):
    """`up(Ref(Ref(C3) ++ up(Ref(Ref(C4) ++ up(Ref(Ref(C5) ++ sta))))))`, then one channel of logits (Eq. 16).

    `Ref` is a 3x3 convolution to 32 channels with a relu, `++` a concatenation, `up` a bilinear resize to the next feature's size.
    """
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, c3: Float[AnyArray, 'b h3 w3 k3'], c4: Float[AnyArray, 'b h4 w4 k4'], c5: Float[AnyArray, 'b h2 w2 k5'],
                 sta: Float[AnyArray, 'b h2 w2 32'], size: Sequence[int]) -> Float32[jax.Array, 'b h w']:
        """The logits of a map of `size` (h, w), from the features of an encoder and those of STA fuse."""
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
