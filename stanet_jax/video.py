"""Video files to frames: constant memory, by time stamps, as any container and codec that FFmpeg knows."""
import io
import os

import av
import numpy as np
from PIL import Image

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
        return av.open(path, metadata_errors='replace')
    except (av.FFmpegError, OSError) as e:
        raise InputError(f'{path}: cannot be read as video or sound ({e.strerror}); fetch it again') from None


def video_stream(container):
    """The first stream that is a film (cover art is a video stream too, of one attached picture), or None."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            return stream
    return None


def decode(container, stream):
    """Yields the `(seconds, frame)` of one stream in display order; what does not decode is left out.

    Seconds are the container's own clock. A frame without a time stamp follows the one before it.
    """
    # One thread: clips are decoded side by side, and a threaded decoder drops other frames of a damaged file.
    stream.codec_context.thread_count = 1
    end = 0.0
    for packet in _packets(container, stream):
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            continue
        for frame in frames:
            seconds = end if frame.pts is None else float(frame.pts * frame.time_base)
            end = seconds + _duration(frame, stream)
            yield seconds, frame


def _packets(container, stream):
    try:
        for packet in container.demux(stream):
            if packet.dts is not None or packet.size:
                yield packet
    except av.FFmpegError:
        pass  # The file breaks off here.
    yield None  # Flushes the frames that the decoder still holds.


def _duration(frame, stream):
    if isinstance(frame, av.AudioFrame):
        return frame.samples / frame.sample_rate
    if frame.duration:
        return float(frame.duration * frame.time_base)
    return 1 / float(stream.average_rate) if stream.average_rate else 0.0


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
        frames = _every(container, stream) if rate is None else _at_rate(container, stream, rate)
        # Frames that are shown more than once are converted once.
        last, image = None, None
        for frame in frames:
            if frame is not last:
                last, image = frame, _to_rgb(frame, side)
            yield image
        if last is None:
            raise InputError(f'{path}: no frame of it decodes; fetch it again')


def _every(container, stream):
    for _, frame in decode(container, stream):
        yield frame


def _at_rate(container, stream, rate):
    count, held, first, end = 0, None, 0.0, 0.0
    for seconds, frame in decode(container, stream):
        if held is None:
            first = seconds
        while held is not None and count / rate < seconds - first - _TOLERANCE:
            yield held
            count += 1
        held, end = frame, seconds - first + _duration(frame, stream)
    while held is not None and (count == 0 or count / rate < end - _TOLERANCE):
        yield held
        count += 1


def _to_rgb(frame, side):
    width, height = (side, side) if side else (frame.width, frame.height)
    # Area averages all pixels that a smaller picture merges; for enlarging it repeats pixels, so cubic there.
    method = 'AREA' if width <= frame.width and height <= frame.height else 'BICUBIC'
    image = frame.reformat(width, height, 'rgb24', interpolation=method, threads=1).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def read_clip(path, rate, side):
    """Reads a clip as it is stored: `(frames, sound)`.

    Frames are JPEG bytes of side x side pixels at times k / rate, the sound is int16 `[n]`, mono, 16 kHz, from the time
    of the first frame, None where there is none. InputError as `read_frames`.
    """
    from stanet_jax.audio import read_sound  # Here, as audio.py is built on this file.
    frames = [to_jpeg(image) for image in read_frames(path, rate, side)]
    wave = read_sound(path)
    return frames, None if wave is None else np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def to_jpeg(image):
    """JPEG bytes of a uint8 RGB `[h, w, 3]` image, at a quality whose error (about 1 of 255) is below the codec's."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=95, subsampling=0)
    return buffer.getvalue()
