"""Sound: the spectrogram against float64 NumPy, windows, and reading in step with the video."""
import pathlib
from fractions import Fraction

import av
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.media.sound import audio_window, log_mel, log_spectrogram, read_sound, resample

MEDIA = pathlib.Path(__file__).parents[3] / 'shared' / 'media'
needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason='the shared media are not here')


def reference(wave):
    """scipy.signal.spectrogram's definition, segment by segment in float64."""
    n = np.arange(512)
    window = np.where(n < 64, .5 * (1 + np.cos(np.pi * (n / 64 - 1))), 1.)
    window = np.where(n > 448, .5 * (1 + np.cos(np.pi * (n / 64 - 7))), window)
    columns = []
    for start in range(0, len(wave) - 511, 159):
        segment = np.asarray(wave[start:start + 512], np.float64)
        power = abs(np.fft.rfft((segment - segment.mean()) * window)) ** 2 / (16000 * (window ** 2).sum())
        power[1:-1] *= 2
        columns.append(np.log(power + 1e-7))
    x = np.stack(columns, axis=1)
    return (x - x.mean()) / (x.std() + 1e-9)


def waves():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, .1, 16000)
    yield 'noise', noise
    yield 'tone', .9 * np.sin(np.arange(16000) * .2)
    yield 'hardly heard', np.rint(rng.normal(0, .6, 16000)) / 32768
    yield 'offset', .3 * noise + .5
    yield 'ten seconds', rng.normal(0, 1e-3, 160000)


@pytest.mark.parametrize('wave', [pytest.param(w.astype(np.float32), id=name) for name, w in waves()])
def test_log_spectrogram(wave):
    found = log_spectrogram(wave)
    assert found.dtype == np.float32 and found.shape == (257, {16000: 98, 160000: 1004}[len(wave)])
    np.testing.assert_allclose(found, reference(wave), atol=5e-5)


def test_log_spectrogram_is_scipys():
    signal = pytest.importorskip('scipy.signal')
    wave = np.random.default_rng(1).normal(0, .1, 16000)
    _, _, power = signal.spectrogram(wave, 16000, nperseg=512, noverlap=353)
    x = np.log(power + 1e-7)
    np.testing.assert_allclose(log_spectrogram(wave), (x - x.mean()) / (x.std() + 1e-9), atol=1e-5)


@pytest.mark.parametrize('value', [0., .3, -1.])
def test_constant_wave_gives_zeros(value):
    found = log_spectrogram(np.full(16000, value, np.float32))
    assert found.shape == (257, 98) and not found.any()


def test_log_spectrogram_of_other_waves():
    rng = np.random.default_rng(2)
    samples = rng.integers(-3000, 3000, 16000).astype(np.int16)
    np.testing.assert_array_equal(log_spectrogram(samples), log_spectrogram(samples / np.float32(32768)))
    short = rng.normal(0, .1, 100).astype(np.float32)
    np.testing.assert_array_equal(log_spectrogram(short), log_spectrogram(np.pad(short, (0, 412))))
    assert log_spectrogram(short).shape == (257, 1)
    for wrong in (np.zeros(0), np.zeros((2, 16000)), np.zeros(16000, np.int64)):
        with pytest.raises(ValueError, match='a wave is'):
            log_spectrogram(wrong)


def test_log_spectrogram_resamples():
    # A chirp made at 44.1 kHz and one made at 16 kHz sound the same.
    def chirp(rate):
        t = np.arange(rate) / rate
        return (.5 * np.sin(2 * np.pi * (500 * t + 2500 * t ** 2))).astype(np.float32)
    found, expected = log_spectrogram(chirp(44100), 44100), log_spectrogram(chirp(16000))
    assert found.shape == expected.shape
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > .95
    np.testing.assert_allclose(resample(chirp(44100), 44100)[500:-500], chirp(16000)[500:-500], atol=.01)


@pytest.mark.thorough  # librosa's first import compiles for half a minute
@pytest.mark.parametrize(('rate', 'target'), [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 48000)])
def test_resample_is_librosas(rate, target):
    import librosa
    wave = np.random.default_rng(rate).normal(size=rate + 7).astype(np.float32)
    for samples in (wave, wave[:1], wave[:0]):
        expected = librosa.resample(samples, orig_sr=rate, target_sr=target, res_type='soxr_hq')
        found = resample(samples, rate, target)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float32


@pytest.mark.parametrize(('centre', 'first'), [(0., 0), (.5, 0), (.7, 3200), (1.5, 16000), (2.2, 24000), (9., 24000)])
def test_second_around(centre, first):
    wave = np.arange(40000)
    np.testing.assert_array_equal(audio_window(wave, centre), wave[first:first + 16000])


def test_second_around_of_little():
    np.testing.assert_array_equal(audio_window(np.ones(100), 3.), np.pad(np.ones(100), (0, 15900)))
    assert audio_window(np.zeros(0, np.float32), 3.).shape == (16000,)
    np.testing.assert_array_equal(audio_window(np.arange(100), 5., seconds=2., sample_rate=10), np.arange(40, 60))


def write(path, wave=None, rate=16000, codec='aac', layout='mono', video=True, first=0., lag=0., gap=0.):
    """Black video that turns white after one second (25 fps, from `first` on) and a wave `[n]` or `[c, n]`.

    The wave comes `lag` seconds late, its second half `gap` seconds more.
    """
    with av.open(str(path), 'w') as container:
        if video:
            stream = container.add_stream('libx264', rate=25, width=32, height=32, pix_fmt='yuv420p')
        if wave is not None:
            sound = container.add_stream(codec, rate=rate, layout=layout)
        for i in range(50 if video else 0):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 255 * (i >= 25), np.uint8), format='rgb24')
            frame.pts, frame.time_base = i + round(first * 25), Fraction(1, 25)
            container.mux(stream.encode(frame))
        if video:
            container.mux(stream.encode())
        for half, start in enumerate((0, len(wave.T) // 2) if wave is not None else ()):
            part = np.atleast_2d(wave)[:, start:start + len(wave.T) // 2]
            fmt = sound.codec_context.format.name if wave.dtype == np.int16 else 'fltp'
            part = part.T.reshape(1, -1) if fmt == 's16' else part
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format=fmt, layout=layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = start + round((lag + half * gap) * rate)
            container.mux(sound.encode(frame))
        if wave is not None:
            container.mux(sound.encode())
    return path


def click(rate, seconds=2., at=1.):
    t = np.arange(round(rate * seconds)) / rate
    return (.5 * np.sin(2 * np.pi * 1000 * t) * (t >= at) * (t < at + .2)).astype(np.float32)


def onset(wave):
    return np.argmax(abs(wave) > .1) / 16000


@pytest.mark.parametrize(('name', 'codec', 'rate'), [
    ('a.mp4', 'aac', 16000), ('a.mp4', 'aac', 44100), ('a.mkv', 'libopus', 48000), ('a.avi', 'pcm_s16le', 22050)])
def test_sound_is_in_step(tmp_path, name, codec, rate):
    wave = read_sound(write(tmp_path / name, click(rate), rate, codec))
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert abs(onset(wave) - 1) < .02
    assert abs(len(wave) / 16000 - 2) < .1
    assert .4 < abs(wave).max() <= 1


def test_sound_begins_with_the_video(tmp_path):
    late = read_sound(write(tmp_path / 'late.mkv', click(16000), first=.48))
    assert abs(onset(late) - .52) < .02
    early = read_sound(write(tmp_path / 'early.mkv', click(16000), lag=.4))
    assert abs(onset(early) - 1.4) < .02 and not early[:4800].any()


def test_gap_is_silent(tmp_path):
    samples = np.full(32000, 8000, np.int16)
    wave = read_sound(write(tmp_path / 'a.mkv', samples, codec='pcm_s16le', gap=.5))
    expected = np.full(40000, 8000 / 32768, np.float32)
    expected[16000:24000] = 0
    np.testing.assert_allclose(wave, expected, atol=1e-6)


def test_mono_is_the_mean(tmp_path):
    rng = np.random.default_rng(3)
    samples = rng.integers(-20000, 20000, (2, 16000)).astype(np.int16)
    wave = read_sound(write(tmp_path / 'a.wav', samples, codec='pcm_s16le', layout='stereo', video=False))
    np.testing.assert_allclose(wave, samples.mean(axis=0) / 32768, atol=1e-6)


def test_without_sound(tmp_path):
    assert read_sound(write(tmp_path / 'a.mp4')) is None


def test_damaged_sound_keeps_the_rest(tmp_path):
    path = write(tmp_path / 'a.mkv', click(16000), video=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle:middle + 200] = bytes(200)
    path.write_bytes(content)
    assert read_sound(path) is not None


def test_no_media(tmp_path):
    (tmp_path / 'text.mp4').write_text('no film at all')
    (tmp_path / 'empty.mp4').touch()
    for name in ('text.mp4', 'empty.mp4', 'missing.mp4'):
        with pytest.raises(InputError, match=name):
            read_sound(tmp_path / name)


@needs_media
def test_shared_media():
    assert read_sound(MEDIA / 'bikes_silent.mp4') is None
    opus = read_sound(MEDIA / 'pancake_opus.mkv')
    assert abs(len(opus) / 16000 - 10.37) < .05 and .1 < abs(opus).max() <= 1
    wave = read_sound(MEDIA / 'vggsound_example.wav')
    assert len(wave) == 160029 and log_spectrogram(wave[:160000]).shape == (257, 1004)
    # Its track is silent, 14 s long, and starts before the video.
    cockatoo = read_sound(MEDIA / 'cockatoo.mp4')
    assert abs(len(cockatoo) / 16000 - 13.9) < .05 and not cockatoo.any()


# -------------------------------------------------------------------------------------------------------------------- log-mel


def log_mel_by_definition(wave):
    """The log-mel spectrogram of float64 samples at 16 kHz, frame by frame and band by band."""
    def mel(frequency):
        return 1127 * np.log(1 + frequency / 700)

    window = [0.5 - 0.5 * np.cos(2 * np.pi * i / 400) for i in range(400)]
    edges = [mel(125) + (mel(7500) - mel(125)) * i / 65 for i in range(66)]
    result = np.zeros((64, 1 + (len(wave) - 400) // 160))
    for t in range(result.shape[1]):
        magnitude = np.abs(np.fft.fft(wave[160 * t:160 * t + 400] * window, 512))[:257]
        for band in range(64):
            low, middle, high = edges[band:band + 3]
            place = [mel(k * 16000 / 512) for k in range(257)]
            weights = [max(0, min((m - low) / (middle - low), (high - m) / (high - middle))) for m in place]
            result[band, t] = np.log(np.dot(weights[1:], magnitude[1:]) + 0.001)
    return result


def test_log_mel_is_its_definition():
    rng = np.random.default_rng(0)
    wave = np.clip(0.3 * rng.normal(size=1300) + np.sin(2 * np.pi * 440 * np.arange(1300) / 16000) / 2, -1, 1)
    expected = log_mel_by_definition(wave)
    np.testing.assert_allclose(log_mel(np.float32(wave)), expected, atol=1e-4)
    np.testing.assert_allclose(log_mel(np.int16(32767 * wave)), expected, atol=1e-2)
    assert log_mel(np.float32(wave)).dtype == np.float32 and log_mel(np.zeros(16000, np.float32)).shape == (64, 98)


def test_log_mel_of_silence_of_few_samples_and_of_another_rate():
    np.testing.assert_allclose(log_mel(np.zeros(5, np.float32)), np.full((64, 1), np.log(0.001)), rtol=1e-6)
    t = np.arange(44100) / 44100
    peak = log_mel(np.float32(np.sin(2 * np.pi * 1000 * t)), sample_rate=44100).mean(axis=1).argmax()
    assert peak == log_mel(np.float32(np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000))).mean(axis=1).argmax()


@pytest.mark.parametrize('wave', [np.zeros(0, np.float32), np.zeros((2, 9), np.float32), np.zeros(9, np.int32)])
def test_log_mel_refuses_what_is_no_wave(wave):
    with pytest.raises(ValueError, match='a wave is'):
        log_mel(wave)
