"""Writes frames and a wave as a film."""
import fractions
import os
from collections.abc import Iterable

import av
import numpy as np
from jaxtyping import Float, UInt8

from stanet_jax.media.sound import SAMPLE_RATE


def write_film(path: str | os.PathLike, frames: Iterable[UInt8[np.ndarray, 'h w 3']], wave: Float[np.ndarray, ' n'] | None,
               fps: float) -> None:
    """Writes an mp4 file of H.264, and of AAC where there is sound; one frame at a time is in memory.

    Args:
        path: of the file.
        frames: RGB, of one size; a last odd row or column, which H.264 has no place for, is left out.
        wave: mono, 16 kHz, in [-1, 1], from the first frame on; None for a silent film.
        fps: frames a second.
    """
    with av.open(os.fspath(path), 'w', format='mp4') as container:
        rate = fractions.Fraction(fps).limit_denominator(1001)
        film = container.add_stream('libx264', rate=rate, options={'crf': '12', 'preset': 'fast'})
        film.pix_fmt = 'yuv420p'
        sound = None if wave is None else container.add_stream('aac', rate=SAMPLE_RATE, layout='mono', options={'b': '96k'})
        for k, frame in enumerate(frames):
            h, w = (n // 2 * 2 for n in frame.shape[:2])
            if k == 0:
                film.height, film.width = h, w
            container.mux(film.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:h, :w]), format='rgb24')))
        container.mux(film.encode(None))
        if sound is not None and wave is not None:
            samples = np.clip(np.round(wave[None] * 32767), -32768, 32767).astype(np.int16)
            block = av.AudioFrame.from_ndarray(samples, format='s16', layout='mono')
            block.sample_rate = SAMPLE_RATE
            container.mux(sound.encode(block))
            container.mux(sound.encode(None))
