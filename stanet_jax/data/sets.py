"""The sets by name: AVE, and SynthAVE, which is made where it does not exist yet."""
import os
from collections.abc import Callable

from stanet_jax.data import ave, preparation, synthave
from stanet_jax.data.clips import Clips

NAMES = ('ave', 'synthave')


def open_splits(name: str, root: str | os.PathLike, side: int, rate: float, prepared: str | os.PathLike = '', process: int = 0,
                wait: Callable[[str], None] = lambda name: None) -> dict[str, Clips]:
    """Opens the clips of each split of a set that has any; the set is made and prepared first where that is not done yet.

    Args:
        name: one of `NAMES`.
        root: folder of the set.
        side, rate: width and height in pixels, and frames per second, at which frames are stored.
        prepared: folder of the records, `<root>/prepared` by default.
        process, wait: this process among those of a run, see `preparation.prepare`.
    Raises:
        InputError: see `preparation.prepare`.
    """
    if name == 'synthave' and process == 0 and not os.path.exists(root):
        synthave.generate(root)
    wait('data made')
    builder = preparation.prepare(ave.source(root), side, rate, prepared, process=process, wait=wait)
    splits = {split: Clips(builder, split) for split in builder.info.metadata['splits']}
    return {split: clips for split, clips in splits.items() if len(clips)}
