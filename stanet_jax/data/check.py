"""What of AVE is in a folder, what is missing, and what will be skipped. Every video's header is read; nothing is written."""
import collections
import concurrent.futures
import os
import sys

import tqdm

from stanet_jax import InputError
from stanet_jax.data import ave
from stanet_jax.media.video import open_media, video_stream

SHOWN = 5  # names of a line that tells of many


def some(names):
    """Some of many names, in words."""
    names = list(names)
    return ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')


def check_ave(root):
    """What is said of a folder of AVE, lines, and whether any clip can be used."""
    root = ave.find_root(root)
    used = ave.split_files(ave.annotation_files(root))
    lines, clips = [f'AVE in {root}'], {split: ave.read_annotations(os.path.join(root, name)) for split, name in used.items()}
    absent = [name for name in ave.SPLITS.values() if name not in used.values()]
    if absent:
        lines.append(f'  missing: {", ".join(absent)}; ' + (f'all of {ave.ANNOTATIONS} is for training' if ave.ANNOTATIONS in used.values()
                                                            else 'their clips are not used'))
    ids = sorted({a.id for annotations, _ in clips.values() for a in annotations})
    found = dict(zip(ids, probe([os.path.join(root, 'AVE', f'{name}.mp4') for name in ids]), strict=True))
    any_used = False
    for split, (annotations, bad) in clips.items():
        of = collections.defaultdict(list)
        for a in annotations:
            of[found[a.id]].append(a.id)
        good = len(of['sound']) + len(of['silent'])
        any_used |= good > 0
        lines.append(f'  {split}: {good} of {len(annotations) + len(bad)} clips can be used, {len({a.category for a in annotations})} '
                     f'categories, {len(of["silent"])} without sound' + (f' ({some(of["silent"])})' if of['silent'] else ''))
        skipped = {why: names for why, names in sorted(of.items()) if why not in ('sound', 'silent')}
        skipped |= {'bad lines': [f'{number}: {why}' for number, _, why in bad]} if bad else {}
        lines += [f'    skipped, {why} ({len(names)}): {some(names)}' for why, names in skipped.items()]
    return lines, any_used


def probe(paths):
    """What each video is: 'sound', 'silent', or why it cannot be read; all cores read."""
    def of(path):
        if not os.path.exists(path):
            return 'missing file'
        try:
            with open_media(path) as container:
                return 'no video' if video_stream(container) is None else 'sound' if container.streams.audio else 'silent'
        except InputError:
            return 'cannot be read'
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm.tqdm(pool.map(of, paths), 'videos', len(paths), unit='video', mininterval=1))


if __name__ == '__main__':
    from stanet_jax import cli  # here, as this file is a door only when it is run
    cli.main(['data', 'check', *sys.argv[1:]])
