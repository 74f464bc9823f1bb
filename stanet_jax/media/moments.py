"""A film as a stream of moments: each frame with the second of sound around it."""
import collections
import heapq
from typing import Any, NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter

from stanet_jax import InputError
from stanet_jax.media.sound import SoundWindow, audio_window, log_spectrogram
from stanet_jax.media.video import decode, open_media, resize_frame, to_rgb, video_stream


class Moment(NamedTuple):
    """A frame of a video as the students see it, and whatever else goes with it."""
    time: float  # in seconds, rising
    picture: Any  # uint8 [side, side, 3]
    audio: Any  # log-spectrogram of the second around, float32 [257, 98]
    phi: float  # 1 where there is sound, else 0
    frame: Any = None  # as it was decoded
    end: float = 0.0  # when the next one is shown


# ------------------------------------------------------------------------------------------------------- from video to moments


def read_moments(video, side):
    """Yields the `moments.Moment` of every frame of a video, `side` pixels wide; in memory are a frame and a second or two of sound.

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


def moments_of_frames(frames, wave, fps, side):
    """Yields the `Moment` of every frame of a film in memory, or that is read frame by frame.

    Args:
        frames: iterable of uint8 RGB [h, w, 3].
        wave: its sound, float32 [n], mono, 16 kHz; None for a silent film.
        fps: frames per second.
        side: of the square that frames are resized to.
    """
    sounds, spectrogram = wave is not None and len(wave) > 0, np.zeros((257, 98), np.float32)
    for k, frame in enumerate(frames):
        if sounds:
            spectrogram = log_spectrogram(audio_window(wave, k / fps))
        yield Moment(k / fps, resize_frame(frame, side), spectrogram, float(sounds), None, (k + 1) / fps)


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
