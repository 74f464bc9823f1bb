"""A clip as it is stored: frames as JPEG, sound as 16-bit samples."""
import io

import numpy as np
from PIL import Image

from stanet_jax.media.video import read_frames


def read_clip(path, rate, side):
    """Reads a clip as it is stored: `(frames, sound)`.

    Frames are JPEG bytes of side x side pixels at times k / rate, the sound is int16 `[n]`, mono, 16 kHz, from the time
    of the first frame, None where there is none. InputError as `read_frames`.
    """
    from stanet_jax.media.sound import read_sound  # Here, as sound.py is built on this file.
    frames = [to_jpeg(image) for image in read_frames(path, rate, side)]
    wave = read_sound(path)
    return frames, None if wave is None else np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def to_jpeg(image):
    """JPEG bytes of a uint8 RGB `[h, w, 3]` image, at a quality whose error (about 1 of 255) is below the codec's."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=95, subsampling=0)
    return buffer.getvalue()
