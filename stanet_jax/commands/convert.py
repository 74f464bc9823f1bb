"""Weights of torch networks for our encoders: torchvision's VGG-16, ResNet-101, ResNeXt-101 (or WSL's), VGGSound's, EPS's ResNet-38.

    stanet convert --name=vgg16 --src=vgg16-397923af.pth --out=weights/vgg16

writes what configs take as `config.encoder.weights` or `config.audio_encoder.weights`. Needs no torch, runs no code of the file.
"""
from absl import flags

from stanet_jax import cli

NAME = flags.DEFINE_string('name', None, 'Which encoder: vgg16, resnext101_32x8d, vggsound, resnet38 or resnet101.')
SRC = flags.DEFINE_string('src', None, 'File to read: .pth, .pt or .safetensors.')
OUT = flags.DEFINE_string('out', None, 'Folder to write.')
REQUIRED = ('name', 'src', 'out')


def main() -> None:
    """Converts the file, writes the weights and prints how many there are and which tensors of the file are not used."""
    import jax

    from stanet_jax.training import checkpoint
    from stanet_jax.weights.convert import convert
    converted = convert(cli.required(SRC), cli.required(NAME))
    checkpoint.replace_variables(cli.required(OUT), converted.variables)
    counters = [key for key in converted.unused if key.endswith('num_batches_tracked')]
    rest = [key for key in converted.unused if key not in counters] + ([f'{len(counters)} x num_batches_tracked'] if counters else [])
    print(f'{OUT.value}: {sum(x.size for x in jax.tree.leaves(converted.variables)):,} numbers of {NAME.value}; '
          f'not used: {", ".join(rest) or "nothing"}')
