"""Pictures out of image files of any kind that Pillow reads."""
import os
import warnings

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import UInt8

from stanet_jax import InputError

# Which files are taken for pictures; a gif is taken for a video.
PICTURE_SUFFIXES = frozenset('.avif .bmp .jfif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff .webp'.split())


def read_picture(path: str | os.PathLike) -> UInt8[np.ndarray, 'h w 3']:
    """Reads an image file in RGB, turned as its EXIF tag says it is to be shown; of several images in it the first.

    Transparent pixels show white. Grey of more than 8 bits is scaled from 0 and 65535, floats from 0 and 1 or, where they go beyond, from
    their least and greatest value.

    Raises:
        InputError: the file is missing or cannot be read as an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large pictures, and of tags that are wrong
            with PIL.Image.open(path) as image:
                return np.asarray(_to_rgb(PIL.ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise InputError(f'{path}: no such file') from None
    except (OSError, ValueError, SyntaxError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f'{path}: cannot be read as an image ({error}); make or fetch it again') from None


def _to_rgb(image):
    """An image of any mode in RGB."""
    if image.mode == 'F' or image.mode.startswith('I'):
        levels = np.nan_to_num(np.asarray(image, np.float64))
        low, high = (0, 1) if image.mode == 'F' else (0, 65535)
        if levels.min() < low or levels.max() > high:
            low, high = levels.min(), levels.max()
        return PIL.Image.fromarray(np.rint(255 * (levels - low) / (high - low)).astype(np.uint8)).convert('RGB')
    if image.has_transparency_data:
        image = image.convert('RGBA')
        return PIL.Image.alpha_composite(PIL.Image.new('RGBA', image.size, 'white'), image).convert('RGB')
    return image.convert('RGB')
