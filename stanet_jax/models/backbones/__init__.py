"""Encoders of images and of sound. `create(name, ...)` makes one.

All share one interface: `net.apply(variables, x, train=False, mask=None)` returns a dict of named features: `C3`, `C4` and `C5` of
images, `embedding` and `logits` of sound.
"""
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from stanet_jax.arrays import AnyArray
from stanet_jax.models.backbones.classes import heard_as, image_classes, seen_when_heard, sound_classes
from stanet_jax.models.backbones.efficientnet_lite import EfficientNetLite
from stanet_jax.models.backbones.resnet38 import ResNet38
from stanet_jax.models.backbones.resnext import ResNeXt
from stanet_jax.models.backbones.tiny import Tiny, TinyAudio
from stanet_jax.models.backbones.vgg import VGG16
from stanet_jax.models.backbones.vggsound import VGGSound
from stanet_jax.models.backbones.yamnet import YAMNet

__all__ = ['BACKBONES', 'IMAGE', 'MEAN', 'SOUND', 'STD', 'create', 'heard_as', 'image_classes', 'normalise', 'seen_when_heard',
           'sound_classes']

IMAGE: dict[str, Callable[..., nn.Module]] = {
    'tiny': Tiny, 'vgg16': VGG16, 'resnext101_32x8d': ResNeXt, 'resnet38': ResNet38,
    'resnet101': partial(ResNeXt, groups=1, width_per_group=64, dilated=2),
    'efficientnet_lite0': EfficientNetLite, 'efficientnet_lite0_dilated': partial(EfficientNetLite, dilated=True),
    'efficientnet_lite1': partial(EfficientNetLite, depth=1.1), 'efficientnet_lite2': partial(EfficientNetLite, width=1.1, depth=1.2)}
SOUND: dict[str, Callable[..., nn.Module]] = {
    'tiny_audio': TinyAudio, 'vggsound': VGGSound, 'vggsound_average': partial(VGGSound, pool='average'), 'yamnet': YAMNet}
BACKBONES = {**IMAGE, **SOUND}
REMAT = ('vgg16', 'resnext101_32x8d', 'resnet101')  # the encoders that have `remat`
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # of ImageNet


def create(name: str, /, **fields: Any) -> nn.Module:
    """Makes an encoder.

    Args:
        name: a key of `BACKBONES`.
        **fields: fields of its module. All have `dtype`, that of the computation and of the features (the parameters
            are float32), and `batch_norm`. With 'running', features are always normalised by the running statistics; with
            'batch' and `train=True`, by those of the batch, which also update the running ones. A batch's statistics are
            those of the examples that `mask` marks as real, or of all without a mask; at least one must be real, or they
            are NaN. Those of `REMAT` have `remat`: the backward pass keeps what goes from block to block alone and computes the rest
            again, the same to rounding, for less memory and about a third more time of a step.
    Raises:
        ValueError: an unknown name, or an unknown `batch_norm`.
    """
    if name not in BACKBONES:
        raise ValueError(f'Unknown backbone {name!r}. Choose one of: {", ".join(BACKBONES)}.')
    if fields.get('batch_norm', 'running') not in ('running', 'batch'):
        raise ValueError(f"batch_norm is 'running' or 'batch', got {fields['batch_norm']!r}.")
    return BACKBONES[name](**fields)


def normalise(name: str, frames: Num[AnyArray, '*lead h w 3']) -> Float[jax.Array, '*lead h w 3']:
    """Turns RGB frames, from 0 to 255, into what the image encoder `name` takes.

    EfficientNet-Lite takes `(x - 127) / 128`, the others what is left of `x / 255` after ImageNet's mean and standard deviation.

    Raises:
        ValueError: the name is no image encoder's.
    """
    if name not in IMAGE:
        raise ValueError(f'Unknown image encoder {name!r}. Choose one of: {", ".join(IMAGE)}.')
    x = jnp.asarray(frames, jnp.float32)
    return (x - 127) / 128 if name.startswith('efficientnet_lite') else (x / 255 - MEAN) / STD


def contrast_levels(name: str) -> tuple[str, ...]:
    """The features whose contrast is taken of the image encoder `name`; those that it gives only with `inner=True` are among them."""
    return ('C2', 'C4', 'B5') if name.startswith('efficientnet_lite') else ('C3', 'C4', 'C5')


def hears(name: str) -> str:
    """Which of `media.sound.FRONT_ENDS` makes the input of the sound encoder `name`; ValueError where it is none."""
    if name not in SOUND:
        raise ValueError(f'Unknown sound encoder {name!r}. Choose one of: {", ".join(SOUND)}.')
    return 'log_mel' if name == 'yamnet' else 'log_spectrogram'
