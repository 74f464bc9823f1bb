"""A clip as prepared sets store it: frames as JPEG, sound as 16-bit samples."""
import io
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16, UInt8
from PIL import Image

from stanet_jax.media.header import find_break, read_header
from stanet_jax.media.sound import read_sound
from stanet_jax.media.video import read_frames


class StoredClip(NamedTuple):
    """A clip as prepared sets store it.

    Attributes:
        frames: the JPEG bytes of each frame.
        sound: mono at 16 kHz, from the time of the first frame on; None or empty where the clip is silent.
        rate: frames of each second; 0 where it is not told.
        breaks_off: a line where the file breaks off before the end that its header tells, else ''.
    """
    frames: list[bytes]
    sound: Int16[np.ndarray, ' n'] | None
    rate: float = 0.0
    breaks_off: str = ''


def read_clip(path: str | os.PathLike, rate: float, side: int, start: float = 0.0, end: float | None = None) -> StoredClip:
    """Reads a video file, or its part from `start` to `end` seconds, as a clip of square frames; InputError as `read_frames`.

    Args:
        path: the file.
        rate: frames of each second; 0 for the video's own, of which all are read.
        side: width and height of a frame, in pixels.
        start, end: counted from the first frame; to the end of the file where `end` is None.
    """
    rate = rate or float(read_header(path).fps)
    frames = [to_jpeg(image) for image in read_frames(path, rate, side, start, end)]
    wave = read_sound(path, start, end)
    samples = None if wave is None else np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)
    return StoredClip(frames, samples, rate, find_break(path) if end is None else '')


def to_jpeg(image: UInt8[np.ndarray, 'h w 3']) -> bytes:
    """Encodes an RGB image as JPEG, at a quality whose error (about 1 of 255) is below that of the video's codec."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=95, subsampling=0)
    return buffer.getvalue()
