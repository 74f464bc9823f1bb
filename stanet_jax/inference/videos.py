"""Fixation maps of any video, by a trained student or three (TPAMI Sec. 5); no tag enters."""
import collections
import concurrent.futures
import heapq
import itertools
import os
import pathlib
import re
import shutil
import sys

import av
import numpy as np
import tqdm
from av.video.reformatter import VideoReformatter

from stanet_jax import InputError
from stanet_jax.inference.predictor import BLOCK
from stanet_jax.media import overlay as film
from stanet_jax.media.sound import SoundWindow, log_spectrogram
from stanet_jax.media.video import Moment, decode, open_media, to_rgb, video_stream

# What is taken for a video in a folder; a file that is named may be of any kind.
VIDEOS = frozenset('.3g2 .3gp .asf .avi .divx .f4v .flv .gif .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogm .ogv .ts .vob '
                   '.webm .wmv'.split())


# ------------------------------------------------------------------------------------------------------- from video to moments


def moments(video, side):
    """Yields the `video.Moment` of every frame of a video, `side` pixels wide; in memory are a frame and a second or two of sound.

    Their `time` and `end` are in seconds on the file's clock. InputError as `video.read_frames`.
    """
    with open_media(video) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f'{video}: has no video stream')
        scaler, sound = VideoReformatter(), None
        decoded = decode(container, [stream])
        if container.format.name == 'avi':
            decoded = _in_order(decoded)
        for frame, start, end in _rising(decoded, float(stream.time_base)):
            if sound is None:
                origin, sound = start, SoundWindow(video, start)
                silent = np.zeros((257, 98), np.float32)
            audio = silent if sound.silent else log_spectrogram(sound.around(start - origin))
            yield Moment(start, to_rgb(frame, side, scaler), audio, float(not sound.silent), frame, end)
        if sound is None:
            raise InputError(f'{video}: no frame of it decodes; fetch it again')


def _in_order(decoded, most=16):
    """Sorts the times of frames that are up to `most` places off: AVI counts frames as they are decoded, not as they are shown."""
    frames, ordered = collections.deque(), []
    for frame, start, end in decoded:
        frames.append(frame)
        heapq.heappush(ordered, (start, end))
        if len(frames) > most:
            yield frames.popleft(), *heapq.heappop(ordered)
    while frames:
        yield frames.popleft(), *heapq.heappop(ordered)


def _rising(decoded, tick):
    """Makes the times rise: what falls back by more than a second (a spliced file) goes on from the frame before."""
    shift, last, last_end = 0.0, -np.inf, 0.0
    for frame, start, end in decoded:
        if start + shift < last - 1:
            shift = last_end - start
        duration, last = end - start, max(start + shift, last + tick)
        last_end = last + duration
        yield frame, last, last_end


def ahead(items):
    """The items of an iterator, the next of which a thread of its own makes meanwhile."""
    end = object()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        item = thread.submit(next, items, end)
        while (done := item.result()) is not end:
            item = thread.submit(next, items, end)
            yield done


def answers(predictor, video):
    """Yields (Moments, maps [n, side, side]) of a video, a block at a time; the next is being read, and one predicted, meanwhile."""
    every = moments(video, predictor.side)
    read = itertools.chain.from_iterable(ahead(iter(lambda: list(itertools.islice(every, BLOCK)), [])))
    maps = predictor.maps(read, _count(video)[1])
    return ahead((block, np.asarray(found[predictor.names[-1]])) for block, found in maps)


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
        InputError: the file cannot be read, see `moments`, or the folder is there and holds other things.
    """
    folder = pathlib.Path(out) / (name or pathlib.Path(video).stem)
    if folder.exists() and any(not re.fullmatch(r'maps|overlay\.mp4|pred_sal_\d+\.jpg', p.name) for p in folder.iterdir()):
        raise InputError(f'{folder}: is there, and holds other things than maps; give another --out')
    temporary, old = (folder.with_name(f'.{folder.name}.{os.getpid()}.{kind}') for kind in ('new', 'old'))
    try:
        with tqdm.tqdm(total=_count(video)[0], desc=folder.name, unit='frame', mininterval=0.5) as progress:
            film.write(temporary, video, answers(predictor, video), progress, names)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return progress.n


def _count(video):
    """About how many frames a video has, or None, and about how many a second."""
    with open_media(video) as container:
        stream = video_stream(container)
        fps = float(stream and stream.average_rate or 25)
        if stream is None or stream.frames:
            return stream and stream.frames, fps
        return container.duration and round(container.duration / av.time_base * fps), fps


def folder_names(videos):
    """A name for each video's results: the file's without its ending, or with it where two would be the same, or numbered."""
    stems = collections.Counter(video.stem.casefold() for video in videos)
    result = []
    for video in videos:
        name = video.stem if stems[video.stem.casefold()] == 1 else video.name
        numbered = itertools.chain([name], (f'{name}_{k}' for k in itertools.count(2)))
        result.append(next(n for n in numbered if n.casefold() not in {r.casefold() for r in result}))
    return result


def find(videos):
    """Files, and the videos in folders, each once."""
    found = []
    for path in map(pathlib.Path, videos):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEOS and p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise InputError(f'{path}: no video in this folder (named {", ".join(sorted(VIDEOS))}); name the files')
        found += inside
    return list({path.resolve(): path for path in found}.values())


def predict(predictor, videos, out, names='eyemap'):
    """`predict_video` of every file, and of every video in every folder; what cannot be done is named and skipped.

    Raises:
        InputError: at the end, where a video failed; at once, where a folder holds none.
    """
    videos = find(videos)
    failed = []
    for video, name in zip(videos, folder_names(videos), strict=True):
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
