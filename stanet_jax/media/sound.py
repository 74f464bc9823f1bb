"""Sound: read from media files, cut to the second around a frame, and turned into the log spectrogram that VGGSound is trained on."""
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import av
import numpy as np
import scipy.fft
import soxr
from av.stream import Stream
from jaxtyping import Float, Num

from stanet_jax.media.container import open_media, sound_stream, video_stream
from stanet_jax.media.video import decode, decode_from

SAMPLE_RATE = 16000
SEGMENT, OVERLAP = 512, 353
_HOP = SEGMENT - OVERLAP
# A time stamp may be off by the rounding of its container; a larger step is a gap in the sound.
_JITTER = 0.01


def _spectrogram_window():
    # SciPy's periodic Tukey window; scipy.signal itself would take most of this module's import time.
    taper = SEGMENT // 8
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(taper) / taper)
    window = np.concatenate([rise, np.ones(SEGMENT - 2 * taper + 1), rise[:0:-1]])
    # The scale to a one-sided density, where each frequency but the two ends stands for its negative too.
    return (window * np.sqrt(2 / (SAMPLE_RATE * (window * window).sum()))).astype(np.float32)


_WINDOW = _spectrogram_window()


def log_spectrogram(wave: Num[np.ndarray, '...'], sample_rate: int = SAMPLE_RATE) -> Float[np.ndarray, '257 t']:
    """Computes the log spectrogram of a sound, normalised over the clip, on which VGGSound is trained.

    It is `scipy.signal.spectrogram` of 512-sample segments (353 overlap, Tukey window 0.25, constant detrend, power spectral density),
    `log(x + 1e-7)`, then `(x - mean) / (std + 1e-9)`. It is written out because it runs in the input pipeline, where SciPy's general
    function takes half as long again.

    Args:
        wave: one row of n samples, floats in [-1, 1] or int16; one shorter than 512 samples is padded with zeros.
        sample_rate: of the wave, in Hz; a wave at another rate than 16000 is resampled.

    Returns:
        257 frequencies at t = (n - 353) // 159 times at 16 kHz: 98 for 1 s, 1004 for 10 s. Zeros for a constant wave.

    Raises:
        ValueError: the wave is empty, not of one dimension, or of another type.
    """
    wave = _as_wave(wave, sample_rate)
    wave = np.pad(wave, (0, max(0, SEGMENT - wave.size)))
    if wave.min() == wave.max():
        # Rounding in the mean of a constant would be blown up by the division.
        return np.zeros((SEGMENT // 2 + 1, (wave.size - OVERLAP) // _HOP), np.float32)
    segments = np.lib.stride_tricks.sliding_window_view(wave, SEGMENT)[::_HOP]
    segments = segments - segments.mean(axis=1, keepdims=True)
    segments *= _WINDOW
    spectrum = scipy.fft.rfft(segments, axis=1, overwrite_x=True)
    power = spectrum.real ** 2 + spectrum.imag ** 2
    power[:, ::SEGMENT // 2] /= 2  # The two ends have no negative.
    # log(x + 1e-7) but for a constant, which the mean takes away: beside 1e-7 a faint sound would be lost to float32's rounding.
    x = _log1p(power * np.float32(1e7))
    x -= x.mean()
    x *= 1 / (np.sqrt(np.vdot(x, x) / x.size) + 1e-9)
    return np.ascontiguousarray(x.T)


def _log1p(x):
    """`np.log1p` of float32 from 0 on, which takes three times as long: log(1 + x), times what rounding the sum took from x."""
    y = x + 1
    rounded = y - 1
    return np.where(rounded > 0, np.log(y) * x / np.maximum(rounded, np.float32(1e-30)), x)


def _mel_weights(bands: int = 64, low: float = 125.0, high: float = 7500.0, size: int = 512) -> np.ndarray:
    """Triangles that are linear on the HTK mel scale, [size / 2 + 1, bands]; the constant component has no weight."""
    def mel(frequency):
        return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)

    bins = mel(np.arange(1, size // 2 + 1) * SAMPLE_RATE / size)[:, None]
    edges = np.linspace(mel(low), mel(high), bands + 2)
    rise, fall = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.pad(np.maximum(np.minimum(rise, fall), 0), ((1, 0), (0, 0))).astype(np.float32)


_MEL_FRAME, _MEL_HOP, _MEL_SIZE = 400, 160, 512  # 25 ms every 10 ms, and the samples of their Fourier transform
_MEL_WEIGHTS = _mel_weights(size=_MEL_SIZE)
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_MEL_FRAME) / _MEL_FRAME)).astype(np.float32)


def log_mel(wave: Num[np.ndarray, '...'], sample_rate: int = SAMPLE_RATE) -> Float[np.ndarray, '64 t']:
    """Computes the log-mel spectrogram of a sound on which YAMNet is trained: `log(mel + 0.001)` of 64 bands from 125 to 7500 Hz.

    Frames of 25 ms every 10 ms (periodic Hann window, 512-sample Fourier transform, magnitude) are summed by triangles on the HTK mel
    scale. A patch of YAMNet is 96 of its frames, 0.975 s of sound.

    Args:
        wave: one row of n samples, floats in [-1, 1] or int16; one shorter than 400 samples is padded with zeros.
        sample_rate: of the wave, in Hz; a wave at another rate than 16000 is resampled.

    Returns:
        64 bands at t = 1 + (n - 400) // 160 times at 16 kHz: 98 for 1 s.

    Raises:
        ValueError: the wave is empty, not of one dimension, or of another type.
    """
    wave = _as_wave(wave, sample_rate)
    wave = np.pad(wave, (0, max(0, _MEL_FRAME - wave.size)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, _MEL_FRAME)[::_MEL_HOP] * _HANN
    magnitude = np.abs(scipy.fft.rfft(frames, _MEL_SIZE, axis=1))
    return np.ascontiguousarray(np.log(magnitude @ _MEL_WEIGHTS + np.float32(0.001)).T, np.float32)


def log_mel_patch(wave: Num[np.ndarray, '...']) -> Float[np.ndarray, '64 96']:
    """Computes the patch that YAMNet hears of a second at 16 kHz: the middle 96 of the 98 columns of its `log_mel`."""
    return log_mel(wave)[:, 1:97]


class FrontEnd(NamedTuple):
    """How the sound of a frame is turned into what an encoder hears.

    Attributes:
        function: of samples at 16 kHz: the second around the frame.
        shape: of what it gives: frequencies, then times.
        slides: whether it takes `sliding_window` in the place of that second, as the authors' release does.
    """
    function: Callable[[Num[np.ndarray, '...']], Float[np.ndarray, 'f t']]
    shape: tuple[int, int]
    slides: bool = False


FRONT_ENDS = {'log_spectrogram': FrontEnd(log_spectrogram, (257, 98)), 'log_mel': FrontEnd(log_mel_patch, (64, 96)),
              'release': FrontEnd(log_spectrogram, (257, 48), slides=True)}


def _as_wave(wave, sample_rate):
    """A wave as float32 at 16 kHz; ValueError where it is none."""
    wave = np.asarray(wave)
    if wave.ndim != 1 or not wave.size:
        raise ValueError(f'a wave is one row of samples, got shape {wave.shape}')
    if wave.dtype != np.int16 and not np.issubdtype(wave.dtype, np.floating):
        raise ValueError(f'a wave is float in [-1, 1] or int16, got {wave.dtype}')
    return resample(wave.astype(np.float32) / (32768 if wave.dtype == np.int16 else 1), sample_rate)


def resample(wave: Float[np.ndarray, ' n'], sample_rate: int, target: int = SAMPLE_RATE) -> Float[np.ndarray, ' m']:
    """Resamples a wave from `sample_rate` to the rate `target`, both in Hz; m = ceil(n * target / sample_rate).

    It is `librosa.resample`'s `soxr_hq` without librosa, whose first import compiles for half a minute, in a child that decodes.
    """
    if sample_rate == target:
        return wave
    length = math.ceil(len(wave) * target / sample_rate)
    result = soxr.resample(wave, sample_rate, target, quality='HQ')[:length]
    return np.pad(result, (0, length - len(result)))


def audio_window(wave: Num[np.ndarray, ' n'], centre: float, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE,
                 ) -> Num[np.ndarray, ' m']:
    """Cuts the window of m = round(seconds * sample_rate) samples centred on a time out of a wave.

    At the ends of the wave the window is shifted inwards; a wave that is shorter is padded with zeros at its end.

    Args:
        wave: of any type, which the window keeps.
        centre: in seconds from the wave's start.
        seconds: the window's length.
        sample_rate: in Hz.
    """
    start, length = audio_window_bounds(len(wave), centre, seconds, sample_rate)
    window = wave[start:start + length]
    return np.pad(window, (0, length - len(window)))


def audio_window_bounds(samples: int, centre: float, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE) -> tuple[int, int]:
    """Gives the first sample and the length of the window that `audio_window` cuts out of a wave of `samples` samples."""
    length = round(seconds * sample_rate)
    start = round(centre * sample_rate) - length // 2
    return min(max(start, 0), max(samples - length, 0)), length


def sliding_window(wave: Num[np.ndarray, ' n'], frame: int, frames: int, length: int = SAMPLE_RATE // 2) -> Num[np.ndarray, ' m']:
    """Cuts the half second that the authors' release gives to a frame out of a clip's wave at 16 kHz.

    The window slides from the clip's first half second, at its first frame, to its last, at its last frame, by a whole number of samples;
    a wave that is shorter is padded with zeros at its end.

    Args:
        wave: of the whole clip.
        frame: number of the frame, from 0 on.
        frames: of the clip.
        length: of the window, in samples.
    """
    start, length = sliding_window_bounds(len(wave), frame, frames, length)
    window = wave[start:start + length]
    return np.pad(window, (0, length - len(window)))


def sliding_window_bounds(samples: int, frame: int, frames: int, length: int = SAMPLE_RATE // 2) -> tuple[int, int]:
    """Gives the first sample and the length of the window that `sliding_window` cuts out of a wave of `samples` samples."""
    room = max(samples - length, 0)
    return min(frame * (room // max(frames - 1, 1)), room), length


def read_sound(path: str | os.PathLike, start: float = 0.0, end: float | None = None) -> Float[np.ndarray, ' n'] | None:
    """Reads the sound of a media file, synchronous with its video.

    Args:
        path: a video or sound file of any codec.
        start, end: which part is read, in seconds from the first video frame; to the end of the sound where `end` is None.

    Returns:
        float32 samples in [-1, 1] at 16 kHz, the mean over channels, from the time of the first video frame on (of the first sample,
        where there is no video): sound before that is cut, and gaps in the sound are filled with zeros. None if the file has no audio
        stream or nothing of it decodes; of a part after the end of the sound, no samples.

    Raises:
        InputError: the file is missing, empty or not a media file.
    """
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return None
        film = video_stream(container)
        origin, sounds, is_part = None, [], bool(start) or end is not None
        skip: set[Stream] = set()
        for frame, time, _ in decode(container, [s for s in (stream, film) if s is not None], skip):
            if isinstance(frame, av.AudioFrame):
                sounds.append((time, frame.sample_rate, _mono(frame)))
            elif film is not None and film not in skip:
                origin = time
                skip.add(film)  # Only the time of its first frame is needed: there the sound begins.
            if is_part and sounds and (origin is not None or film is None):
                break
    if not sounds:
        return None
    origin, rate = sounds[0][0] if origin is None else origin, sounds[0][1]
    if is_part:
        return _read_part(path, origin, start, end)
    wave = np.concatenate(list(_without_gaps(sounds, origin, rate)))
    return np.clip(resample(wave, rate), -1, 1)


def _read_part(path, origin, start, end):
    """The samples from `start` to `end` of what `read_sound` returns for the whole file, whose first video frame is at `origin`."""
    # Whole seconds, so that resampling has the phase that it has in the whole file; one more at each end for its filter.
    skipped = max(math.floor(start) - 1, 0)
    until = math.inf if end is None else origin + math.ceil(end) + 1
    frames = itertools.takewhile(lambda found: found.start < until, decode_from(path, sound_stream, origin + skipped))
    sounds = [(time, frame.sample_rate, _mono(frame)) for frame, time, ends in frames if ends > origin + skipped]
    if not sounds:
        return np.zeros(0, np.float32)
    rate = sounds[0][1]
    wave = resample(np.concatenate([np.zeros(0, np.float32), *_without_gaps(sounds, origin + skipped, rate)]), rate)
    first, last = (None if time is None else round((time - skipped) * SAMPLE_RATE) for time in (start, end))
    return np.clip(wave[first:last], -1, 1)


class SoundWindow:
    """A window that moves forward over the sound that `read_sound` reads, with little more than a second of it in memory.

    Attributes:
        silent: True where the file has no audio stream, or nothing of it decodes from the origin on.
    """

    def __init__(self, path: str | os.PathLike, origin: float):
        """Opens the sound of a media file; `origin` is the time of the first video frame, in seconds on the file's clock."""
        self._pieces = _stream_sound(path, origin)
        self._held, self._first = np.zeros(0, np.float32), 0  # samples, and the number of the first of them
        self.around(0.0)
        self.silent = not len(self._held)

    def around(self, centre: float) -> Float[np.ndarray, '16000']:
        """Gives the second around a time, `audio_window(read_sound(path), centre)`; times must not decrease from call to call."""
        start = max(round(centre * SAMPLE_RATE) - SAMPLE_RATE // 2, 0)
        while (end := self._first + len(self._held)) < start + SAMPLE_RATE and (piece := next(self._pieces, None)) is not None:
            # The last second read stays, as the sound may end here and the window is then shifted inwards.
            drop = max(min(start, end + len(piece) - SAMPLE_RATE) - self._first, 0)
            self._held, self._first = np.concatenate([self._held, piece])[drop:], self._first + drop
        start = min(start, max(end - SAMPLE_RATE, 0)) - self._first
        window = self._held[start:start + SAMPLE_RATE]
        return np.pad(window, (0, SAMPLE_RATE - len(window)))


def _stream_sound(path: str | os.PathLike, origin: float) -> Iterator[Float[np.ndarray, ' n']]:
    """Yields the samples that `read_sound` returns, piece by piece."""
    with open_media(path) as container:
        stream = sound_stream(container)
        sounds = ((start, frame.sample_rate, _mono(frame)) for frame, start, _ in (decode(container, [stream]) if stream else ()))
        first = next(sounds, None)
        if first is None:
            return
        rate = first[1]
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, quality='HQ')
        for piece in _without_gaps(itertools.chain([first], sounds), origin, rate):
            yield np.clip(piece if rate == SAMPLE_RATE else resampler.resample_chunk(piece), -1, 1)
        if rate != SAMPLE_RATE:
            yield np.clip(resampler.resample_chunk(np.zeros(0, np.float32), last=True), -1, 1)


def _without_gaps(sounds: Iterable[tuple[float, int, np.ndarray]], origin: float, rate: int) -> Iterator[np.ndarray]:
    """Turns pieces of sound, (start in seconds, sample rate, samples) each, into pieces at `rate` without gaps from the origin on."""
    end = 0
    for time, sample_rate, piece in sounds:
        start = round((time - origin) * rate)
        piece = resample(piece, sample_rate, rate)
        if not end or abs(start - end) > _JITTER * rate:
            # A gap is filled with zeros, a second at a time; what overlaps the piece before, or lies before the origin, is cut off.
            while end < start:
                zeros = np.zeros(min(start - end, rate), np.float32)
                end += len(zeros)
                yield zeros
            piece = piece[end - start:]
        end += len(piece)
        yield piece


def _mono(frame):
    """The mean over the channels of a decoded frame, float32 in [-1, 1]; 0 where a sample is no number."""
    if frame.format.name in ('s64', 's64p'):  # which PyAV gives no array of
        frame, = av.AudioResampler('fltp').resample(frame)
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == 'u':
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == 'i':
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return np.nan_to_num(samples.mean(axis=0, dtype=np.float32) if len(samples) > 1 else samples[0].astype(np.float32))
