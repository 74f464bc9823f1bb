"""The classification nets S, SA and ST (TPAMI Fig. 5 A-C) and their extensions S+, SA+ and ST+ (Fig. 6 to 8)."""
from collections.abc import Mapping

import jax.numpy as jnp
from jax.typing import DTypeLike

from stanet_jax.models import blenders
from stanet_jax.models.branch import Branch
from stanet_jax.models.convolution import Conv

PLUS_NETS = ('S_short', 'ST_short', 'S_long', 'SA_long', 'ST_long', 'S_cross', 'SA_cross', 'ST_cross')  # S+, SA+, ST+ by what else they see


class Classifier(Branch):
    """One of the nets S, SA and ST: features of the target frame, fused with sound or time, to one map for each class.

    A, an audio encoder alone with a head of its own, gives no maps: it is what SA's audio encoder can begin from where there are
    no VGGSound weights. STA, all sources in one net, is there to compare SCAM to (TPAMI Table 2).

    Attributes:
        source: 'A', 'S', 'SA', 'ST' or 'STA'.
        classes: number of categories, c.
        others: see `branch.Branch`.
    """
    source: str
    classes: int
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32
    sa_fuse: str = 'gate'

    def setup(self):
        super().setup()
        self.classify = Conv(self.classes, (1, 1), dtype=self.dtype, name='classifier')

    def __call__(self, frames=None, audio=None, phi=None, *, train=False, mask=None):
        """Classifies fragments.

        Args:
            frames: [b, t, h, w, 3], normalised; t = 3 for ST and STA, else 1. Not for A.
            audio: log-spectrogram of the second around the target, [b, 257, T]; for SA, STA and A.
            phi: the audio switch, [b] in {0, 1}; with 0 the output does not depend on the audio. For SA and STA.
            train: batch statistics are used and updated where `batch_norm` says so.
            mask: [b], False at examples that only pad the batch.
        Returns:
            logits [b, c], and a dict of `maps` [b, h', w', c] (the class activation maps before `Z`) and `features`.
        Raises:
            ValueError: not the number of frames that the net looks at.
        """
        if self.source == 'A':
            return self.sound_encoder(audio, train=train, mask=mask)['logits'].astype(jnp.float32), {}
        return self.answer(self.features(frames, audio, phi, train, mask)[1])

    def answer(self, features):
        """The classifier on features [b, h', w', f]; see `__call__`."""
        maps = self.classify(features).astype(jnp.float32)
        return maps.mean(axis=(1, 2)), {'maps': maps, 'features': features}


class ClassifierPlus(Classifier):
    """One of S+, SA+ and ST+: the branch of S, SA or ST on a target and other fragments, which reason with each other (TPAMI Sec. 4).

    The branch's parts are shared by the fragments, which go through the encoder in one call; a 1x1 convolution `reduce` brings each
    to a map for each class, C-GCN passes messages between these nodes, and the target's is classified.

    Attributes:
        blender: what passes the messages, see `blenders.create`: its `name` and its fields.
        others: as of `Classifier`.
    """
    blender: Mapping = blenders.DEFAULT

    def setup(self):
        super().setup()
        self.reduce = Conv(self.classes, (1, 1), dtype=self.dtype, name='reduce')
        self.blender_net = blenders.create(**self.blender, dtype=self.dtype)

    def __call__(self, frames=None, audio=None, phi=None, *, train=False, mask=None):
        """Classifies targets.

        Args:
            frames: [b, n, t, h, w, 3], normalised, the target's first; t = 3 for ST+, else 1.
            audio: [b, n, 257, T] and phi: [b, n], for SA+; see `Classifier`.
            train, mask: [b], see `Classifier`.
        Returns:
            As `Classifier`, of the target; `features` are its node after the reasoning, [b, h', w', c].
        """
        return self.reason(self.reduce(self.features(frames, audio, phi, train, mask)[1]))

    def node(self, seen, heard=None, phi=None):
        """The nodes [b, h', w', c] of fragments, from what `encode_frames` and `encode_audio` made of them; see `Branch.blend`."""
        return self.reduce(self.blend(seen, heard, phi))

    def reason(self, nodes):
        """Nodes [b, n, h', w', c], the target's first -> as `__call__`."""
        return self.answer(self.blender_net(nodes, 1)[:, 0])
