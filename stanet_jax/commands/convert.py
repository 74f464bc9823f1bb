"""Weights for our encoders: torchvision's VGG-16, ResNet-101, ResNeXt-101 (or WSL's), VGGSound's, EPS's ResNet-38, YAMNet's.

    stanet convert --name=vgg16 --src=vgg16-397923af.pth --out=weights/vgg16

    stanet convert --name=yamnet --src=yamnet.h5

writes what configs take as `config.encoder.weights` or `config.audio_encoder.weights`: a folder, or without --out the cache, whose weights
configs find by 'fetched'. Needs no torch and no TensorFlow, runs no code of the file.

    stanet convert --name=release --src=STANet.pth --out=runs/released

makes a run of the authors' checkpoints, to which further files are added, or all of a folder at once; of EPS's, a run of EPS
(docs/release.md).
"""
import pathlib

from absl import flags

from stanet_jax import InputError, cli

NAME = flags.DEFINE_string('name', None, 'Which encoder: vgg16, resnext101_32x8d, resnet101, resnet38, vggsound, yamnet, ...; or release.')
SRC = flags.DEFINE_string('src', None, 'What to read: a .pth, .pt, .params, .safetensors or .h5 file, the folder of a SavedModel, or with '
                          '--name=release a folder of files.')
OUT = flags.DEFINE_string('out', '', 'Folder to write; by default the cache, where weights=fetched finds them. With --name=release the '
                          "run's folder.")
PREFIX = flags.DEFINE_string('prefix', '', 'What comes before the names of the tensors, in a file of torch that holds the encoder '
                             'several times: model, ema, ...')
REQUIRED = ('name', 'src')


def main() -> None:
    """Converts the file, writes the weights and prints how many there are and which tensors of the file are not used."""
    import jax

    from stanet_jax.scratch import hold_output
    from stanet_jax.training import checkpoint
    from stanet_jax.weights import sources
    from stanet_jax.weights.convert import convert, summary
    if NAME.value == 'release':
        if not OUT.value:
            raise InputError('--out: needed with --name=release, the folder of the run')
        from stanet_jax.eps.released import convert_files
        with hold_output(pathlib.Path(OUT.value)):
            convert_files(cli.required(SRC), OUT.value)
        return
    converted = convert(cli.required(SRC), cli.required(NAME), PREFIX.value)
    if OUT.value:
        with hold_output(pathlib.Path(OUT.value)):
            checkpoint.replace_variables(OUT.value, converted.variables)
    place = OUT.value or sources.keep(sources.source_of(cli.required(NAME)), converted.variables)
    print(f'{place}: {sum(x.size for x in jax.tree.leaves(converted.variables)):,} numbers of {NAME.value}; '
          f'not used: {summary(converted.unused)}')
