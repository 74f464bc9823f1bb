"""The classification nets S, SA and ST (TPAMI Fig. 5 A-C) and their extensions S+, SA+ and ST+ (Fig. 5 E-G)."""
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models import blenders
from stanet_jax.models.branch import Audio, Branch, Frames
from stanet_jax.models.cgcn import fixation_refine
from stanet_jax.models.convolution import Conv

PLUS_NETS = ('S_short', 'ST_short', 'S_long', 'SA_long', 'ST_long', 'S_cross', 'SA_cross', 'ST_cross')  # S+, SA+, ST+ by granularity


class Classifier(Branch):
    """One of the nets S, SA and ST: features of the target frame, fused with sound or time, then one map for each class.

    The source A, an audio encoder with its own head, gives no maps; SA's audio encoder can be initialized from it where there are no
    VGGSound weights. STA, all sources in one net, serves as a comparison for SCAM (TPAMI Table 2).

    Attributes:
        source: 'A', 'S', 'SA', 'ST' or 'STA'.
        classes: number of categories, c.
        refine: whether the fixation refine layer is applied to the features before they are classified (TPAMI Table 1, line 12).

    The other fields are those of `branch.Branch`.
    """
    source: str
    classes: int
    encoder: str
    audio_encoder: str = 'vggsound'
    width: int = 512
    batch_norm: str = 'running'
    dtype: DTypeLike = jnp.float32
    sa_fuse: str = 'gate'
    refine: bool = False
    remat: bool = False

    def setup(self):
        super().setup()
        self.classify = Conv(self.classes, (1, 1), dtype=self.dtype, name='classifier')
        self.tagger = nn.Dense(self.classes, dtype=self.dtype, name='tagger')  # A's head on a frozen encoder

    def __call__(self, frames: Frames | None = None, audio: Audio | None = None,
                 phi: Num[AnyArray, ' b'] | None = None, *, train: bool = False,
                 mask: Bool[AnyArray, ' b'] | None = None) -> tuple[Float[jax.Array, 'b c'], dict[str, Float[AnyArray, 'b _h _w _k']]]:
        """Classifies fragments.

        Args:
            frames: [b, t, h, w, 3], normalised; t = 3 for ST and STA, else 1. Not used by A. Or their features, see `Branch`.
            audio: [b, f, t2], the second around the target as the audio encoder hears it. For SA, STA and A. Or its features.
            phi: the audio switch, in {0, 1}; with 0 the output does not depend on the audio. For SA and STA.
            train: whether batch statistics are used and updated, where `batch_norm` says so.
            mask: False at examples that only pad the batch.
        Returns:
            Logits, and a dict of `maps` (the class activation maps before `Z`) and `features`; empty for A.
        Raises:
            ValueError: another number of frames than the net takes.
        """
        if self.source == 'A':
            if isinstance(audio, Mapping):
                return self.tagger(self.encode_audio(audio)).astype(jnp.float32), {}
            return self.sound_encoder(audio, train=train, mask=mask)['logits'].astype(jnp.float32), {}
        assert frames is not None, f'{self.source} takes frames'
        fused = self.features(frames, audio, phi, train, mask).fused
        return self.answer(fixation_refine(fused) if self.refine else fused)

    def answer(self, features: Float[AnyArray, 'b h w f']) -> tuple[Float[jax.Array, 'b c'], dict[str, Float[AnyArray, 'b h w _k']]]:
        """Classifies features; returns what `__call__` does."""
        maps = self.classify(features).astype(jnp.float32)
        return maps.mean(axis=(1, 2)), {'maps': maps, 'features': features}


class ClassifierPlus(Classifier):
    """One of S+, SA+ and ST+: the branch of S, SA or ST on a target and other fragments, and reasoning between them (TPAMI Sec. 4).

    The fragments share the branch's parts and pass the encoder in one call. A 1x1 convolution `reduce` turns each fragment's features
    into a node with one map for each class, C-GCN passes messages between the nodes, and the target's node is classified.

    Attributes:
        blender: the net that passes the messages, its `name` and its fields; see `blenders.create`.

    The other fields are those of `Classifier`.
    """
    blender: Mapping = blenders.DEFAULT

    def setup(self):
        super().setup()
        self.reduce = Conv(self.classes, (1, 1), dtype=self.dtype, name='reduce')
        self.blender_net = blenders.create(**self.blender, dtype=self.dtype)

    def __call__(self, frames: Frames, audio: Audio | None = None,
                 phi: Num[AnyArray, 'b n'] | None = None, *, train: bool = False, mask: Bool[AnyArray, ' b'] | None = None,
                 every_node: bool = False) -> tuple[Float[jax.Array, 'b c'], dict[str, AnyArray]]:
        """Classifies targets.

        Args:
            frames: [b, n, t, h, w, 3], of the n fragments, the target's first; t = 3 for ST+, else 1. Or their features.
            audio: [b, n, f, t2], of the n fragments, for SA+.
            phi: of the n fragments, for SA+.
            train: as in `Classifier`.
            mask: as in `Classifier`.
            every_node: whether the other nodes are classified, too.
        Returns:
            Logits and the dict of `Classifier`, for the target; `features` are its node after the reasoning. With `every_node`, the dict
            also has the logits [b, n, c] of all nodes: `nodes`, and `before` the reasoning, the means of the nodes over places.
        """
        nodes = self.reduce(self.features(frames, audio, phi, train, mask).fused)
        if not every_node:
            return self.reason(nodes)
        blended = self.blender_net(nodes)
        logits, out = self.answer(blended[:, 0])
        others = self.classify(blended[:, 1:]).astype(jnp.float32).mean(axis=(2, 3))
        every = jnp.concatenate([logits[:, None], others], axis=1)
        return logits, {**out, 'nodes': every, 'before': nodes.astype(jnp.float32).mean(axis=(2, 3))}

    def node(self, seen: Float[AnyArray, 'b t h w f'], heard: Float[AnyArray, 'b d'] | None = None,
             phi: Num[AnyArray, ' b'] | None = None) -> Float[jax.Array, 'b h w c']:
        """The nodes of fragments, from what `encode_frames` and `encode_audio` give; the arguments are those of `Branch.blend`."""
        return self.reduce(self.blend(seen, heard, phi))

    def reason(self, nodes: Float[AnyArray, 'b n h w c']) -> tuple[Float[jax.Array, 'b c'], dict[str, Float[AnyArray, 'b h w c']]]:
        """Passes messages between nodes, the target's first, and classifies the target; returns what `__call__` does."""
        return self.answer(self.blender_net(nodes, 1)[:, 0])
