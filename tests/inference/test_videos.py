"""Prediction on any video: every frame has its map, the overlay keeps times and sound, and what cannot be read is named."""
import os
import pathlib
import struct
import weakref
from fractions import Fraction

import av
import numpy as np
import PIL.Image
import pytest

from stanet_jax import InputError
from stanet_jax.inference.predictor import Predictor
from stanet_jax.inference.videos import output_names, predict_video, predict_videos
from stanet_jax.media import moments
from stanet_jax.media.container import open_media, video_stream
from stanet_jax.media.frame import store_frame
from stanet_jax.media.moments import _rising, read_moments
from stanet_jax.media.overlay import Output, overlay, paint_frame
from stanet_jax.media.sound import SoundWindow, audio_window, read_sound
from stanet_jax.media.video import decode, read_frames
from tests import forked
from tests.inference.test_predictor import make_run

ROOT = pathlib.Path(__file__).parents[2]
MEDIA = ROOT.parent / 'shared' / 'media'
needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason='the shared media are not here')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp('run') / 'sta')


@pytest.fixture(scope='module')
def predictor(run):
    return Predictor(run)


def write(path, frames=24, size=(64, 48), times=None, wave=None, rate=16000, layout='mono', codec='aac', first=0.0, **options):
    """A white square that moves over grey, 24 frames a second or at times in milliseconds; sound [c, n] that begins at 0."""
    with av.open(str(path), 'w', **options) as container:
        picture = container.add_stream('libx264' if size[0] % 2 == 0 else 'ffv1', rate=24, pix_fmt='yuv420p')
        picture.width, picture.height = size
        if path.suffix != '.avi':
            picture.codec_context.time_base = Fraction(1, 24000)
        sound = container.add_stream(codec, rate=rate, layout=layout) if wave is not None else None
        for k in range(frames):
            image = np.full((size[1], size[0], 3), 90, np.uint8)
            image[8:24, k * 2 % 40:k * 2 % 40 + 16] = 255
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts = round(first * 24000) + (k * 1000 if times is None else times[k] * 24)
            frame.time_base = Fraction(1, 24000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(np.float32(np.atleast_2d(wave)), format='fltp', layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for resampled in av.AudioResampler(sound.codec_context.format, layout, rate).resample(frame):
                container.mux(sound.encode(resampled))
            container.mux(sound.encode())
    return path


def clicks(seconds, rate=16000, channels=1):
    """Noise at the begin of each second: it fits itself at one place only."""
    t = np.arange(round(rate * seconds)) / rate
    wave = np.random.default_rng(0).normal(0, 0.2, t.shape) * (t % 1 < 0.3)
    return np.stack([wave / (c + 1) for c in range(channels)])


def times(path):
    with open_media(path) as container:
        return np.array([(start, end) for _, start, end in decode(container, [video_stream(container)])])


def lag(a, b):
    """How many samples of 16 kHz `b` comes before `a`, and how well they correlate there."""
    n = 2 * max(len(a), len(b))
    found = np.fft.irfft(np.fft.rfft(a, n) * np.fft.rfft(b, n).conj(), n)
    best = int(np.argmax(found))
    return best - n if best > n // 2 else best, found[best] / np.sqrt((a ** 2).sum() * (b ** 2).sum())


def check(video, folder, sound_like=0.99):
    """The folder holds the maps and the overlay of the video, frame by frame and in step with the sound."""
    assert sorted(p.name for p in folder.iterdir()) == ['maps', 'overlay.mp4']
    source, shown = times(video), times(folder / 'overlay.mp4')
    pictures = sorted((folder / 'maps').iterdir())
    assert [p.name for p in pictures] == [f'eyeMap_{k + 1:05d}.png' for k in range(len(source))]
    assert len(source) == len(shown)
    heard = read_sound(video)
    begin = min(source[0, 0], 0) if heard is not None else source[0, 0]
    # The end of the others is an encoder's business, and AVI has times in the order of decoding.
    np.testing.assert_allclose(shown[:, 0], np.sort(source[:, 0]) - begin, atol=2e-3)
    assert abs(shown[-1, 1] - source[:, 1].max() + begin) < 0.05
    h, w, _ = next(read_frames(video)).shape
    assert next(read_frames(folder / 'overlay.mp4')).shape == (h + h % 2, w + w % 2, 3)
    for picture in pictures[::7]:
        with PIL.Image.open(picture) as image:
            assert image.mode == 'L' and image.size == (w, h) and image.getextrema() == (0, 255)
    kept = read_sound(folder / 'overlay.mp4')
    assert (heard is None) == (kept is None)
    if heard is not None and heard.std() > 0:
        delay, alike = lag(heard, kept)
        assert abs(delay) <= 16 and alike > sound_like and abs(len(heard) - len(kept)) < 1600  # a frame of AAC
    return pictures


def first_seconds(video, clip, seconds=2.0):
    """A copy of the first seconds of a video, its packets as they are."""
    with av.open(str(video)) as source, av.open(str(clip), 'w') as made:
        streams = {stream.index: made.add_stream_from_template(stream) for stream in source.streams if stream.type in ('video', 'audio')}
        for packet in source.demux(*[source.streams[index] for index in streams]):
            if packet.dts is not None and packet.dts * packet.time_base < seconds:
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    return clip


# ------------------------------------------------------------------------------------------------------------ moments


def numbered(path, milliseconds, rate=1000):
    """Frames of grey level 5 k at the given times."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('ffv1', rate=rate, pix_fmt='gray')
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.width = stream.height = 16
        for k, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16), 5 * k, np.uint8), format='gray')
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_every_frame_is_a_moment(tmp_path):
    at = [0, 40, 130, 250, 260, 500, 620, 2000, 2010]
    found = list(read_moments(numbered(tmp_path / 'a.mkv', at), 16))
    assert [round(moment.picture.mean() / 5) for moment in found] == list(range(9))
    assert [round(moment.time * 1000) for moment in found] == at and not any(moment.phi for moment in found)


def test_times_that_fall_back_rise(tmp_path):
    decoded = [(k, start, start + 0.1) for k, start in enumerate((5, 5.1, 5.1, 5.3, 0, 0.1, 0.2))]
    found = [start for _, start, _ in _rising(decoded, 0.001)]
    np.testing.assert_allclose(found, [5, 5.1, 5.101, 5.3, 5.4, 5.5, 5.6])


def test_few_frames_are_held(tmp_path):
    video = write(tmp_path / 'a.mp4', 240, wave=clicks(10))
    alive, most, original = weakref.WeakValueDictionary(), 0, moments.to_rgb

    def counted(*args):
        nonlocal most
        image = original(*args)
        alive[id(image)] = image
        most = max(most, len(alive))
        return image

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, 'to_rgb', counted)
        assert sum(1 for _ in read_moments(video, 16)) == 240
    assert most <= 3


@pytest.mark.parametrize(('name', 'rate', 'seconds', 'first'), [
    ('a.mkv', 16000, 3, 0.0), ('a.mp4', 44100, 3, 0.0), ('a.mkv', 48000, 2.5, 0.48), ('a.mkv', 16000, 0.4, 0.0)])
def test_sound_as_if_read_whole(tmp_path, name, rate, seconds, first):
    video = write(tmp_path / name, 60, wave=clicks(seconds, rate), rate=rate, first=first)
    whole, window = read_sound(video), SoundWindow(video, times(video)[0, 0])
    assert not window.silent
    for t in np.arange(0, 5, 0.083):
        np.testing.assert_allclose(window.around(t), audio_window(whole, t), atol=2e-3)
        assert len(window._held) < 16000 + 3000
    silent = SoundWindow(write(tmp_path / 'silent.mp4', 5), 0.0)
    assert silent.silent and not silent.around(3.0).any()


def test_late_question_of_a_long_sound(tmp_path):
    video = write(tmp_path / 'a.mkv', 5, wave=clicks(8))
    np.testing.assert_array_equal(SoundWindow(video, 0.0).around(6.2), audio_window(read_sound(video), 6.2))


# ------------------------------------------------------------------------------------------------------------- whole videos

VIDEOS = {
    'sound.mp4': {'wave': clicks(1.0)},
    'silent.mp4': {},
    'one.mp4': {'frames': 1},
    'one_with_sound.mp4': {'frames': 1, 'wave': clicks(0.5)},
    'half.mkv': {'frames': 12, 'wave': clicks(0.5, 48000), 'rate': 48000, 'codec': 'libopus'},
    'odd.mkv': {'size': (97, 55), 'wave': clicks(1.0), 'codec': 'pcm_s16le'},
    'six.mp4': {'wave': clicks(1.0, 48000, 6), 'rate': 48000, 'layout': '5.1'},
    'six.mkv': {'wave': clicks(1.0, 48000, 6), 'rate': 48000, 'layout': '5.1', 'codec': 'flac'},
    'low.avi': {'wave': clicks(1.0, 11025), 'rate': 11025, 'codec': 'libmp3lame'},
    'silent.avi': {},
    'broadcast.ts': {'wave': clicks(1.0, 48000), 'rate': 48000},
    'variable.mkv': {'times': np.cumsum([0, 20, 300, 7, 7, 900, 40, 40, 33, 33, 1000, 21]).tolist(), 'frames': 12, 'wave': clicks(3)},
    'late.mkv': {'first': 0.5, 'wave': clicks(1.5)},
    'long_sound.mp4': {'frames': 6, 'wave': clicks(3.0)},
}


@pytest.mark.parametrize('name', VIDEOS)
def test_videos_of_all_kinds(predictor, tmp_path, name):
    video = write(tmp_path / name, **VIDEOS[name])
    count = predict_video(predictor, video, tmp_path / 'out')
    folder = tmp_path / 'out' / video.stem
    if name == 'broadcast.ts':  # its clock does not begin at 0
        np.testing.assert_allclose(np.diff(times(video), axis=0), np.diff(times(folder / 'overlay.mp4'), axis=0), atol=1e-3)
        assert abs(lag(read_sound(video), read_sound(folder / 'overlay.mp4'))[0]) <= 16
    else:
        assert len(check(video, folder, 0.95 if name in ('odd.mkv', 'low.avi') else 0.99)) == count
    assert os.listdir(tmp_path / 'out') == [video.stem]


def test_sound_is_copied_bit_for_bit(predictor, tmp_path):
    video = write(tmp_path / 'a.mp4', wave=clicks(1.0))
    predict_video(predictor, video, tmp_path / 'out')

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert packets(video) == packets(tmp_path / 'out' / 'a' / 'overlay.mp4')


def test_turned_video_and_pixels_that_are_not_square(predictor, tmp_path):
    video = write(tmp_path / 'a.mp4')
    content = bytearray(video.read_bytes())
    matrix, one = content.index(b'tkhd') + 44, 1 << 16
    content[matrix:matrix + 36] = struct.pack('>9i', 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    video.write_bytes(content)
    predict_video(predictor, video, tmp_path / 'out')
    check(video, tmp_path / 'out' / 'a')
    assert next(read_frames(tmp_path / 'out' / 'a' / 'overlay.mp4')).shape == (64, 48, 3)


def test_painted_is_what_visualize_shows(tmp_path):
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    map_ = np.exp(-((np.mgrid[:48, :64] - np.array([12, 16])[:, None, None]) ** 2).sum(0) / 128)  # up and left
    frame = store_frame(av.VideoFrame.from_ndarray(image, format='rgb24'))
    moment = moments.Moment(0.0, image, np.zeros((257, 98), np.float32), 0.0, frame)
    painted = paint_frame(moment, map_, tmp_path / 'a.png', (64, 48), Output(maps='video'))
    levels, painted = painted.levels.to_ndarray(), painted.overlay.reformat(format='rgb24', src_colorspace=1).to_ndarray()
    z = (map_ - map_.min()) / (map_.max() - map_.min())
    error = abs(painted.astype(float) - overlay(image, z))
    assert np.median(error) < 4 and error.mean() < 8  # yuv420p has a colour for four pixels
    with PIL.Image.open(tmp_path / 'a.png') as picture:
        np.testing.assert_allclose(np.asarray(picture), z * 255, atol=1)
        np.testing.assert_array_equal(levels, picture)
        assert np.unravel_index(np.argmax(picture), (48, 64)) == (12, 16)
    flat = paint_frame(moment, np.full((48, 48), 0.4), tmp_path / 'flat.png', (64, 48)).overlay
    assert (flat.width, flat.height) == (64, 48)
    with PIL.Image.open(tmp_path / 'flat.png') as picture:
        assert picture.getextrema() == (0, 0)


def test_older_result_is_replaced_when_the_new_one_is_there(predictor, tmp_path):
    video, out = write(tmp_path / 'a.mp4', 3), tmp_path / 'out'
    predict_video(predictor, video, out)
    before = (out / 'a' / 'overlay.mp4').read_bytes()
    write(video, 5)

    def fails(*_):
        raise OSError('disk full')
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match='disk full'):
        patch.setattr('stanet_jax.media.overlay.paint_frame', fails)
        predict_video(predictor, video, out)
    assert os.listdir(out) == ['a'] and (out / 'a' / 'overlay.mp4').read_bytes() == before
    assert predict_video(predictor, video, out) == 5
    assert os.listdir(out) == ['a'] and len(list((out / 'a' / 'maps').iterdir())) == 5
    assert predict_video(predictor, video, out, output=Output(names='stavis')) == 5  # as that release's evaluation code reads them
    assert sorted(os.listdir(out / 'a')) == ['overlay.mp4', *(f'pred_sal_{k:06d}.jpg' for k in range(1, 6))]
    with PIL.Image.open(out / 'a' / 'pred_sal_000005.jpg') as picture:
        assert picture.mode == 'L' and picture.size == (64, 48)
    for notes in (out / 'a' / 'notes.txt', out / 'a' / 'maps' / 'notes.png', out / 'file'):
        notes.parent.mkdir(exist_ok=True)
        notes.touch()
        with pytest.raises(InputError, match='holds other things'):
            predict_video(predictor, video, out, name='file' if notes.name == 'file' else 'a')
        notes.unlink()
    (out / 'a' / 'link').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(InputError, match='holds other things'):
        predict_video(predictor, video, out)


def test_maps_as_a_video_or_not_at_all(predictor, tmp_path):
    video, out = write(tmp_path / 'a.mp4', 5), tmp_path / 'out'
    assert predict_video(predictor, video, out) == 5
    maps = [np.asarray(PIL.Image.open(path)) for path in sorted((out / 'a' / 'maps').iterdir())]
    assert predict_video(predictor, video, out, output=Output(maps='video', overlay=False)) == 5
    assert os.listdir(out / 'a') == ['maps.mkv']
    np.testing.assert_array_equal([frame[..., 0] for frame in read_frames(out / 'a' / 'maps.mkv')], maps)
    with av.open(str(out / 'a' / 'maps.mkv')) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(np.diff(times), [0.04] * 4, atol=2e-3)  # its clock has milliseconds
    predict_video(predictor, video, out, output=Output(maps='none'))
    assert os.listdir(out / 'a') == ['overlay.mp4']


def test_the_overlay_is_the_same_to_the_bit(predictor, tmp_path):
    video = write(tmp_path / 'a.mp4', 40)
    found = set()
    for k in range(8):
        predict_video(predictor, video, tmp_path / f'{k}', output=Output(maps='none'))
        found.add((tmp_path / f'{k}' / 'a' / 'overlay.mp4').read_bytes())
    assert len(found) == 1


def test_names_do_not_collide():
    paths = [pathlib.Path(p) for p in ('x/a.mp4', 'x/A.mkv', 'y/a.mp4', 'b.mp4', 'a.mp4.avi')]
    assert output_names(paths) == ['a.mp4', 'A.mkv', 'a.mp4_2', 'b', 'a.mp4_3']


def test_script_skips_what_cannot_be_read(run, predictor, tmp_path):
    """On four devices, whose maps are those of one."""
    folder = tmp_path / 'videos, all: of them'
    folder.mkdir()
    write(folder / 'good.mp4', 5, wave=clicks(0.3))
    write(folder / 'good.mkv', 3)
    (folder / 'corrupt.mp4').write_bytes((folder / 'good.mp4').read_bytes()[:300])
    (folder / 'empty.mp4').touch()
    (folder / 'notes.txt').write_text('not a video')

    def script(*videos):
        four = {'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=4'}
        return forked.python('predict.py', f'--checkpoint={run}', f'--out={tmp_path / "out"}', *(f'--video={v}' for v in videos),
                             environment=four)

    done = script(folder, tmp_path / 'missing.mp4', folder / 'good.mp4')
    assert done.returncode == 1, done.stderr
    lines = done.stderr.replace('\r', '\n').splitlines()
    assert lines[-1].startswith('error: 3 of 5 videos failed')
    for name in ('corrupt.mp4', 'empty.mp4', 'missing.mp4'):
        assert sum(line.startswith('skipped: ') and name in line for line in lines) == 1
    assert 'frame/s' in done.stderr
    check(folder / 'good.mp4', tmp_path / 'out' / 'good.mp4')
    check(folder / 'good.mkv', tmp_path / 'out' / 'good.mkv')
    assert sorted(os.listdir(tmp_path / 'out')) == ['good.mkv', 'good.mp4']
    predict_video(predictor, folder / 'good.mp4', tmp_path / 'one')
    for one in (tmp_path / 'one' / 'good' / 'maps').iterdir():
        with PIL.Image.open(one) as a, PIL.Image.open(tmp_path / 'out' / 'good.mp4' / 'maps' / one.name) as b:
            np.testing.assert_allclose(np.asarray(a, int), np.asarray(b, int), atol=1)


def test_one_bad_video_is_one_line(predictor, tmp_path, capsys):
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'folder').mkdir()
    for video, words in ((tmp_path / 'empty.mp4', 'empty.mp4: the file is empty'), (tmp_path / 'folder', 'no video in this folder')):
        with pytest.raises(InputError, match=words):
            predict_videos(predictor, [video], tmp_path / 'out')
    assert 'skipped' not in capsys.readouterr().err


@needs_media
@pytest.mark.parametrize('name', ['cockatoo.mp4', 'pancake_opus.mkv', 'bikes_silent.mp4'])
def test_shared_media(predictor, tmp_path, name):
    clip = MEDIA / name
    if name == 'cockatoo.mp4':  # large frames, and silence
        clip = first_seconds(clip, tmp_path / name)
    assert predict_video(predictor, clip, tmp_path / 'out') == len(check(clip, tmp_path / 'out' / clip.stem)) > 30
    assert {of._cache_size() for of in (predictor._encode, predictor._blend, predictor._reason)} == {1}
