"""Puts a video's sound beside the film of its overlay."""
import io
import itertools
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from stanet_jax.media.container import open_media, packets, sound_stream
from stanet_jax.media.video import decode

COPIED = ('aac', 'ac3', 'alac', 'flac', 'mp3', 'opus')  # codecs of sound that is copied into an mp4, not encoded again


def add_sound(video: str | os.PathLike, film: str | os.PathLike, out: str | os.PathLike, delay: float, origin: float) -> None:
    """Writes the mp4 file `out`: a film with the first sound stream of a video.

    The sound is copied where an mp4 takes it and it is the same from begin to end, or else encoded as AAC.

    Args:
        video: the file whose sound it is.
        film: an mp4 file of one video stream, whose packets are copied.
        out: file to write.
        delay: when the film begins, in seconds of the new file.
        origin: the time in the video that becomes 0 in the new file, in seconds.
    """
    copied = can_copy_sound(video)
    options = {'movflags': '+faststart'}
    with open_media(video) as source, av.open(os.fspath(film)) as shown, av.open(os.fspath(out), 'w', options=options) as target:
        pictures = shown.streams.video[0]
        picture = target.add_stream_from_template(pictures)
        picture.time_base = pictures.time_base
        stream = sound_stream(source)
        sound: Iterator[av.Packet] = iter(())
        if stream is not None and copied:
            sound = _copied(source, stream, target.add_stream_from_template(stream), origin)
        elif stream is not None:
            rate = stream.sample_rate if stream.sample_rate in av.Codec('aac', 'w').audio_rates else 48000  # type: ignore[operator]
            layout = stream.layout.name if stream.layout.name in ('mono', 'stereo', '5.1', '7.1') else 'stereo'
            sound = _encoded(source, stream, target.add_stream('aac', rate=rate, layout=layout), origin)
        due = next(sound, None)
        for packet in shown.demux(pictures):
            if packet.dts is None:
                continue
            packet.pts, packet.dts = (time + round(delay / packet.time_base) for time in (packet.pts, packet.dts))
            while due is not None and due.dts * due.time_base <= packet.dts * packet.time_base:  # type: ignore[operator]  # each has a time
                target.mux(due)
                due = next(sound, None)
            packet.stream = picture
            target.mux(packet)
        for packet in itertools.chain([due] if due else [], sound):
            target.mux(packet)


def can_copy_sound(video: str | os.PathLike) -> bool:
    """Whether a video's sound can be copied into an mp4 file: by its codec, and as its rate and channels stay the same."""
    with open_media(video) as source:
        stream = sound_stream(source)
        if stream is None or not _fits_mp4(stream):
            return False
        kinds = (_kind(frame) for frame, _, _ in decode(source, [stream]))
        first = next(kinds, None)
        return all(other == first for other in kinds)


def _kind(frame):
    """What a resampler takes frames of alone: their rate, channels and format."""
    return frame.sample_rate, frame.layout.name, frame.format.name


def _fits_mp4(stream):
    try:
        if stream.codec_context.codec.canonical_name in COPIED:
            with av.open(io.BytesIO(), 'w', format='mp4') as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
                return True
    except (av.FFmpegError, ValueError):
        pass  # such as MP3 of fewer than 16,000 samples a second
    return False


def _copied(source, stream, target, origin):
    """Yields the packets of a stream as they are, with times from `origin` on."""
    shift, last, following = round(origin / float(stream.time_base)), None, 0
    for _, packet in packets(source, [stream]):
        if packet is None:
            return
        start = following if packet.dts is None else packet.dts - shift
        if last is not None and start <= last:
            start = max(following, last + 1)  # several packets with one time: each begins where the one before ends
        packet.pts = packet.dts = last = start
        following = start + max(packet.duration or 0, 1)
        packet.stream = target
        yield packet


def _encoded(source, stream, target, origin):
    """Yields the packets of a stream that is decoded and encoded again, with times from `origin` on."""
    codec, layout = target.codec_context, target.codec_context.layout
    last = 0  # of the samples that are there, at the encoder's rate
    # Frames of one kind after the other: a broadcast's sound may change its rate and channels.
    for _, alike in itertools.groupby(decode(source, [stream]), lambda timed: _kind(timed.frame)):
        resampler: Any = av.AudioResampler('fltp', layout, codec.sample_rate)
        end = None
        for frame, start, _ in alike:
            # Sound that overlaps with what is there begins where that ends.
            start = max(start - origin, last / codec.sample_rate if end is None else end / frame.sample_rate)
            frame.pts, frame.time_base = round(start * frame.sample_rate), Fraction(1, frame.sample_rate)
            end = frame.pts + frame.samples
            for resampled in resampler.resample(frame):
                last = resampled.pts + resampled.samples
                yield from target.encode(resampled)
        for resampled in resampler.resample(None):
            last = resampled.pts + resampled.samples
            yield from target.encode(resampled)
    yield from target.encode()
