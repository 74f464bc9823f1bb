"""Frames of video files: of any container and codec that FFmpeg knows, by their time stamps, in constant memory."""
import itertools
import math
import os
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

import av
import numpy as np
import PIL.Image
from av.container import InputContainer
from av.stream import Stream
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from stanet_jax import InputError

# Which files in a folder are taken for videos; a file that is given by its name may have any suffix.
VIDEO_SUFFIXES = frozenset('.3g2 .3gp .asf .avi .divx .f4v .flv .gif .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogm .ogv .ts '
                           '.vob .webm .wmv'.split())
# Matroska rounds times to a millisecond: a frame due within it counts as due.
_TOLERANCE = 1.001e-3


class TimedFrame(NamedTuple):
    """A decoded frame of a video or sound stream.

    Attributes:
        frame: an `av.VideoFrame` or `av.AudioFrame`.
        start, end: when it is shown or heard, in seconds on the file's clock.
    """
    frame: Any
    start: float
    end: float


class FrameCount(NamedTuple):
    """How many frames a video has, as its header tells.

    Attributes:
        frames: their approximate number; None where the header does not tell.
        fps: the approximate number per second.
    """
    frames: int | None
    fps: float


def open_media(path: str | os.PathLike) -> InputContainer:
    """Opens a media file for reading, to be used with `with`.

    Raises:
        InputError: the file is missing, empty, or neither video nor sound.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise InputError(f'{path}: no such file')
    if os.path.getsize(path) == 0:
        raise InputError(f'{path}: the file is empty; fetch it again')
    try:
        # Names and comments of a file need not be UTF-8, and nothing here reads them.
        # The whole path, as FFmpeg takes what comes before a colon for a protocol.
        return av.open(os.path.abspath(path), metadata_errors='replace')
    except (av.FFmpegError, OSError) as e:
        raise InputError(f'{path}: cannot be read as video or sound ({e.strerror}); fetch it again') from None


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """Gives the first video stream that can be decoded and is not cover art (a video stream of one picture), or None."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            return stream
    return None


def decode(container: InputContainer, streams: Sequence[Stream], skip: Container[Stream] = ()) -> Iterator[TimedFrame]:
    """Yields the frames of some video and sound streams, each stream in display order.

    Frames that do not decode are skipped; a frame without a time stamp starts where the one before it ends. Streams in `skip` are
    not decoded; it may grow during the iteration.
    """
    ends = dict.fromkeys(streams, 0.0)
    for stream in streams:
        # One thread: clips are decoded side by side, and a threaded decoder drops other frames of a damaged file.
        stream.codec_context.thread_count = 1
    for stream, packet in packets(container, streams):
        if stream in skip:
            continue
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            continue
        tick = float(stream.time_base)  # type: ignore[arg-type]  # every stream of a file has a time base
        for frame in frames:
            start = ends[stream] if frame.pts is None else frame.pts * tick
            ends[stream] = end = start + _duration(frame, stream, tick)
            yield TimedFrame(frame, start, end)


def packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[tuple[Stream, av.Packet | None]]:
    """Yields `(stream, packet)` in the file's order up to its end or to where it is cut off, then `(stream, None)` for each stream."""
    try:
        for packet in container.demux(streams):
            if packet.size:
                yield packet.stream, packet
    except av.FFmpegError:
        pass  # The file breaks off here.
    for stream in streams:
        yield stream, None  # Flushes the frames that the decoder still holds.


def _duration(frame, stream, tick):
    if isinstance(frame, av.AudioFrame):
        return frame.samples / frame.sample_rate
    return frame.duration * tick or 1 / float(stream.average_rate or 25)


def decode_from(path: str | os.PathLike, choose: Callable[[InputContainer], Stream | None], time: float) -> Iterator[TimedFrame]:
    """Yields the frames of one stream from `time` on, in seconds on the file's clock, and some of those before.

    A file is entered at a place from which its stream decodes; one that cannot be entered so is decoded from its beginning.

    Args:
        path: a media file.
        choose: takes the open file and gives the stream, as `video_stream` does; of None there are no frames.
        time: the first frame that is yielded starts at this time or before, unless there is none.
    """
    with open_media(path) as container:
        stream = choose(container)
        if stream is None:
            return
        frames, first = decode(container, [stream]), None
        try:
            container.seek(math.floor((time - 1) / float(stream.time_base)), stream=stream)  # type: ignore[arg-type]
            first = next(frames, None)
        except av.FFmpegError:
            pass
        if first is not None and first.frame.pts is not None and first.start <= time:
            yield first
            yield from frames
            return
    with open_media(path) as container:
        stream = choose(container)
        yield from decode(container, [stream] if stream else [])


def read_frames(path: str | os.PathLike, rate: float | None = None, side: int | None = None, start: float = 0.0, end: float | None = None,
                ) -> Iterator[UInt8[np.ndarray, 'h w 3']]:
    """Yields a video's frames at times k / rate from its first frame on, or from `start` seconds after it.

    Args:
        path: a video file.
        rate: frames per second; None yields every decoded frame.
        side: frames are resized to side x side pixels (not cropped, as in the papers); None leaves their size.
        start, end: which part of the video is read, in seconds from its first frame; to its end where `end` is None. They need a rate.

    Yields:
        RGB frames, rotated as the file says they are to be shown: for each time the latest decoded frame at or before it, up to the
        end of the last frame. Of a file that is cut off, the frames that decode are yielded.

    Raises:
        InputError: the file is missing, empty, not a media file, has no video stream, or no frame of the part decodes.
    """
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f'{path}: has no video stream')
        decoded, origin = decode(container, [stream]), None
        if start and (first := next(decoded, None)) is not None:
            origin = first.start + start
            decoded = decode_from(path, video_stream, origin)
        frames = (frame for frame, _, _ in decoded) if rate is None else _at_rate(decoded, rate, origin)
        if rate is not None and end is not None:
            frames = itertools.islice(frames, math.ceil((end - start) * rate - 1e-6))
        scaler = VideoReformatter()
        # Frames that are shown more than once are converted once.
        last = None
        for frame in frames:
            if frame is not last:
                last, image = frame, to_rgb(frame, side, scaler)
            yield image
        if last is None:
            raise InputError(f'{path}: no frame of it decodes{f" from {start:g} s on" if start else ""}; fetch it again')


def _at_rate(decoded, rate, origin=None):
    count, held = 0, None
    for frame, start, end in decoded:
        if origin is None:
            origin = start
        while held is not None and count / rate < start - origin - _TOLERANCE:
            yield held
            count += 1
        held, due, last = frame, start - origin + _TOLERANCE, end - origin - _TOLERANCE
    # The last frame is shown to its end, or once at its own time however short it is.
    while held is not None and (count / rate <= due or count / rate < last):
        yield held
        count += 1


def to_rgb(frame: av.VideoFrame, side: int | None, scaler: VideoReformatter) -> UInt8[np.ndarray, 'h w 3']:
    """Converts a decoded frame to RGB, rotated as the file says it is to be shown, with `side` as in `read_frames`."""
    width, height = (side, side) if side else (frame.width, frame.height)
    # Area averages all pixels that a smaller picture merges; for enlarging it repeats pixels, so cubic there.
    method = 'AREA' if width <= frame.width and height <= frame.height else 'BICUBIC'
    image = scaler.reformat(frame, width, height, 'rgb24', interpolation=method, threads=1).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def resize_frame(frame: UInt8[np.ndarray, 'h w 3'], side: int) -> UInt8[np.ndarray, 'h2 w2 3']:
    """Resizes a frame to side x side pixels as `read_frames` does: by averaging areas where it shrinks, else bicubic. 0 leaves it."""
    if not side:
        return frame
    h, w, _ = frame.shape
    method = PIL.Image.Resampling.BOX if side <= min(h, w) else PIL.Image.Resampling.BICUBIC
    return frame if h == w == side else np.asarray(PIL.Image.fromarray(frame).resize((side, side), method))


def frame_count(video: str | os.PathLike) -> FrameCount:
    """Reads from a video's header about how many frames it has, and how many per second (25 where it does not tell)."""
    with open_media(video) as container:
        stream = video_stream(container)
        fps = float(stream and stream.average_rate or 25)
        if stream is None:
            return FrameCount(None, fps)
        return FrameCount(stream.frames or container.duration and round(container.duration / av.time_base * fps), fps)


def duration(path: str | os.PathLike) -> float:
    """Reads how long a video is from its first frame on, in seconds: from its header, or else from the times of all its frames.

    InputError where it is no video, as `read_frames`.
    """
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f'{path}: has no video stream')
        tick = float(stream.time_base)  # type: ignore[arg-type]
        if stream.duration:
            return stream.duration * tick
        if container.duration:
            return container.duration / av.time_base
        times = [packet.pts * tick for _, packet in packets(container, [stream]) if packet is not None and packet.pts is not None]
    return max(times, default=0.0) - min(times, default=0.0)
