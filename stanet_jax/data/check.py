"""Checks which clips of a set are in a folder, which are missing, and what will be skipped, without writing anything."""
import collections
import concurrent.futures
import os
import sys
from collections.abc import Iterable, Sequence

import tqdm

from stanet_jax import InputError
from stanet_jax.data import ave
from stanet_jax.data.preparation import Source
from stanet_jax.media import box
from stanet_jax.media.header import read_header

SHOWN = 5  # how many names a line lists
UNUSABLE = {'has no video': 'no video', 'is encrypted': 'encrypted', 'crashes': 'crashes the decoder', 'no frame': 'hangs the decoder'}


def some(names: Iterable[str]) -> str:
    """Joins names with commas: the first `SHOWN` of them, and how many more there are."""
    names = list(names)
    return ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')


def check_ave(root: str | os.PathLike) -> tuple[list[str], bool]:
    """Checks a folder of AVE as `check_set` does, and says which lists of clips it lacks; InputError where there are no annotations."""
    source = ave.source(root)
    used = ave.split_files(ave.annotation_files(source.root))
    absent = [name for name in ave.SPLITS.values() if name not in used.values()]
    lines, any_used = check_set(source, 'AVE')
    if absent:
        lines.insert(1, f'  missing: {", ".join(absent)}; ' + (f'all of {ave.ANNOTATIONS} is for training'
                                                               if ave.ANNOTATIONS in used.values() else 'their clips are not used'))
    return lines, any_used


def check_set(source: Source, title: str) -> tuple[list[str], bool]:
    """Reads the listing of a set and the header of every video.

    Returns:
        Lines of text that say what is there and what will be skipped, and whether any clip can be used.
    Raises:
        InputError: the listing cannot be read.
    """
    listing = source.read()
    paths = sorted({clip.path for clips in listing.splits.values() for clip in clips})
    states = dict(zip(paths, probe(paths), strict=True))
    lines, any_used = [f'{title} in {source.root}'], False
    for split, clips in listing.splits.items():
        ids_by_state = collections.defaultdict(list)
        for clip in clips:
            ids_by_state[states[clip.path]].append(clip.id)
        silent = ids_by_state['silent']
        good = len(ids_by_state['sound']) + len(silent)
        any_used |= good > 0
        bad = [f'{of["line"]}: {of["detail"]}' for of in listing.skipped if of['split'] == split]
        lines.append(f'  {split}: {good} of {len(clips) + len(bad)} clips can be used, {len({tag for clip in clips for tag in clip.tags})} '
                     f'categories, {len(silent)} without sound' + (f' ({some(silent)})' if silent else ''))
        skipped = {why: names for why, names in sorted(ids_by_state.items()) if why not in ('sound', 'silent')}
        skipped |= {'bad lines': bad} if bad else {}
        lines += [f'    skipped, {why} ({len(names)}): {some(names)}' for why, names in skipped.items()]
    return lines, any_used


def probe(paths: Sequence[str]) -> list[str]:
    """Reads the header of each video on all cores: each is 'sound', 'silent', or the reason why it cannot be used."""
    def state(path):
        if not os.path.exists(path):
            return 'missing file'
        try:
            return 'sound' if box.call(read_header, path).has_sound else 'silent'
        except (InputError, OSError) as error:
            found = str(error).removeprefix(f'{path}: ')
            return next((why for words, why in UNUSABLE.items() if found.startswith(words)), 'cannot be read')
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm.tqdm(pool.map(state, paths), 'videos', len(paths), unit='video', mininterval=1))


if __name__ == '__main__':
    from stanet_jax import cli  # here, as only running this file needs it
    cli.main(['data', 'check', *sys.argv[1:]])
