"""Whole films in memory, by whatever predicts a stream of moments."""
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray
from stanet_jax.media import box
from stanet_jax.media.header import read_header
from stanet_jax.media.moments import Moment, moments_of_frames, read_moments


@runtime_checkable
class FilmPredictor(Protocol):
    """What predicts a stream of moments: a `predictor.Predictor`, a `training_free.TrainingFree`, or what has these members of them."""

    @property
    def side(self) -> int: ...

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def front_end(self) -> str: ...

    @property
    def hears(self) -> bool: ...

    def predict_blocks(self, moments: Iterator[Moment], fps: float) -> Iterable[tuple[list[Moment], Mapping[str, AnyArray]]]: ...

    def predict_pictures(self, pictures: Iterable[UInt8[np.ndarray, '_ _ 3']]) -> Iterable[Mapping[str, Float[np.ndarray, 'h2 w2']]]: ...


class Maps(NamedTuple):
    """The fixation maps of a video's n frames.

    Attributes:
        times: of the frames, in seconds.
        maps: in [0, 1], of one size, that of the first, also where frames are not; to be resized to the height and width of the frames.
    """
    times: Float[np.ndarray, ' n']
    maps: Float[np.ndarray, 'n h w']


def of_size(maps: Float[np.ndarray, 'n _ _'], height: int, width: int) -> Float[np.ndarray, 'n h w']:
    """Maps at the size height × width."""
    if maps.shape[1:] == (height, width):
        return maps
    return np.stack([np.asarray(PIL.Image.fromarray(np.float32(map_)).resize((width, height), PIL.Image.Resampling.BILINEAR))
                     for map_ in maps])


def film_maps(predictor: FilmPredictor, video: str | os.PathLike | Iterable[UInt8[np.ndarray, '_ _ 3']],
              sound: Float[np.ndarray, ' m'] | None = None, fps: float = 25.0) -> Maps:
    """The fixation maps of a whole video, in memory.

    Args:
        predictor: whose maps, the last of its `names`, are given.
        video: path of a file that FFmpeg reads, with its sound; or RGB frames, as an array [n, h, w, 3] or one after the other.
        sound: of frames, in [-1, 1], mono, 16 kHz; None for a silent video.
        fps: of frames, per second; a file has its own time stamps.
    Raises:
        InputError: the file cannot be read, or a sound is given besides a file.
    """
    if isinstance(video, str | os.PathLike):
        if sound is not None:
            raise InputError(f'{video}: a file is heard with its own sound; give its frames to have another one heard')
        fps = float(box.call(read_header, video).fps)
        moments = box.iterate(read_moments, video, predictor.side, predictor.front_end)
    else:
        moments = moments_of_frames(video, sound, fps, predictor.side, predictor.front_end)
    times: list[float] = []
    maps: list[AnyArray] = []
    for block, found in predictor.predict_blocks(moments, fps):
        times += [moment.time for moment in block]
        of_block = np.asarray(found[predictor.names[-1]])
        maps.append(of_block if not maps else of_size(of_block, *maps[0].shape[1:]))
    return Maps(np.asarray(times, np.float64), np.concatenate(maps) if maps else np.zeros((0, predictor.side, predictor.side), np.float32))
