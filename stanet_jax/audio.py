"""Sound: out of media files, into the second around a frame, into the log spectrogram that VGGSound is trained on."""
import numpy as np
import scipy.fft
import scipy.signal

from stanet_jax import InputError
from stanet_jax.video import decode, open_media, video_stream

SAMPLE_RATE = 16000
SEGMENT, OVERLAP = 512, 353
_HOP = SEGMENT - OVERLAP
# A time stamp may be off by the rounding of its container; a larger step is a gap in the sound.
_JITTER = 0.01


def _spectrogram_window():
    window = scipy.signal.get_window(('tukey', 0.25), SEGMENT)
    return (window / np.sqrt(SAMPLE_RATE * (window * window).sum())).astype(np.float32)


_WINDOW = _spectrogram_window()


def log_spectrogram(wave, sample_rate=SAMPLE_RATE):
    """The log spectrogram of a sound, normalised over the clip, as VGGSound was trained.

    `scipy.signal.spectrogram` of 512-sample segments (353 overlap, Tukey window 0.25, constant detrend, power spectral
    density), `log(x + 1e-7)`, then `(x - mean) / (std + 1e-9)`; written out, as SciPy's is four times slower.

    Args:
        wave: `[n]` float in [-1, 1] or int16; shorter than 512 samples it is padded with zeros.
        sample_rate: of the wave, in Hz; other than 16000 it is resampled.

    Returns:
        float32 `[257, t]`, t = (n - 353) // 159 at 16 kHz: 98 for 1 s, 1004 for 10 s. Zeros for a constant wave.

    Raises:
        ValueError: the wave is empty, not of one dimension, or of another type.
    """
    wave = np.asarray(wave)
    if wave.ndim != 1 or not wave.size:
        raise ValueError(f'a wave is one row of samples, got shape {wave.shape}')
    if wave.dtype != np.int16 and not np.issubdtype(wave.dtype, np.floating):
        raise ValueError(f'a wave is float in [-1, 1] or int16, got {wave.dtype}')
    wave = wave.astype(np.float32) / (32768 if wave.dtype == np.int16 else 1)
    wave = resample(wave, sample_rate)
    wave = np.pad(wave, (0, max(0, SEGMENT - wave.size)))
    if wave.min() == wave.max():
        # Rounding in the mean of a constant would be blown up by the division.
        return np.zeros((SEGMENT // 2 + 1, (wave.size - OVERLAP) // _HOP), np.float32)
    segments = np.lib.stride_tricks.sliding_window_view(wave, SEGMENT)[::_HOP]
    segments = (segments - segments.mean(axis=1, keepdims=True)) * _WINDOW
    spectrum = scipy.fft.rfft(segments, axis=1)
    power = spectrum.real ** 2 + spectrum.imag ** 2
    power[:, 1:-1] *= 2  # One-sided: each frequency but the ends stands for its negative too.
    # log(x + 1e-7) but for a constant that the mean takes away: in float32 this one stays exact for faint sounds.
    x = np.log1p(power * np.float32(1e7))
    x -= x.mean(dtype=np.float64).astype(np.float32)
    x /= x.std(dtype=np.float64).astype(np.float32) + np.float32(1e-9)
    return np.ascontiguousarray(x.T)


def resample(wave, sample_rate):
    """Float32 `[n]` at `sample_rate` to 16 kHz (soxr, high quality)."""
    if sample_rate == SAMPLE_RATE:
        return wave
    import librosa  # Here, as its import takes longer than most clips and 16 kHz sound does without.
    return librosa.resample(wave, orig_sr=sample_rate, target_sr=SAMPLE_RATE, res_type='soxr_hq')


def second_around(wave, centre, seconds=1.0, sample_rate=SAMPLE_RATE):
    """The samples of the second centred on a time.

    At the ends of the wave the window is shifted inwards; a wave that is shorter is padded with zeros at its end.

    Args:
        wave: `[n]`.
        centre: seconds from the wave's start.
        seconds: the window's length.
        sample_rate: in Hz.

    Returns:
        `[round(seconds * sample_rate)]`, of the wave's type.
    """
    start, length = window_around(len(wave), centre, seconds, sample_rate)
    window = wave[start:start + length]
    return np.pad(window, (0, length - len(window)))


def window_around(samples, centre, seconds=1.0, sample_rate=SAMPLE_RATE):
    """First sample and length of what `second_around` takes out of a wave of so many samples."""
    length = round(seconds * sample_rate)
    start = round(centre * sample_rate) - length // 2
    return min(max(start, 0), max(samples - length, 0)), length


def read_sound(path):
    """The sound of a media file, in step with its video.

    Args:
        path: a video or sound file of any codec.

    Returns:
        float32 `[n]` in [-1, 1], 16 kHz, the mean over channels, from the time of the first video frame (of the first
        sample, where there is no video): sound before it is cut, and where there is none for a time there are zeros.
        None if the file has no audio stream or nothing of it decodes.

    Raises:
        InputError: the file is missing, empty or no media.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            return None
    origin = _first_frame_time(path)
    with open_media(path) as container:
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise InputError(f'{path}: its sound is of a codec that FFmpeg does not know; convert it')
        rate, pieces, end = None, [], 0
        for seconds, frame in decode(container, stream):
            if rate is None:
                rate = frame.sample_rate
                origin = seconds if origin is None else origin
            mono = _mono(frame)
            start = round((seconds - origin) * rate)
            if abs(start - end) > _JITTER * rate or not pieces and start < 0:
                # A gap is filled with zeros; of an overlap, or what lies before the video, the rest is kept.
                mono = np.pad(mono, (max(0, start - end), 0))[max(0, end - start):]
            pieces.append(mono)
            end += len(mono)
    if not pieces:
        return None
    return np.clip(resample(np.concatenate(pieces), rate), -1, 1)


def _first_frame_time(path):
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            return None
        return next((seconds for seconds, _ in decode(container, stream)), None)


def _mono(frame):
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == 'u':
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == 'i':
        samples = samples.astype(np.float32) / np.iinfo(samples.dtype).max
    return samples.mean(axis=0, dtype=np.float32)
