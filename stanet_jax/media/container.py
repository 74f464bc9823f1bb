"""Media files as FFmpeg opens them: their streams, and the packets of these on one clock."""
import os
from collections.abc import Callable, Iterator, Sequence

import av
from av.container import InputContainer
from av.stream import Stream

from stanet_jax import InputError
from stanet_jax.media.clock import Clock
from stanet_jax.media.encryption import is_encrypted

LARGEST_FRAME = 2 ** 27  # pixels, about those of a film of 16K; the decoders refuse more
# Called at every frame, and at every packet where packets alone are read; the child process of `media.box` counts them.
on_progress: list[Callable[[], object]] = []


def open_media(path: str | os.PathLike) -> InputContainer:
    """Opens a media file for reading, to be used with `with`.

    Raises:
        InputError: the file is missing, empty, encrypted, or neither video nor sound.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise InputError(f'{path}: no such file; check the name')
    if os.path.getsize(path) == 0:
        raise InputError(f'{path}: the file is empty; fetch it again')
    try:
        # Names and comments of a file need not be UTF-8, and nothing here reads them.
        # The whole path, as FFmpeg takes what comes before a colon for a protocol.
        container = av.open(os.path.abspath(path), metadata_errors='replace')
    except (av.FFmpegError, OSError) as e:
        raise InputError(f'{path}: cannot be read as video or sound ({e.strerror}); fetch it again') from None
    if is_encrypted(path, container):
        container.close()
        raise InputError(f'{path}: is encrypted, and needs its key; decrypt it first')
    return container


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """Gives the first video stream that can be decoded and is not cover art (a video stream of one picture), or None."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            return stream
    return None


def require_video(path: str | os.PathLike, container: InputContainer) -> av.VideoStream:
    """Gives `video_stream` of an open file; InputError where there is none."""
    stream = video_stream(container)
    if stream is None:
        raise InputError(f'{path}: has no video stream; give a video')
    return stream


def sound_stream(container: InputContainer) -> av.AudioStream | None:
    """Gives the first audio stream that can be decoded, or None."""
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[tuple[Stream, av.Packet | None]]:
    """Yields `(stream, packet)` in the file's order up to its end or to where it is cut off, then `(stream, None)` for each stream.

    The times of the packets are those of a `Clock`, by film and sound, so that both go on where recordings were joined. Streams that are
    not asked for do not end the reading.
    """
    for packet in read_packets(container, streams):
        for progress in on_progress:
            progress()
        yield packet


def read_packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[tuple[Stream, av.Packet | None]]:
    """Yields what `packets` does; not all of these packets are progress to who waits for frames."""
    clock = None if container.format.name.startswith('mov,') else Clock(container)  # the times of an mp4 cannot fall back
    watched = set(streams) | ({video_stream(container), sound_stream(container)} - {None} if clock else set())
    for stream in container.streams:
        stream.discard = av.stream.Discard.default if stream in watched else av.stream.Discard.all
    counts_pictures = container.format.name == 'avi'
    try:
        for packet in container.demux(*watched):
            if clock and packet.size:
                clock.set_times(packet)
            if packet.size and packet.stream in streams:
                if counts_pictures and packet.stream.type == 'video':
                    packet.pts = packet.dts  # FFmpeg makes up a pts, which is late by the delay of the decoder
                yield packet.stream, packet
    except av.FFmpegError:
        pass  # The file breaks off here.
    for stream in streams:
        yield stream, None  # Flushes the frames that the decoder still holds.
