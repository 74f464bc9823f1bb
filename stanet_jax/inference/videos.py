"""Fixation maps of video files, and of pictures among them, by students (TPAMI Sec. 5) or without training; no tag is needed."""
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

import av
import numpy as np
import tqdm
from jaxtyping import Float

from stanet_jax import InputError, one_line
from stanet_jax.inference.files import find_files, is_picture, output_names, prefetch, result_folder
from stanet_jax.inference.films import FilmPredictor
from stanet_jax.inference.pictures import predict_pictures
from stanet_jax.inference.predictor import BLOCK
from stanet_jax.media import box
from stanet_jax.media.header import find_break, read_header
from stanet_jax.media.moments import Moment, read_moments
from stanet_jax.media.overlay import ALL_OF_IT, Output, write_film
from stanet_jax.workdir import replacing


def predict_blocks(predictor: FilmPredictor, video: str | os.PathLike,
                   fps: float) -> Iterator[tuple[list[Moment], Float[np.ndarray, 'n h w']]]:
    """Yields (moments, their fixation maps in [0, 1]) of a video file of about `fps` frames per second, a block at a time.

    Meanwhile one thread reads the moments of the next block and another computes its maps.
    """
    every = box.iterate(read_moments, video, predictor.side, predictor.front_end, with_frames=True)
    read = itertools.chain.from_iterable(prefetch(iter(lambda: list(itertools.islice(every, BLOCK)), [])))
    maps = predictor.predict_blocks(read, fps)
    return prefetch((block, np.asarray(found[predictor.names[-1]])) for block, found in maps)


# ------------------------------------------------------------------------------------------------------------ whole videos


def predict_video(predictor: FilmPredictor, video: str | os.PathLike, out: str | os.PathLike, name: str | None = None,
                  output: Output = ALL_OF_IT) -> int:
    """Writes the fixation maps of a video file, and an overlay of them, into the folder `<out>/<name>`.

    `maps/eyeMap_%05d.png` are the maps, one for each frame, counted from 1: 8 bit, of the frame's size, each scaled from 0 at its least
    value to 255 at its greatest; or as `output` says `pred_sal_%06d.jpg` or the frames of `maps.mkv`. `overlay.mp4` shows them over the
    frames, with the video's sound. The folder appears when it is complete, and replaces an older one of its kind.

    Args:
        predictor: the students, or a method without training.
        video: a file that FFmpeg reads.
        out: folder to write into.
        name: of the video's folder; by default the file's name without its suffix.
        output: what is written.
    Returns:
        The number of frames.
    Raises:
        InputError: the file cannot be read, see `read_moments`, or the folder exists and holds other things than maps.
    """
    folder = result_folder(out, name or pathlib.Path(video).stem)
    header, title = box.call(read_header, video), one_line(folder.name)[:60]
    with replacing(folder) as new, tqdm.tqdm(total=header.frames, desc=title, unit='frame', mininterval=0.5) as progress:
        write_film(new, video, header, predict_blocks(predictor, video, float(header.fps)), progress, output)
    if breaks_off := box.call(find_break, video):
        print(one_line(breaks_off), file=sys.stderr)
    return progress.n


def predict_videos(predictor: FilmPredictor, videos: Sequence[str | os.PathLike], out: str | os.PathLike,
                   output: Output = ALL_OF_IT) -> None:
    """Predicts each file and each video and picture of each folder; what fails is reported and skipped.

    Videos go through `predict_video`, pictures through `pictures.predict_pictures`.

    Raises:
        InputError: a folder holds neither, at once; or some files failed, at the end.
    """
    files = find_files(videos)
    folders = dict(zip(files, output_names(files), strict=True))
    pictures = [file for file in files if is_picture(file)]
    films = [file for file in files if not is_picture(file)]
    what = 'files' if pictures and films else 'pictures' if pictures else 'videos'
    failed = []

    def skip(file, error):
        failed.append(one_line(error if isinstance(error, InputError) else f'{file}: {error}'))
        if len(files) > 1:
            print(f'skipped: {failed[-1]}', file=sys.stderr)

    if pictures:
        for file, why in predict_pictures(predictor, pictures, out, [folders[file] for file in pictures], output):
            skip(file, why)
    for video in films:
        try:
            predict_video(predictor, video, out, folders[video], output)
        except (InputError, OSError, av.FFmpegError) as error:
            skip(video, error)
    if failed:
        raise InputError(failed[0] if len(files) == 1 else f'{len(failed)} of {len(files)} {what} failed and are named above; the '
                         f'others are in {out}')
    counted = ', '.join(f'{len(of)} {word}{"s" * (len(of) > 1)}' for of, word in ((films, 'video'), (pictures, 'picture')) if of)
    written = [*['maps'] * (output.maps != 'none'), *['overlay.mp4'] * bool(films and output.overlay),
               *['overlay.png'] * bool(pictures and output.overlay)]
    print(f'{counted} done: {", ".join(written[:-1])}{" and " * (len(written) > 1)}{written[-1]} are in {out}')
