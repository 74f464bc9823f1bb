"""A film as a stream of moments: each frame with the second of sound around it."""
import collections
import heapq
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float, UInt8

from stanet_jax import InputError
from stanet_jax.media.sound import FRONT_ENDS, SAMPLE_RATE, SoundWindow, audio_window, read_sound, sliding_window
from stanet_jax.media.video import decode, frame_count, open_media, resize_frame, to_rgb, video_stream


class Moment(NamedTuple):
    """A frame of a video as the students see it, and the sound around it.

    Attributes:
        time: when the frame is shown, in seconds; later moments have greater times.
        picture: the frame in RGB, resized to a square; or as it is.
        audio: the second of sound around the frame, as one of `sound.FRONT_ENDS` gives it; zeros where there is no sound.
        phi: 1 where the video has sound, else 0.
        frame: the frame as it was decoded; None where it does not come from a file.
        end: when the next frame is shown, in seconds.
    """
    time: float
    picture: UInt8[np.ndarray, 'h w 3']
    audio: Float[np.ndarray, 'f t']
    phi: float
    frame: av.VideoFrame | None = None
    end: float = 0.0


def read_moments(video: str | os.PathLike, side: int, front_end: str = 'log_spectrogram') -> Iterator[Moment]:
    """Yields the `Moment` of every frame of a video file, with pictures of `side` pixels and times on the file's clock.

    Sound is given as the `front_end`, a key of `sound.FRONT_ENDS`, gives it. With a side of 0 pictures are as large as the frames.

    Memory holds one frame and a second or two of sound at a time, or all of the sound where its window slides over the whole film.
    InputError as `video.read_frames`.
    """
    with open_media(video) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f'{video}: has no video stream')
        scaler, sound, (spectrum, shape, slides) = VideoReformatter(), None, FRONT_ENDS[front_end]
        decoded = decode(container, [stream])
        if container.format.name == 'avi':
            decoded = _in_order(decoded)
        rising = _rising(decoded, float(stream.time_base))  # type: ignore[arg-type]  # every stream of a file has one
        for k, (frame, start, end) in enumerate(rising):
            if sound is None:
                origin, sound = start, SlidingSound(video) if slides else SoundWindow(video, start)
                silent = np.zeros(shape, np.float32)
            audio = silent if sound.silent else spectrum(sound.at(k) if isinstance(sound, SlidingSound) else sound.around(start - origin))
            yield Moment(start, to_rgb(frame, side, scaler), audio, float(not sound.silent), frame, end)
        if sound is None:
            raise InputError(f'{video}: no frame of it decodes; fetch it again')


class SlidingSound:
    """The sound of a whole film, for `sound.sliding_window`.

    Attributes:
        silent: whether the film has none.
    """

    def __init__(self, video: str | os.PathLike):
        """Reads the sound of a video file."""
        wave, count = read_sound(video), frame_count(video)
        self._wave = np.zeros(0, np.float32) if wave is None else wave
        self.silent = not len(self._wave)
        self._frames = count.frames or frames_of(self._wave, count.fps)

    def at(self, frame: int) -> Float[np.ndarray, ' m']:
        """The half second of a frame."""
        return sliding_window(self._wave, frame, self._frames)


def frames_of(wave: Float[np.ndarray, ' n'], fps: float) -> int:
    """About how many frames a film has that is as long as its sound."""
    return max(round(len(wave) / SAMPLE_RATE * fps), 1)


def moments_of_frames(frames: Iterable[UInt8[np.ndarray, '_ _ 3']], wave: Float[np.ndarray, ' n'] | None, fps: float, side: int,
                      front_end: str = 'log_spectrogram') -> Iterator[Moment]:
    """Yields the `Moment` of every frame of a video that is given as frames, which may be read one by one.

    Args:
        frames: RGB frames.
        wave: their sound in [-1, 1], mono at 16 kHz; None for a silent video.
        fps: frames per second.
        side: width and height that frames are resized to, in pixels; 0 leaves them as they are.
        front_end: see `read_moments`.
    """
    spectrum, shape, slides = FRONT_ENDS[front_end]
    wave = None if wave is None or not len(wave) else wave
    audio = np.zeros(shape, np.float32)
    for k, frame in enumerate(frames):
        if wave is not None:
            audio = spectrum(sliding_window(wave, k, frames_of(wave, fps)) if slides else audio_window(wave, k / fps))
        yield Moment(k / fps, resize_frame(frame, side), audio, float(wave is not None), None, (k + 1) / fps)


def _in_order(decoded, most=16):
    """Sorts times that are up to `most` places out of order: AVI counts frames in the order of decoding, not of showing."""
    frames, ordered = collections.deque(), []
    for frame, start, end in decoded:
        frames.append(frame)
        heapq.heappush(ordered, (start, end))
        if len(frames) > most:
            yield frames.popleft(), *heapq.heappop(ordered)
    while frames:
        yield frames.popleft(), *heapq.heappop(ordered)


def _rising(decoded, tick):
    """Makes the times rise; a frame more than a second before its predecessor (in a spliced file) continues from there."""
    shift, last, last_end = 0.0, -np.inf, 0.0
    for frame, start, end in decoded:
        if start + shift < last - 1:
            shift = last_end - start
        duration, last = end - start, max(start + shift, last + tick)
        last_end = last + duration
        yield frame, last, last_end
