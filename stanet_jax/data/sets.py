"""The sets by name: AVE; SynthAVE, which is made where it does not exist yet; folders of videos; VGGSound."""
import os
from collections.abc import Callable, Sequence

from stanet_jax.data import ave, folders, preparation, synthave, vggsound
from stanet_jax.data.clips import Clips
from stanet_jax.data.preparation import Source, all_for_training

NAMES = ('ave', 'synthave', 'folders', 'vggsound')
TRAIN_ON = ('train', 'all')  # the clips that a set has for training, or all that it has


def find_source(name: str, root: str | os.PathLike, clip_seconds: float = 10.0, shares: Sequence[float] = folders.SHARES,
                split_seed: int = 0, train_on: str = 'train') -> Source:
    """Finds a set.

    Args:
        name: one of `NAMES`.
        root: where it is.
        clip_seconds, shares, split_seed: how videos in folders are cut and split, see `folders.source`; the other sets say themselves.
        train_on: one of `TRAIN_ON`.
    Raises:
        InputError: it is not there.
    """
    if name == 'folders':
        source = folders.source(root, clip_seconds, shares, split_seed)
    else:
        source = vggsound.source(root) if name == 'vggsound' else ave.source(root)
    return all_for_training(source) if train_on == 'all' else source


def open_splits(name: str, root: str | os.PathLike, side: int, rate: float, prepared: str | os.PathLike = '', *, clip_seconds: float = 10.0,
                shares: Sequence[float] = folders.SHARES, split_seed: int = 0, train_on: str = 'train', beam: str = '',
                beam_options: Sequence[str] = (), process: int = 0, wait: Callable[[str], None] = lambda name: None) -> dict[str, Clips]:
    """Opens the clips of each split of a set that has any; the set is made and prepared first where that is not done yet.

    Args:
        name, root, clip_seconds, shares, split_seed, train_on: which set, see `find_source`.
        side, rate: width and height in pixels, and frames per second, at which frames are stored.
        prepared: folder of the records, `prepared` in the set's folder by default.
        beam, beam_options: what prepares, see `preparation.prepare`.
        process, wait: this process among those of a run, see there.
    Raises:
        InputError: see `preparation.prepare`.
    """
    if name == 'synthave' and process == 0:
        synthave.ensure(root)
    wait('data made')
    source = find_source(name, root, clip_seconds, shares, split_seed, train_on)
    builder = preparation.prepare(source, side, rate, prepared, beam=beam, beam_options=beam_options, process=process, wait=wait)
    splits = {split: Clips(builder, split) for split in builder.info.metadata['splits']}
    return {split: clips for split, clips in splits.items() if len(clips)}
