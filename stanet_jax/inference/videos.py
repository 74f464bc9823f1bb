"""Fixation maps of video files by one trained student or by three (TPAMI Sec. 5); no tag is needed."""
import collections
import concurrent.futures
import itertools
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import av
import numpy as np
import tqdm
from jaxtyping import Float

from stanet_jax import InputError
from stanet_jax.inference.predictor import BLOCK, Predictor
from stanet_jax.media.moments import Moment, read_moments
from stanet_jax.media.overlay import write_film
from stanet_jax.media.video import VIDEO_SUFFIXES, frame_count
from stanet_jax.workdir import replacing

T = TypeVar('T')


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yields the items of an iterator; a thread computes the next one meanwhile."""
    end: Any = object()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        item = thread.submit(next, items, end)
        while (done := item.result()) is not end:
            item = thread.submit(next, items, end)
            yield done


def predict_blocks(predictor: Predictor, video: str | os.PathLike) -> Iterator[tuple[list[Moment], Float[np.ndarray, 'n h w']]]:
    """Yields (moments, their fixation maps in [0, 1]) of a video file, a block at a time.

    Meanwhile one thread reads the moments of the next block and another computes its maps.
    """
    every = read_moments(video, predictor.side, predictor.front_end)
    read = itertools.chain.from_iterable(prefetch(iter(lambda: list(itertools.islice(every, BLOCK)), [])))
    maps = predictor.predict_blocks(read, frame_count(video).fps)
    return prefetch((block, np.asarray(found[predictor.names[-1]])) for block, found in maps)


# ------------------------------------------------------------------------------------------------------------ whole videos


def predict_video(predictor: Predictor, video: str | os.PathLike, out: str | os.PathLike, name: str | None = None,
                  names: str = 'eyemap') -> int:
    """Writes the fixation maps of a video file, and an overlay of them, into the folder `<out>/<name>`.

    `maps/eyeMap_%05d.png` are the maps, one for each frame, counted from 1: 8 bit, of the frame's size, each scaled from 0 at its least
    value to 255 at its greatest; with `names='stavis'` they are `pred_sal_%06d.jpg`. `overlay.mp4` shows the maps over the frames, with
    the video's sound. The folder appears when it is complete, and replaces an older one of its kind.

    Args:
        predictor: the students.
        video: a file that FFmpeg reads.
        out: folder to write into.
        name: of the video's folder; by default the file's name without its suffix.
        names: of the maps, a key of `overlay.MAP_NAMES`.
    Returns:
        The number of frames.
    Raises:
        InputError: the file cannot be read, see `read_moments`, or the folder exists and holds other things than maps.
    """
    folder = pathlib.Path(out) / (name or pathlib.Path(video).stem)
    if folder.exists() and any(not re.fullmatch(r'maps|overlay\.mp4|pred_sal_\d+\.jpg', p.name) for p in folder.iterdir()):
        raise InputError(f'{folder}: is there, and holds other things than maps; give another --out')
    with replacing(folder) as new, tqdm.tqdm(
            total=frame_count(video).frames, desc=folder.name, unit='frame', mininterval=0.5) as progress:
        write_film(new, video, predict_blocks(predictor, video), progress, names)
    return progress.n


def output_names(videos: Sequence[pathlib.Path]) -> list[str]:
    """A name for the results of each video: the file's, without its suffix where no other has the same, else with it, or numbered."""
    stems = collections.Counter(video.stem.casefold() for video in videos)
    result: list[str] = []
    for video in videos:
        name = video.stem if stems[video.stem.casefold()] == 1 else video.name
        numbered = itertools.chain([name], (f'{name}_{k}' for k in itertools.count(2)))
        result.append(next(n for n in numbered if n.casefold() not in {r.casefold() for r in result}))
    return result


def find_videos(videos: Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    """The given files and the videos in the given folders, each once; InputError where a folder holds none."""
    found = []
    for path in map(pathlib.Path, videos):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise InputError(f'{path}: no video in this folder (named {", ".join(sorted(VIDEO_SUFFIXES))}); name the files')
        found += inside
    return list({path.resolve(): path for path in found}.values())


def predict_videos(predictor: Predictor, videos: Sequence[str | os.PathLike], out: str | os.PathLike, names: str = 'eyemap') -> None:
    """Runs `predict_video` on each file and on each video of each folder; a video that fails is reported and skipped.

    Raises:
        InputError: a folder holds no video, at once; or some videos failed, at the end.
    """
    files, failed = find_videos(videos), []
    for video, name in zip(files, output_names(files), strict=True):
        try:
            predict_video(predictor, video, out, name, names)
        except (InputError, OSError, av.FFmpegError) as error:
            failed.append(' '.join(f'{error if isinstance(error, InputError) else f"{video}: {error}"}'.split()))
            if len(files) > 1:
                print(f'skipped: {failed[-1]}', file=sys.stderr)
    if failed:
        raise InputError(failed[0] if len(files) == 1 else f'{len(failed)} of {len(files)} videos failed and are named above; the '
                         f'others are in {out}')
    print(f'{len(files)} video{"s" * (len(files) > 1)} done: maps and overlay.mp4 are in {out}')
