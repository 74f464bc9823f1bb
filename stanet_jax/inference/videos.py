"""Fixation maps of any video, by a trained student or three (TPAMI Sec. 5); no tag enters."""
import collections
import concurrent.futures
import itertools
import os
import pathlib
import re
import shutil
import sys

import av
import numpy as np
import tqdm

from stanet_jax import InputError
from stanet_jax.inference.predictor import BLOCK
from stanet_jax.media.moments import read_moments
from stanet_jax.media.overlay import write_film
from stanet_jax.media.video import frame_count

# What is taken for a video in a folder; a file that is named may be of any kind.
VIDEO_SUFFIXES = frozenset('.3g2 .3gp .asf .avi .divx .f4v .flv .gif .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogm .ogv .ts '
                           '.vob .webm .wmv'.split())


def prefetch(items):
    """The items of an iterator, the next of which a thread of its own makes meanwhile."""
    end = object()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        item = thread.submit(next, items, end)
        while (done := item.result()) is not end:
            item = thread.submit(next, items, end)
            yield done


def predict_blocks(predictor, video):
    """Yields (Moments, maps [n, side, side]) of a video, a block at a time; the next is being read, and one predicted, meanwhile."""
    every = read_moments(video, predictor.side)
    read = itertools.chain.from_iterable(prefetch(iter(lambda: list(itertools.islice(every, BLOCK)), [])))
    maps = predictor.predict_blocks(read, frame_count(video).fps)
    return prefetch((block, np.asarray(found[predictor.names[-1]])) for block, found in maps)


# ------------------------------------------------------------------------------------------------------------ whole videos


def predict_video(predictor, video, out, name=None, names='eyemap'):
    """Writes what the student makes of a video.

    `<out>/<name>/maps/eyeMap_%05d.png`, one for each frame, counted from 1, of the frame's size, 8 bit, each from its least value, 0,
    to its greatest, 255; and `overlay.mp4`, the frames with the maps over them and the video's sound. The folder appears when all
    of it is there, and takes the place of an older one of its kind. With `names='stavis'` maps are `<out>/<name>/pred_sal_%06d.jpg`.

    Args:
        predictor: a `predictor.Predictor`.
        video: a file that FFmpeg reads.
        out: folder; name: by default the file's, without its ending.
    Returns:
        The number of frames.
    Raises:
        InputError: the file cannot be read, see `read_moments`, or the folder is there and holds other things.
    """
    folder = pathlib.Path(out) / (name or pathlib.Path(video).stem)
    if folder.exists() and any(not re.fullmatch(r'maps|overlay\.mp4|pred_sal_\d+\.jpg', p.name) for p in folder.iterdir()):
        raise InputError(f'{folder}: is there, and holds other things than maps; give another --out')
    temporary, old = (folder.with_name(f'.{folder.name}.{os.getpid()}.{kind}') for kind in ('new', 'old'))
    try:
        with tqdm.tqdm(total=frame_count(video).frames, desc=folder.name, unit='frame', mininterval=0.5) as progress:
            write_film(temporary, video, predict_blocks(predictor, video), progress, names)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return progress.n


def output_names(videos):
    """A name for each video's results: the file's without its ending, or with it where two would be the same, or numbered."""
    stems = collections.Counter(video.stem.casefold() for video in videos)
    result = []
    for video in videos:
        name = video.stem if stems[video.stem.casefold()] == 1 else video.name
        numbered = itertools.chain([name], (f'{name}_{k}' for k in itertools.count(2)))
        result.append(next(n for n in numbered if n.casefold() not in {r.casefold() for r in result}))
    return result


def find_videos(videos):
    """Files, and the videos in folders, each once."""
    found = []
    for path in map(pathlib.Path, videos):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise InputError(f'{path}: no video in this folder (named {", ".join(sorted(VIDEO_SUFFIXES))}); name the files')
        found += inside
    return list({path.resolve(): path for path in found}.values())


def predict_videos(predictor, videos, out, names='eyemap'):
    """`predict_video` of every file, and of every video in every folder; what cannot be done is named and skipped.

    Raises:
        InputError: at the end, where a video failed; at once, where a folder holds none.
    """
    videos = find_videos(videos)
    failed = []
    for video, name in zip(videos, output_names(videos), strict=True):
        try:
            predict_video(predictor, video, out, name, names)
        except (InputError, OSError, av.FFmpegError) as error:
            failed.append(' '.join(f'{error if isinstance(error, InputError) else f"{video}: {error}"}'.split()))
            if len(videos) > 1:
                print(f'skipped: {failed[-1]}', file=sys.stderr)
    if failed:
        raise InputError(failed[0] if len(videos) == 1 else f'{len(failed)} of {len(videos)} videos failed and are named above; the '
                         f'others are in {out}')
    print(f'{len(videos)} video{"s" * (len(videos) > 1)} done: maps and overlay.mp4 are in {out}')
