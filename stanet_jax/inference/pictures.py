"""Fixation maps of image files; a picture is a silent film of one frame, and many go through the nets at once."""
import collections
import concurrent.futures
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import tqdm
from jaxtyping import Float

from stanet_jax import InputError
from stanet_jax.inference.files import prefetch, result_folder
from stanet_jax.inference.films import FilmPredictor
from stanet_jax.media.frame import resize_frame
from stanet_jax.media.overlay import ALL_OF_IT, MAP_NAMES, Output, lay_over, save_map, scale_map
from stanet_jax.media.picture import read_picture
from stanet_jax.workdir import replacing

WAITING = 64  # pictures that are predicted and not written yet


class Failure(NamedTuple):
    """A file that could not be predicted, and the reason."""
    file: pathlib.Path
    why: InputError | OSError


def predict_pictures(predictor: FilmPredictor, files: Sequence[pathlib.Path], out: str | os.PathLike, folders: Sequence[str],
                     output: Output = ALL_OF_IT) -> Iterator[Failure]:
    """Writes the fixation map of each image file, and an overlay of it, see `write_picture`; yields those that fail.

    The files of a block are read, and those of the block before written, while its maps are computed.

    Args:
        predictor: students, or a method without training.
        files: that `read_picture` reads.
        out: folder to write into.
        folders: the name of each one's folder.
        output: what is written.
    """
    todo, failed = collections.deque[tuple[pathlib.Path, str]](), list[Failure]()

    def read():
        for file, folder in zip(files, folders, strict=True):
            try:
                small = resize_frame(read_picture(file), predictor.side)
            except (InputError, OSError) as error:
                failed.append(Failure(file, error))
            else:
                todo.append((file, folder))
                yield small

    with tqdm.tqdm(total=len(files), desc='pictures', unit='picture', mininterval=0.5, delay=1) as progress, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = collections.deque[tuple[pathlib.Path, concurrent.futures.Future[None]]]()

        def finish(most):
            while len(waiting) > most or waiting and waiting[0][1].done():
                file, done = waiting.popleft()
                try:
                    done.result()
                except (InputError, OSError) as error:
                    failed.append(Failure(file, error))
                progress.update()

        for maps in prefetch(iter(predictor.predict_pictures(read()))):
            file, folder = todo.popleft()
            waiting.append((file, pool.submit(write_picture, file, maps[predictor.names[-1]], out, folder, output)))
            finish(WAITING)
        finish(0)
    yield from failed


def write_picture(file: pathlib.Path, map_: Float[np.ndarray, 'h w'], out: str | os.PathLike, folder: str,
                  output: Output = ALL_OF_IT) -> None:
    """Writes the fixation map of an image file, and an overlay of it, into the folder `<out>/<folder>`.

    `maps/eyeMap_00001.png` is the map, 8 bit, of the picture's size, scaled from 0 at its least value to 255 at its greatest; with
    `names='stavis'` it is `pred_sal_000001.jpg`. Where maps of films are videos, that of a picture is a picture all the same.
    `overlay.png` shows it over the picture. The folder appears when it is complete.

    Raises:
        InputError: the file cannot be read, or the folder exists and holds other things than maps.
    """
    picture = PIL.Image.fromarray(read_picture(file))
    levels = scale_map(map_, picture.size)
    with replacing(result_folder(out, folder)) as new:
        new.mkdir(parents=True)
        if output.maps != 'none':
            (path := new / MAP_NAMES[output.names].format(1)).parent.mkdir(exist_ok=True)
            save_map(levels, path)
        if output.overlay:
            lay_over(picture, levels).save(new / 'overlay.png', compress_level=1)
