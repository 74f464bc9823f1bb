"""Frames of video files: of any container and codec that FFmpeg knows, by their time stamps, in constant memory."""
import collections
import functools
import heapq
import itertools
import math
import os
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from stanet_jax import InputError
from stanet_jax.media.clock import Clock, may_be_joined
from stanet_jax.media.container import LARGEST_FRAME, on_progress, open_media, read_packets, require_video, video_stream
from stanet_jax.media.frame import to_rgb

# Which files in a folder are taken for videos; a file that is given by its name may have any suffix.
VIDEO_SUFFIXES = frozenset('.3g2 .3gp .asf .avi .divx .f4v .flv .gif .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogm .ogv .ts '
                           '.vob .webm .wmv'.split())
# Matroska rounds times to a millisecond: a frame due within it counts as due.
_TOLERANCE = 1.001e-3
_REORDERED = 16  # places that a frame is moved by from the order of decoding to that of showing, at most


class TimedFrame(NamedTuple):
    """A decoded frame of a video or sound stream.

    Attributes:
        frame: an `av.VideoFrame` or `av.AudioFrame`.
        start, end: when it is shown or heard, in seconds on the file's clock.
    """
    frame: Any
    start: float
    end: float


class DisplayOrder:
    """Gives frames, which come in the order of showing, their times in that order where a file holds the times of decoding alone.

    So do AVI, many recorders of FLV, and some codecs in mp4: the times of showing rise from packet to packet, as those of decoding do. As
    long as this is so, the times of the frames are sorted; frames that are not reordered keep theirs.
    """

    def __init__(self) -> None:
        self._sorts, self._last = True, -math.inf
        self._frames: collections.deque[Any] = collections.deque()
        self._times: list[tuple[float, float]] = []

    def see(self, packet: av.Packet) -> None:
        """Looks at the times of the next packet."""
        if packet.pts is not None:
            self._sorts &= packet.pts >= self._last
            self._last = packet.pts

    def put(self, timed: TimedFrame) -> Iterator[TimedFrame]:
        """Takes the next frame and yields those whose times are known."""
        self._frames.append(timed.frame)
        heapq.heappush(self._times, (timed.start, timed.end))
        return self.take(_REORDERED if self._sorts else 0)

    def take(self, left: int = 0) -> Iterator[TimedFrame]:
        """Yields the frames that are held but for the last `left` ones."""
        while len(self._frames) > left:
            yield TimedFrame(self._frames.popleft(), *heapq.heappop(self._times))


def decode(container: InputContainer, streams: Sequence[Stream], skip: Container[Stream] = ()) -> Iterator[TimedFrame]:
    """Yields the frames of some video and sound streams, each stream in display order, at times of one clock, see `packets`.

    Frames that do not decode are skipped; a frame without a time stamp starts where the one before it ends. Streams in `skip` are
    not decoded; it may grow during the iteration.
    """
    for timed in _decode(container, streams, skip):
        for progress in on_progress:
            progress()
        yield timed


def _decode(container, streams, skip):
    ends = dict.fromkeys(streams, 0.0)
    orders = {stream: DisplayOrder() for stream in streams if stream.type == 'video'}
    for stream in streams:
        # One thread: clips are decoded side by side, and a threaded decoder drops other frames of a damaged file.
        stream.codec_context.thread_count = 1
        if stream.type == 'video':
            stream.codec_context.options = {'max_pixels': str(LARGEST_FRAME)}
    for stream, packet in read_packets(container, streams):
        if stream in skip:
            stream.discard = av.stream.Discard.all
            continue
        order = orders.get(stream)
        if order and packet is not None:
            order.see(packet)
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            frames = []
        tick = float(stream.time_base)
        for frame in frames:
            start = ends[stream] if frame.pts is None else frame.pts * tick
            ends[stream] = end = start + _duration(frame, stream, tick)
            timed = TimedFrame(frame, start, end)
            yield from order.put(timed) if order else [timed]
        if order and packet is None:
            yield from order.take()


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
            if not (may_be_joined(container) and is_spliced(os.fspath(path), os.path.getsize(path))):  # or else the file's times say little
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


@functools.lru_cache(16)  # of a long film many clips are read one after the other
def is_spliced(path: str, size: int) -> bool:
    """Whether the clock of a file of `size` bytes starts anew or jumps in it; all of its packets are read."""
    with open_media(path) as container:
        clock = Clock(container)
        try:
            for packet in container.demux(video=0, audio=0):
                if packet.size:
                    clock.set_times(packet)
        except av.FFmpegError:
            pass  # The file breaks off here.
    return clock.spliced


def read_frames(path: str | os.PathLike, rate: float | None = None, side: int | None = None, start: float = 0.0, end: float | None = None,
                ) -> Iterator[UInt8[np.ndarray, 'h w 3']]:
    """Yields a video's frames at times k / rate from its first frame on, or from `start` seconds after it.

    Args:
        path: a video file.
        rate: frames per second; None yields every decoded frame.
        side: frames are resized to side x side pixels (not cropped, as in the papers); None leaves their size.
        start, end: which part of the video is read, in seconds from its first frame; to its end where `end` is None. They need a rate.

    Yields:
        RGB frames, turned as the file says they are to be shown: for each time the latest decoded frame at or before it, up to the
        end of the last frame. Of a file that is cut off, the frames that decode are yielded.

    Raises:
        InputError: the file is missing, empty, encrypted, not a media file, has no video stream, or no frame of the part decodes.
    """
    with open_media(path) as container:
        stream = require_video(path, container)
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
