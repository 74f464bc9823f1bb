"""Makes films with what odd films have: joined clocks, times of decoding, mirrors, encryption, sound that changes."""
import pathlib
import struct
from fractions import Fraction

import av
import numpy as np

ONE = 1 << 16  # of a display matrix
MATRICES = {'hflip': (-ONE, 0, 0, ONE), 'vflip': (ONE, 0, 0, -ONE), 'turned': (0, ONE, -ONE, 0), 'transpose': (0, ONE, ONE, 0),
            'antitranspose': (0, -ONE, -ONE, 0), 'zeros': (0, 0, 0, 0), 'flat': (ONE, 0, 0, 0), 'tilted': (ONE, ONE // 9, -ONE // 9, ONE)}


def picture(k, size=(64, 48)):
    """Grey of a level that says which frame it is, with a white corner."""
    image = np.full((size[1], size[0], 3), 20 + 4 * k % 180, np.uint8)
    image[:12, :20] = 250
    return image


def write(path, frames=25, rate=25, sound='aac', layout='mono', sound_rate=48000, codec='libx264', reordered=0, options=None, tick=None,
          beep=None, decoding_times=False):
    """A film of numbered grey frames with as long a sound, whose packets are interleaved.

    Args:
        path: file to write, whose suffix tells the format.
        frames, rate: of the film.
        sound: its codec; '' for none. With layout and sound_rate.
        codec: of the film; reordered: its B-frames.
        options: of the muxer.
        tick: the film's time base.
        beep: time of half a second of tone and of white frames; None for a tone all along.
        decoding_times: whether times of showing are those of decoding.
    """
    packets = []
    with av.open(str(path), 'w', options=options or {}) as container:
        film = container.add_stream(codec, rate=rate, width=64, height=48, pix_fmt='yuv420p')
        if codec == 'libx264':
            film.options = {'preset': 'ultrafast', 'bf': str(reordered), 'b_strategy': '0', 'g': '12'}
        elif reordered:
            film.codec_context.max_b_frames = reordered
        if tick:
            film.codec_context.time_base = tick
        voice = container.add_stream(sound, rate=sound_rate, layout=layout) if sound else None
        for k in range(frames):
            white = beep is not None and beep <= k / rate < beep + 0.5
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 255, np.uint8) if white else picture(k), format='rgb24')
            frame.pts, frame.time_base = round(k / rate / (tick or Fraction(1, rate))), tick or Fraction(1, rate)
            packets += film.encode(frame)
        packets += film.encode()
        if voice:
            t = np.arange(round(frames / rate * sound_rate)) / sound_rate
            wave = 0.4 * np.sin(2 * np.pi * 500 * t) * (1 if beep is None else (t >= beep) & (t < beep + 0.5))
            channels = len(av.AudioLayout(layout).channels)
            frame = av.AudioFrame.from_ndarray(np.float32(np.tile(wave, (channels, 1))), format='fltp', layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = sound_rate, 0, Fraction(1, sound_rate)
            for part in av.AudioResampler(voice.codec_context.format, layout, sound_rate).resample(frame):
                packets += voice.encode(part)
            packets += voice.encode()
        first = min(packet.dts for packet in packets if packet.stream is film)
        for packet in packets:
            if decoding_times and packet.stream is film:
                packet.dts -= first
                packet.pts = packet.dts
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def join(path, *parts):
    """One file after the other, as `cat` does."""
    path.write_bytes(b''.join(pathlib.Path(part).read_bytes() for part in parts))
    return path


def set_matrix(path, name):
    """Writes one of MATRICES into the header of an mp4 file's film."""
    content = bytearray(path.read_bytes())
    (a, b, c, d), at = MATRICES[name], content.index(b'tkhd') + 44
    content[at:at + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30 if any(MATRICES[name]) else 0)
    path.write_bytes(content)
    return path


def encrypt():
    """Options of the mp4 muxer, by which a film is encrypted."""
    return {'encryption_scheme': 'cenc-aes-ctr', 'encryption_key': '76a6c65c5ea762046bd749a2e632ccbb',
            'encryption_kid': 'a7e61c373e219033c21091fa607bf3b8'}


def shift_ts(path, seconds):
    """Moves the times of a transport stream on, by reading its packets and writing them again."""
    moved = path.with_name(f'moved_{path.name}')
    with av.open(str(path)) as source, av.open(str(moved), 'w', format='mpegts', options={'mpegts_copyts': '1'}) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.pts, packet.dts = (time + round(seconds / packet.time_base) for time in (packet.pts, packet.dts))
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return moved
