"""Video files to frames: constant memory, by time stamps, as any container and codec that FFmpeg knows."""
import os

import av
import numpy as np
import PIL.Image
from av.video.reformatter import VideoReformatter

from stanet_jax import InputError

# Matroska rounds times to a millisecond: a frame due within it counts as due.
_TOLERANCE = 1.001e-3


def open_media(path):
    """Opens a media file for reading (a PyAV container, to be used with `with`); InputError where it is none."""
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


def video_stream(container):
    """The first stream that is a film (cover art is a video stream too, of one attached picture), or None."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            return stream
    return None


def decode(container, streams, skip=()):
    """Yields `(frame, start, end)` of some streams, each in display order; what does not decode is left out.

    Start and end are seconds on the container's clock. A frame without a time stamp follows the one before it. `skip`
    is a collection of streams that are not decoded (any more: it may grow meanwhile).
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
        tick = float(stream.time_base)
        for frame in frames:
            start = ends[stream] if frame.pts is None else frame.pts * tick
            ends[stream] = end = start + _duration(frame, stream, tick)
            yield frame, start, end


def packets(container, streams):
    """Yields `(stream, packet)` as they are stored, up to where the file breaks off, then `(stream, None)` for each stream."""
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


def read_frames(path, rate=None, side=None):
    """Yields a film's frames at times k / rate from its first frame.

    Args:
        path: a video file.
        rate: frames per second; None yields every decoded frame.
        side: frames are resized to side x side pixels (not cropped, as in the papers); None leaves their size.

    Yields:
        uint8 RGB `[h, w, 3]`, turned as the file says it is to be shown: the latest decoded frame at or before each
        time, up to the end of the last frame. Where the file breaks off, what decodes is yielded.

    Raises:
        InputError: the file is missing, empty, no media, has no video stream, or no frame of it decodes.
    """
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f'{path}: has no video stream')
        decoded = decode(container, [stream])
        frames = (frame for frame, _, _ in decoded) if rate is None else _at_rate(decoded, rate)
        scaler = VideoReformatter()
        # Frames that are shown more than once are converted once.
        last, image = None, None
        for frame in frames:
            if frame is not last:
                last, image = frame, to_rgb(frame, side, scaler)
            yield image
        if last is None:
            raise InputError(f'{path}: no frame of it decodes; fetch it again')


def _at_rate(decoded, rate):
    count, held, origin = 0, None, 0.0
    for frame, start, end in decoded:
        if held is None:
            origin = start
        while held is not None and count / rate < start - origin - _TOLERANCE:
            yield held
            count += 1
        held, due, last = frame, start - origin + _TOLERANCE, end - origin - _TOLERANCE
    # The last frame is shown to its end, or once at its own time however short it is.
    while held is not None and (count / rate <= due or count / rate < last):
        yield held
        count += 1


def to_rgb(frame, side, scaler):
    """A decoded frame as uint8 RGB [h, w, 3], turned as the file says it is to be shown; side: see `read_frames`."""
    width, height = (side, side) if side else (frame.width, frame.height)
    # Area averages all pixels that a smaller picture merges; for enlarging it repeats pixels, so cubic there.
    method = 'AREA' if width <= frame.width and height <= frame.height else 'BICUBIC'
    image = scaler.reformat(frame, width, height, 'rgb24', interpolation=method, threads=1).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def resize_frame(frame, side):
    """A frame uint8 [h, w, 3] resized to side x side pixels, as `read_frames` does it: by areas where it shrinks, else cubic."""
    h, w, _ = frame.shape
    method = PIL.Image.Resampling.BOX if side <= min(h, w) else PIL.Image.Resampling.BICUBIC
    return frame if h == w == side else np.asarray(PIL.Image.fromarray(frame).resize((side, side), method))


def frame_count(video):
    """About how many frames a video has, or None, and about how many a second."""
    with open_media(video) as container:
        stream = video_stream(container)
        fps = float(stream and stream.average_rate or 25)
        if stream is None or stream.frames:
            return stream and stream.frames, fps
        return container.duration and round(container.duration / av.time_base * fps), fps
