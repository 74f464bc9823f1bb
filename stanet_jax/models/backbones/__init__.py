"""Encoders of images and of sound. `create(name, ...)` makes one.

All share one interface: `net.apply(variables, x, train=False, mask=None)` returns a dict of named features. Images give
`C3`, `C4` and `C5`, sound gives `embedding` and `logits`.
"""
from functools import partial

from stanet_jax.models.backbones.resnet38 import ResNet38
from stanet_jax.models.backbones.resnext import ResNeXt
from stanet_jax.models.backbones.tiny import Tiny, TinyAudio
from stanet_jax.models.backbones.vgg import VGG16
from stanet_jax.models.backbones.vggsound import VGGSound

IMAGE = {'tiny': Tiny, 'vgg16': VGG16, 'resnext101_32x8d': ResNeXt, 'resnet38': ResNet38,
         'resnet101': partial(ResNeXt, groups=1, width_per_group=64, dilated=2)}
SOUND = {'tiny_audio': TinyAudio, 'vggsound': VGGSound, 'vggsound_average': partial(VGGSound, pool='average')}
BACKBONES = {**IMAGE, **SOUND}


def create(name, /, **fields):
    """Makes the encoder `name`.

    Args:
        name: a key of `BACKBONES`.
        **fields: fields of its module. All have `dtype`, that of the computation and of the features (the parameters
            are float32), and `batch_norm`. 'running' always normalises by the running statistics; 'batch' does so by
            those of the batch when `train=True`, and moves the running ones. A batch's statistics are of the examples
            that `mask` [b] marks as real, all of them without a mask; at least one must be, or they are NaN.
    Returns:
        A Linen module.
    Raises:
        ValueError: an unknown name, or a `batch_norm` that is neither.
    """
    if name not in BACKBONES:
        raise ValueError(f'Unknown backbone {name!r}. Choose one of: {", ".join(BACKBONES)}.')
    if fields.get('batch_norm', 'running') not in ('running', 'batch'):
        raise ValueError(f"batch_norm is 'running' or 'batch', got {fields['batch_norm']!r}.")
    return BACKBONES[name](**fields)
