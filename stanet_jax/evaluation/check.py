"""Checks a folder of fixation sets for what is missing; the first fixation maps of each video are read, nothing is written."""
import glob
import os
import pathlib

from stanet_jax import InputError
from stanet_jax.data.check import SHOWN, some
from stanet_jax.evaluation import fixations


def check_sets(root: str | os.PathLike) -> tuple[list[str], bool]:
    """A report on a folder of fixation sets, as lines, and whether any video in it can be scored."""
    names, lines, any_used = fixations.list_folders(pathlib.Path(root) / 'annotations'), [f'fixation sets in {root}'], False
    for name in names:
        try:
            _, videos, missing = fixations.open_set(root, name)
        except InputError as error:
            lines.append(f'  {name}: {error}')
            continue
        any_used = True
        lists = sorted(path.name for path in (pathlib.Path(root) / 'fold_lists').glob(f'{glob.escape(name)}_list_test*_fps.txt'))
        lines.append(f'  {name}: {len(videos)} videos, {sum(v.frames for v in videos):,} frames, '
                     + (f'listed in {", ".join(lists)}' if lists else 'all that are there, as it has no list in fold_lists'))
        lines += [f'    {line}' for line in missing[:SHOWN]] + ([f'    and {len(missing) - SHOWN} more'] if len(missing) > SHOWN else [])
        for what, lack in (('frames (a checkpoint cannot be scored on them)', lambda v: not (v.images / 'img_00001.jpg').exists()),
                           ('sound', lambda v: not v.sound.exists()), ('fixations', lacks_fixations),
                           ('some density maps', lambda v: len(list((v.notes / 'maps').glob('eyeMap_*'))) < v.frames)):
            lacking = [v.name for v in videos if lack(v)]
            lines += [f'    without {what} ({len(lacking)}): {some(lacking)}'] if lacking else []
    return lines, any_used


def lacks_fixations(video: fixations.Video) -> bool:
    """Whether none of the first 20 frames of a video has fixations that can be read."""
    try:
        return all(video.fixations(k) is None for k in range(min(video.frames, 20)))
    except InputError:
        return True
