"""The sets by name: SynthAVE, which is made where it is not there yet, and AVE."""
import os

from stanet_jax.data import ave, synthave
from stanet_jax.data.clips import Clips

NAMES = ('ave', 'synthave')


def open_splits(name, root, side, rate, prepared='', part=(0, 1), wait=lambda name: None):
    """The prepared clips of a set, `{split: Clips}` of the splits that hold any; made or prepared first, once.

    Args:
        name: one of `NAMES`; root: its folder.
        side, rate: pixels and frames per second that frames are kept at.
        prepared: where the records go, `<root>/prepared` by default.
        part, wait: of the processes of a run, see `ave.prepare`.
    Raises:
        InputError: see `ave.prepare`.
    """
    if name == 'synthave' and part[0] == 0 and not os.path.exists(root):
        synthave.generate(root)
    wait('data made')
    builder = ave.prepare(root, side, rate, prepared, part=part, wait=wait)
    splits = {split: Clips(builder, split) for split in builder.info.metadata['splits']}
    return {split: clips for split, clips in splits.items() if len(clips)}
