"""Writes SynthAVE, a small audio-visual world of real mp4 files with sound, in which where people look is known.

    stanet data synthave --out=data/synthave --train=24 --validation=6 --test=6

stanet_jax/data/synthave.py tells what is in it.
"""
import dataclasses
from collections.abc import Callable

from absl import flags

from stanet_jax import cli
from stanet_jax.data.synthave import KINDS, Settings

HELP = {'categories': 'Categories, up to 28.', 'train': 'Clips to train on.', 'validation': 'Clips to validate on.',
        'test': 'Clips to test on.', 'seconds': 'Length of a clip.', 'rate': 'Frames a second.', 'side': 'Of a frame, in pixels.',
        'observers': 'Whose gaze is simulated.', 'seed': 'Of all that is drawn.',
        **dict.fromkeys(KINDS, 'Share of the clips that are of this kind.')}
DEFINE: dict[type, Callable[..., flags.FlagHolder]] = {int: flags.DEFINE_integer, float: flags.DEFINE_float}

OUT = flags.DEFINE_string('out', None, 'Folder to write; must not exist.')
WORKERS = flags.DEFINE_integer('workers', None, 'Processes; by default one for each core, or one for a small set.')
SETTINGS = [DEFINE[type(field.default)](field.name, field.default, HELP[field.name]) for field in dataclasses.fields(Settings)]
REQUIRED = ('out',)


def main() -> None:
    """Generates SynthAVE with the settings that the flags give."""
    from stanet_jax.data import synthave
    synthave.generate(cli.required(OUT), Settings(**{flag.name: flag.value for flag in SETTINGS}), WORKERS.value)
    print(f'wrote {OUT.value}')
