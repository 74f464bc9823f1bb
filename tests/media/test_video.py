"""Frames out of video files: times, sizes, and files that are damaged."""
import pathlib
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.media.clip import read_clip, to_jpeg
from stanet_jax.media.header import duration, read_header
from stanet_jax.media.sound import read_sound
from stanet_jax.media.video import read_frames

MEDIA = pathlib.Path(__file__).parents[3] / 'shared' / 'media'
needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason='the shared media are not here')


def write(path, images, times, options=None):
    """Images (uint8 [h, w, 3], or k for a noisy picture of mean 20 + 10 k) at times in milliseconds."""
    noise = np.random.default_rng(0).integers(-8, 9, (48, 64, 1))
    images = [(noise + 20 + 10 * image).repeat(3, 2).astype(np.uint8) if np.ndim(image) == 0 else image
              for image in images]
    with av.open(str(path), 'w', options=options or {}) as container:
        stream = container.add_stream('libx264', rate=1000, pix_fmt='yuv420p', options={'crf': '12', 'g': '10'})
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.height, stream.width = images[0].shape[:2]
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(frames):
    """Which of the numbered pictures each frame is."""
    return [round((float(frame.mean()) - 20) / 10) for frame in frames]


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    """The pictures 0 to 19, 10 a second."""
    path = tmp_path_factory.mktemp('film') / 'film.mp4'
    return write(path, range(20), range(0, 2000, 100), {'movflags': 'faststart'})


def test_every_frame(film):
    frames = list(read_frames(film))
    assert levels(frames) == list(range(20))
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in frames)


def test_rate_and_side(film):
    frames = list(read_frames(film, rate=5, side=24))
    assert levels(frames) == list(range(0, 20, 2)) and frames[0].shape == (24, 24, 3)
    assert levels(read_frames(film, rate=10)) == list(range(20))
    assert levels(read_frames(film, rate=20, side=100))[:38] == [k // 2 for k in range(38)]
    assert levels(read_frames(film, rate=.5)) == [0]


def test_frames_of_any_duration(tmp_path):
    path = write(tmp_path / 'a.mkv', [0, 1, 2, 3], [500, 600, 1000, 1500])
    assert levels(read_frames(path)) == [0, 1, 2, 3]
    assert levels(read_frames(path, rate=10)) == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]
    assert levels(read_frames(path, rate=4)) == [0, 1, 2, 2, 3]


def test_rounded_times(tmp_path):
    # Thirtieths of a second in a container that counts milliseconds.
    path = write(tmp_path / 'a.mkv', range(20), [i * 1000 // 30 for i in range(20)])
    assert levels(read_frames(path, rate=30)) == list(range(20))


def test_scaling_averages(tmp_path):
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    path = write(tmp_path / 'a.mp4', [stripes] * 3, [0, 100, 200])
    assert abs(next(read_frames(path, side=24)).astype(float) - 127).max() < 12


def test_one_frame(tmp_path):
    path = write(tmp_path / 'a.mp4', [7], [0])
    assert levels(read_frames(path)) == [7]
    assert levels(read_frames(path, rate=8)) == [7]


def test_turned_video(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = 255
    path = write(tmp_path / 'a.mp4', [image] * 3, [0, 100, 200])
    content = bytearray(path.read_bytes())
    matrix = content.index(b'tkhd') + 44
    one = 1 << 16
    content[matrix:matrix + 36] = struct.pack('>9i', 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(content)
    frame = next(read_frames(path))
    # Turned clockwise, what was left is up.
    assert frame.shape == (64, 48, 3) and frame[:24].mean() > 240 and frame[-24:].mean() < 15
    assert next(read_frames(path, side=32))[:12].mean() > 240


def test_file_that_breaks_off(film, tmp_path):
    content = film.read_bytes()
    cut = tmp_path / 'cut.mp4'
    cut.write_bytes(content[:len(content) * 2 // 3])
    found = levels(read_frames(cut))
    assert 0 < len(found) < 20 and found[:3] == [0, 1, 2]
    assert len(list(read_frames(cut, rate=10))) >= len(found)
    # Cut within the header, nothing is left.
    cut.write_bytes(content[:300])
    with pytest.raises(InputError, match='cut.mp4'):
        list(read_frames(cut))


def test_damaged_middle(film, tmp_path):
    content = bytearray(film.read_bytes())
    middle = len(content) * 3 // 4
    content[middle:middle + 60] = bytes(60)
    path = tmp_path / 'a.mp4'
    path.write_bytes(content)
    assert levels(read_frames(path))[:5] == [0, 1, 2, 3, 4]


def test_nothing_decodes(film, tmp_path):
    content = bytearray(film.read_bytes())
    data = content.index(b'mdat') + 4
    content[data:] = bytes(len(content) - data)
    path = tmp_path / 'a.mp4'
    path.write_bytes(content)
    with pytest.raises(InputError, match='a.mp4: .*(decodes|cannot be read)'):
        list(read_frames(path))


def test_no_film(tmp_path):
    (tmp_path / 'text.mp4').write_text('no film at all')
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'folder.mp4').mkdir()
    with av.open(str(tmp_path / 'sound.wav'), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=16000, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format='s16', layout='mono')
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
    for name in ('text.mp4', 'empty.mp4', 'missing.mp4', 'folder.mp4', 'sound.wav'):
        with pytest.raises(InputError, match=name) as caught:
            list(read_frames(tmp_path / name))
        assert '\n' not in str(caught.value)


def test_cover_art_is_no_film(tmp_path):
    path = tmp_path / 'a.mp4'
    with av.open(str(path), 'w') as container:
        cover = container.add_stream('mjpeg', rate=1, width=80, height=80, pix_fmt='yuvj420p')
        cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream('libx264', rate=10, width=64, height=48, pix_fmt='yuv420p')
        for target, shape, number in ((cover, (80, 80, 3), 1), (stream, (48, 64, 3), 5)):
            for i in range(number):
                frame = av.VideoFrame.from_ndarray(np.full(shape, 100, np.uint8), format='rgb24')
                frame.pts, frame.time_base = i, Fraction(1, 10)
                container.mux(target.encode(frame))
            container.mux(target.encode())
    assert [frame.shape for frame in read_frames(path)] == [(48, 64, 3)] * 5


def test_read_clip(film):
    clip = read_clip(film, rate=5, side=24)
    assert clip.sound is None
    assert clip.frames == [to_jpeg(frame) for frame in read_frames(film, 5, 24)]


FORMATS = [('mp4', 'libx264', 'aac', 22050, 50), ('mkv', 'libx264', 'libopus', 48000, 250), ('webm', 'libvpx-vp9', 'libopus', 48000, 60),
           ('avi', 'mpeg4', 'mp3', 44100, 12), ('ts', 'libx264', 'aac', 48000, 50)]


@pytest.mark.parametrize('suffix, codec, audio_codec, audio_rate, group', FORMATS)
def test_parts_are_those_of_the_whole(tmp_path, suffix, codec, audio_codec, audio_rate, group):
    path, seconds = tmp_path / f'film.{suffix}', 11
    write_with_sound(path, codec, audio_codec, audio_rate, group, seconds)
    assert abs(duration(path) - seconds) < .1
    frames, wave = list(read_frames(path, 8, 16)), read_sound(path)
    for length in (2.5, 4.0):
        edges = [*np.arange(0, seconds - 1, length).tolist(), None]
        parts = [read_clip(path, 8, 16, start, end) for start, end in zip(edges, edges[1:], strict=False)]
        assert sum((part.frames for part in parts), []) == [to_jpeg(frame) for frame in frames]
        for start, end, part in zip(edges, edges[1:], parts, strict=False):
            expected = wave[round(start * 16000):end and round(end * 16000)]
            assert abs(len(part.sound) - len(expected)) <= 16  # Matroska rounds times to a millisecond
            n = min(len(part.sound), len(expected))
            best = max(np.corrcoef(part.sound[8 + lag:n - 8 + lag], expected[8:n - 8])[0, 1] for lag in range(-8, 9))
            assert best > .97  # AAC's decoder fills in noise of its own
    with pytest.raises(InputError, match='no frame of it decodes from 99 s on'):
        list(read_frames(path, 8, start=99.0))
    assert not len(read_sound(path, 99.0))


def write_with_sound(path, codec, audio_codec, audio_rate, group, seconds):
    """Frames that all differ, with a tone whose pitch changes all the time."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.cumsum(rng.normal(.2, .05, seconds * audio_rate))).astype(np.float32)[None] / 2
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=25, width=64, height=64, pix_fmt='yuv420p')
        stream.gop_size = group
        sound = container.add_stream(audio_codec, rate=audio_rate, layout='mono')
        resampler = av.AudioResampler(format=sound.codec_context.format.name)
        for i in range(seconds * 25):
            image = np.full((64, 64, 3), i * 7 % 256, np.uint8)
            image[:, :i % 64] = 255 - i * 3 % 256
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
            heard = np.ascontiguousarray(wave[:, i * audio_rate // 25:(i + 1) * audio_rate // 25])
            frame = av.AudioFrame.from_ndarray(heard, format='fltp', layout='mono')
            frame.sample_rate, frame.pts, frame.time_base = audio_rate, i * audio_rate // 25, Fraction(1, audio_rate)
            for resampled in resampler.resample(frame):
                container.mux(sound.encode(resampled))
        container.mux(stream.encode())
        container.mux(sound.encode())


def test_header(tmp_path):
    assert read_header(write(tmp_path / 'a.mp4', range(20), range(0, 2000, 100)))[:2] == (20, pytest.approx(10, abs=1))
    found = read_header(write(tmp_path / 'a.mkv', range(20), range(0, 2000, 100)))  # whose header has the duration alone
    assert found.frames == pytest.approx(1.9 * found.fps, rel=0.1)


@needs_media
@pytest.mark.parametrize(('name', 'frames', 'rate', 'shape'), [
    ('cockatoo.mp4', 280, 20, (720, 1280, 3)), ('pancake_opus.mkv', 310, 30, (240, 426, 3)),
    ('bikes_silent.mp4', 250, 25, (272, 640, 3))])
def test_shared_media(name, frames, rate, shape):
    assert next(read_frames(MEDIA / name)).shape == shape
    assert sum(1 for _ in read_frames(MEDIA / name, rate=rate, side=16)) == frames
    assert abs(sum(1 for _ in read_frames(MEDIA / name, rate=8, side=64)) - 8 * frames / rate) < 1
