"""Weights for our encoders: torchvision's VGG-16, ResNet-101, ResNeXt-101 (or WSL's), VGGSound's, EPS's ResNet-38, YAMNet's.

    stanet convert --name=vgg16 --src=vgg16-397923af.pth --out=weights/vgg16

    stanet convert --name=yamnet --src=yamnet.h5

writes what configs take as `config.encoder.weights` or `config.audio_encoder.weights`: a folder, or without --out the cache, whose weights
configs find by 'fetched'. Needs no torch and no TensorFlow, runs no code of the file.
"""
from absl import flags

from stanet_jax import cli

NAME = flags.DEFINE_string('name', None, 'Which encoder: vgg16, resnext101_32x8d, resnet101, resnet38, vggsound, yamnet, ...')
SRC = flags.DEFINE_string('src', None, 'What to read: a .pth, .pt, .safetensors or .h5 file, or the folder of a SavedModel.')
OUT = flags.DEFINE_string('out', '', 'Folder to write; by default the cache, where weights=fetched finds them.')
PREFIX = flags.DEFINE_string('prefix', '', 'What comes before the names of the tensors, in a file of torch that holds the encoder '
                             'several times: model, ema, ...')
REQUIRED = ('name', 'src')


def main() -> None:
    """Converts the file, writes the weights and prints how many there are and which tensors of the file are not used."""
    import jax

    from stanet_jax.training import checkpoint
    from stanet_jax.weights import sources
    from stanet_jax.weights.convert import convert
    converted = convert(cli.required(SRC), cli.required(NAME), PREFIX.value)
    if OUT.value:
        checkpoint.replace_variables(OUT.value, converted.variables)
    place = OUT.value or sources.keep(sources.source_of(cli.required(NAME)), converted.variables)
    counters = [key for key in converted.unused if key.endswith('num_batches_tracked')]
    rest = [key for key in converted.unused if key not in counters] + ([f'{len(counters)} x num_batches_tracked'] if counters else [])
    print(f'{place}: {sum(x.size for x in jax.tree.leaves(converted.variables)):,} numbers of {NAME.value}; '
          f'not used: {", ".join(rest) or "nothing"}')
