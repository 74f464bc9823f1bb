"""What the headers of media files tell, and whether the files hold it."""
import math
import os
from fractions import Fraction
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Stream

from stanet_jax.media.clock import may_be_joined
from stanet_jax.media.container import open_media, packets, require_video, sound_stream, video_stream
from stanet_jax.media.video import decode

_LEAST_MISSING = 0.5  # seconds; headers are wrong by less
_TELLING = ('mov,', 'matroska', 'avi', 'flv', 'asf')  # formats whose headers tell how long the file is to be
_STREAMS = {'': video_stream, 'its sound ': sound_stream}


class FilmHeader(NamedTuple):
    """What a video's header tells.

    Attributes:
        frames: their approximate number; None where the header does not tell.
        fps: the approximate number per second; 25 where the header does not tell.
        tick: the unit of its times, in seconds.
        aspect: width over height of a pixel, as stored.
        sound_start: the time at which its sound begins, in seconds; None where it has none, or the header does not tell.
        has_sound: whether it has sound.
    """
    frames: int | None
    fps: Fraction
    tick: Fraction
    aspect: Fraction
    sound_start: float | None
    has_sound: bool


def read_header(path: str | os.PathLike) -> FilmHeader:
    """Reads a video's header; InputError where it is no video, as `video.read_frames`."""
    with open_media(path) as container:
        stream = require_video(path, container)
        fps, sound = stream.average_rate or Fraction(25), sound_stream(container)
        start = None if sound is None or sound.start_time is None else float(sound.start_time * sound.time_base)  # type: ignore[operator]
        frames = stream.frames or container.duration and round(container.duration / av.time_base * fps)
        base: Fraction = stream.time_base  # type: ignore[assignment]  # every stream of a file has one
        return FilmHeader(frames, fps, base, stream.sample_aspect_ratio or Fraction(1), start, sound is not None)


def duration(path: str | os.PathLike) -> float:
    """Reads how long a video is from its first frame on, in seconds: from its header, or else from the times of all its packets.

    InputError where it is no video, as `video.read_frames`.
    """
    with open_media(path) as container:
        stream = require_video(path, container)
        if not may_be_joined(container):  # else the file's end tells nothing
            if stream.duration:
                return float(stream.duration * stream.time_base)  # type: ignore[operator]  # every stream of a file has a time base
            if container.duration:
                return container.duration / av.time_base
        span = read_span(container, stream)
        return span.length if span else 0.0


class Counted(NamedTuple):
    """The number of frames of a video, and their shape (h, w)."""
    frames: int
    shape: tuple[int, int]


def count_frames(path: str | os.PathLike) -> Counted:
    """Counts the frames of a video file, which is decoded for it; InputError where it is no video, as `video.read_frames`."""
    with open_media(path) as container:
        stream = require_video(path, container)
        count = sum(1 for _ in decode(container, [stream]))
        return Counted(count, (stream.codec_context.height, stream.codec_context.width))


class Span(NamedTuple):
    """From when to when a stream's packets are, in seconds."""
    start: float
    end: float

    @property
    def length(self) -> float:
        """In seconds."""
        return self.end - self.start


def read_span(container: InputContainer, stream: Stream) -> Span | None:
    """Reads all packets of a stream of an open file; None where none has a time."""
    tick, start, end = float(stream.time_base), math.inf, -math.inf  # type: ignore[arg-type]
    for _, packet in packets(container, [stream]):
        if packet is not None and packet.pts is not None:
            start, end = min(start, packet.pts * tick), max(end, (packet.pts + (packet.duration or 0)) * tick)
    return Span(start, end) if end >= start else None


def _promised_length(container, stream):
    """How long a stream is to be by its own header, in seconds; 0 where that does not tell."""
    if container.format.name == 'avi':  # of a file that breaks off FFmpeg corrects the length, but not the number of pictures
        return float(stream.frames / stream.average_rate) if stream.type == 'video' and stream.average_rate else 0.0
    # An edit list may show less of it.
    return min(float(stream.duration * stream.time_base), container.duration / av.time_base) if stream.duration else 0.0


def find_break(path: str | os.PathLike) -> str:
    """Says in a line where a file breaks off before the end that its header tells, as one that was fetched in part; '' where it does not.

    All packets are read, and none is decoded. Formats whose headers do not tell are not looked at.
    """
    promised, spans, whole = {}, {}, 0.0
    for kind, choose in _STREAMS.items():  # one after the other, as reading ends with the first that breaks off
        with open_media(path) as container:
            stream = choose(container)
            if not container.format.name.startswith(_TELLING):
                return ''
            if stream is not None:
                whole = (container.duration or 0) / av.time_base
                promised[kind] = _promised_length(container, stream)
                spans[kind] = read_span(container, stream) or Span(0.0, 0.0)
    if spans and not any(promised.values()):  # the header tells of the whole alone, whose end may be the film's or the sound's
        promised, spans = {'': whole}, {'': Span(min(span.start for span in spans.values()), max(span.end for span in spans.values()))}
    return '; '.join(f'{path}: {kind}breaks off after {spans[kind].length:.1f} of {length:.1f} s' for kind, length in promised.items()
                     if spans[kind].length < length - max(_LEAST_MISSING, 0.01 * length))
