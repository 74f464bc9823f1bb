"""Says what of AVE and of the fixation sets is in a folder, what is missing, and what will be skipped.

    python -m stanet_jax.data.check --root=AVE_Dataset
    python -m stanet_jax.data.check --root=fixations

Every video's header is read, and the first fixation map of each video; nothing is written. Ends with code 1 where nothing can be used.
"""
import collections
import concurrent.futures
import os
import pathlib
import sys

import tqdm
from absl import flags

from stanet_jax import InputError, cli
from stanet_jax.data import ave
from stanet_jax.evaluation import fixations as fixation_sets
from stanet_jax.media import video

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
            with video.open_media(path) as container:
                return 'no video' if video.video_stream(container) is None else 'sound' if container.streams.audio else 'silent'
        except InputError:
            return 'cannot be read'
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm.tqdm(pool.map(of, paths), 'videos', len(paths), unit='video', mininterval=1))


def check_sets(root):
    """What is said of a folder of fixation sets, lines, and whether any video can be scored."""
    names, lines, any_used = fixation_sets.folders(pathlib.Path(root) / 'annotations'), [f'fixation sets in {root}'], False
    for name in names:
        try:
            _, videos, missing = fixation_sets.open_set(root, name)
        except InputError as error:
            lines.append(f'  {name}: {error}')
            continue
        any_used = True
        lists = sorted(path.name for path in (pathlib.Path(root) / 'fold_lists').glob(f'{name}_list_test*_fps.txt'))
        lines.append(f'  {name}: {len(videos)} videos, {sum(v.frames for v in videos):,} frames, '
                     + (f'listed in {", ".join(lists)}' if lists else 'all that are there, as it has no list in fold_lists'))
        lines += [f'    {line}' for line in missing[:SHOWN]] + ([f'    and {len(missing) - SHOWN} more'] if len(missing) > SHOWN else [])
        for what, lack in (('frames (a checkpoint cannot be scored on them)', lambda v: not (v.images / 'img_00001.jpg').exists()),
                           ('sound', lambda v: not v.sound.exists()), ('fixations', lacks_fixations),
                           ('some density maps', lambda v: len(list((v.notes / 'maps').glob('eyeMap_*'))) < v.frames)):
            of = [v.name for v in videos if lack(v)]
            lines += [f'    without {what} ({len(of)}): {some(of)}'] if of else []
    return lines, any_used


def lacks_fixations(video):
    try:
        return all(video.fixations(k) is None for k in range(min(video.frames, 20)))
    except InputError:
        return True


def main():
    root, lines, used = ROOT.value, [], False
    for is_there, check in ((os.path.isdir(os.path.join(root, 'annotations')), check_sets),
                            (any(map(ave.annotation_files, (root, os.path.join(root, 'AVE_Dataset')))), check_ave)):
        if is_there:
            more, good = check(root)
            lines, used = lines + more, used or good
    if not lines:
        raise InputError(f'{root}: neither AVE nor fixation sets. For AVE {ave.INSTRUCTIONS}. For the fixation sets get the data of the '
                         'STAViS release: the folder then holds annotations, video_frames, video_audio and fold_lists')
    print('\n'.join(lines))
    sys.exit(not used)


if __name__ == '__main__':
    ROOT = flags.DEFINE_string('root', None, 'Folder of AVE, or of fixation sets.')
    cli.run(main, required=['root'])
