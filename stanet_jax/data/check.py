"""Checks which parts of AVE are in a folder, which are missing, and what will be skipped, without writing anything."""
import collections
import concurrent.futures
import os
import sys
from collections.abc import Iterable, Sequence

import tqdm

from stanet_jax import InputError
from stanet_jax.data import ave
from stanet_jax.media.video import open_media, video_stream

SHOWN = 5  # how many names a line lists


def some(names: Iterable[str]) -> str:
    """Joins names with commas: the first `SHOWN` of them, and how many more there are."""
    names = list(names)
    return ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')


def check_ave(root: str | os.PathLike) -> tuple[list[str], bool]:
    """Reads the annotations and the header of every video in a folder of AVE.

    Returns:
        Lines of text that say what is there and what will be skipped, and whether any clip can be used.
    Raises:
        InputError: there are no annotations.
    """
    root = ave.find_root(root)
    used = ave.split_files(ave.annotation_files(root))
    lines, clips = [f'AVE in {root}'], {split: ave.read_annotations(os.path.join(root, name)) for split, name in used.items()}
    absent = [name for name in ave.SPLITS.values() if name not in used.values()]
    if absent:
        lines.append(f'  missing: {", ".join(absent)}; ' + (f'all of {ave.ANNOTATIONS} is for training' if ave.ANNOTATIONS in used.values()
                                                            else 'their clips are not used'))
    ids = sorted({a.id for annotations, _ in clips.values() for a in annotations})
    states = dict(zip(ids, probe([os.path.join(root, 'AVE', f'{name}.mp4') for name in ids]), strict=True))
    any_used = False
    for split, (annotations, bad) in clips.items():
        ids_by_state = collections.defaultdict(list)
        for a in annotations:
            ids_by_state[states[a.id]].append(a.id)
        silent = ids_by_state['silent']
        good = len(ids_by_state['sound']) + len(silent)
        any_used |= good > 0
        lines.append(f'  {split}: {good} of {len(annotations) + len(bad)} clips can be used, {len({a.category for a in annotations})} '
                     f'categories, {len(silent)} without sound' + (f' ({some(silent)})' if silent else ''))
        skipped = {why: names for why, names in sorted(ids_by_state.items()) if why not in ('sound', 'silent')}
        skipped |= {'bad lines': [f'{number}: {why}' for number, _, why in bad]} if bad else {}
        lines += [f'    skipped, {why} ({len(names)}): {some(names)}' for why, names in skipped.items()]
    return lines, any_used


def probe(paths: Sequence[str]) -> list[str]:
    """Reads the header of each video on all cores: each is 'sound', 'silent', or the reason why it cannot be used."""
    def state(path):
        if not os.path.exists(path):
            return 'missing file'
        try:
            with open_media(path) as container:
                return 'no video' if video_stream(container) is None else 'sound' if container.streams.audio else 'silent'
        except InputError:
            return 'cannot be read'
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm.tqdm(pool.map(state, paths), 'videos', len(paths), unit='video', mininterval=1))


if __name__ == '__main__':
    from stanet_jax import cli  # here, as only running this file needs it
    cli.main(['data', 'check', *sys.argv[1:]])
