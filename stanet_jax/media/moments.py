"""A film as a stream of moments: each frame with the second of sound around it."""
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float, UInt8

from stanet_jax import InputError
from stanet_jax.media.container import open_media, require_video
from stanet_jax.media.frame import StoredFrame, resize_frame, store_frame, to_rgb
from stanet_jax.media.header import read_header
from stanet_jax.media.sound import FRONT_ENDS, SAMPLE_RATE, SoundWindow, audio_window, read_sound, sliding_window
from stanet_jax.media.video import decode


class Moment(NamedTuple):
    """A frame of a video as the students see it, and the sound around it.

    Attributes:
        time: when the frame is shown, in seconds; later moments have greater times.
        picture: the frame in RGB, resized to a square, or of its own size.
        audio: the second of sound around the frame, as one of `sound.FRONT_ENDS` gives it; zeros where there is no sound.
        phi: 1 where the video has sound, else 0.
        frame: the frame in its own size; None where nobody asked for it.
        end: when the next frame is shown, in seconds.
    """
    time: float
    picture: UInt8[np.ndarray, 'h w 3']
    audio: Float[np.ndarray, 'f t']
    phi: float
    frame: StoredFrame | None = None
    end: float = 0.0


def read_moments(video: str | os.PathLike, side: int, front_end: str = 'log_spectrogram', with_frames: bool = False) -> Iterator[Moment]:
    """Yields the `Moment` of every frame of a video file, with pictures of `side` pixels (0: of their size) and times on the file's clock.

    Sound is given as the `front_end`, a key of `sound.FRONT_ENDS`, gives it; frames in their own size are given `with_frames` alone.

    Memory holds one frame and a second or two of sound at a time, or all of the sound where its window slides over the whole film.
    InputError as `video.read_frames`.
    """
    with open_media(video) as container:
        stream = require_video(video, container)
        scaler, sound, (spectrum, shape, slides) = VideoReformatter(), None, FRONT_ENDS[front_end]
        rising = _rising(decode(container, [stream]), float(stream.time_base))  # type: ignore[arg-type]  # every stream of a file has one
        for k, (frame, start, end) in enumerate(rising):
            if sound is None:
                origin, sound = start, SlidingSound(video) if slides else SoundWindow(video, start)
                silent = np.zeros(shape, np.float32)
            audio = silent if sound.silent else spectrum(sound.at(k) if isinstance(sound, SlidingSound) else sound.around(start - origin))
            whole = store_frame(frame) if with_frames else None
            yield Moment(start, to_rgb(frame, side, scaler), audio, float(not sound.silent), whole, end)
        if sound is None:
            raise InputError(f'{video}: no frame of it decodes; fetch it again')


class SlidingSound:
    """The sound of a whole film, for `sound.sliding_window`.

    Attributes:
        silent: whether the film has none.
    """

    def __init__(self, video: str | os.PathLike):
        """Reads the sound of a video file."""
        wave, header = read_sound(video), read_header(video)
        self._wave = np.zeros(0, np.float32) if wave is None else wave
        self.silent = not len(self._wave)
        self._frames = header.frames or frames_of(self._wave, float(header.fps))

    def at(self, frame: int) -> Float[np.ndarray, ' m']:
        """The half second of a frame."""
        return sliding_window(self._wave, frame, self._frames)


def frames_of(wave: Float[np.ndarray, ' n'], fps: float) -> int:
    """About how many frames a film has that is as long as its sound."""
    return max(round(len(wave) / SAMPLE_RATE * fps), 1)


def moments_of_frames(frames: Iterable[UInt8[np.ndarray, '_ _ 3']], wave: Float[np.ndarray, ' n'] | None, fps: float, side: int,
                      front_end: str = 'log_spectrogram', places: Iterable[int] | None = None) -> Iterator[Moment]:
    """Yields the `Moment` of every frame of a video that is given as frames, which may be read one by one.

    Args:
        frames: RGB frames.
        wave: their sound in [-1, 1], mono at 16 kHz; None for a silent video.
        fps: frames per second.
        side: width and height that frames are resized to, in pixels; 0 leaves their size.
        front_end: see `read_moments`.
        places: of these frames in the video; 0, 1, ... by default.
    """
    spectrum, shape, slides = FRONT_ENDS[front_end]
    wave = None if wave is None or not len(wave) else wave
    audio = np.zeros(shape, np.float32)
    for k, frame in zip(itertools.count() if places is None else places, frames, strict=places is not None):
        if wave is not None:
            audio = spectrum(sliding_window(wave, k, frames_of(wave, fps)) if slides else audio_window(wave, k / fps))
        yield Moment(k / fps, resize_frame(frame, side), audio, float(wave is not None), None, (k + 1) / fps)


def _rising(decoded, tick):
    """Makes the times rise; a frame more than a second before its predecessor (in a spliced file) continues from there."""
    shift, last, last_end = 0.0, -np.inf, 0.0
    for frame, start, end in decoded:
        if start + shift < last - 1:
            shift = last_end - start
        duration, last = end - start, max(start + shift, last + tick)
        last_end = last + duration
        yield frame, last, last_end
