"""Writes frames of SynthAVE as a set for segmentation in VOC's layout: masks, tags of all objects in view, saliency with known faults.

    stanet data synthvoc --out=data/synthvoc
"""
from absl import flags

from stanet_jax import cli
from stanet_jax.data.synthave import Settings

HELP = {'categories': 'Categories, up to 28.', 'train': 'Images to train on.', 'validation': 'Images to validate on.',
        'test': 'Images to test on.', 'side': 'Of an image, in pixels.', 'seed': 'Of all that is drawn.'}

OUT = flags.DEFINE_string('out', None, 'Folder to write; must not exist.')
WORKERS = flags.DEFINE_integer('workers', None, 'Processes; by default one for each core, or one for a small set.')
SETTINGS = [flags.DEFINE_integer(field, getattr(Settings(), field), text) for field, text in HELP.items()]
MISSED = flags.DEFINE_string('missed', 'small', 'What the saliency misses: small objects (small), those beside a larger one (beside), '
                             'or none.')
REQUIRED = ('out',)


def main() -> None:
    """Generates SynthVOC with the settings that the flags give."""
    from stanet_jax.data import synthvoc
    synthvoc.generate(cli.required(OUT), Settings(**{flag.name: flag.value for flag in SETTINGS}), WORKERS.value, MISSED.value)
    print(f'wrote {OUT.value}')
