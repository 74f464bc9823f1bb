"""Pictures out of image files of any kind that Pillow reads."""
import contextlib
import functools
import io
import os
import warnings
from collections.abc import Iterator

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import UInt8

from stanet_jax import InputError

# Which files are taken for pictures; a gif is taken for a video.
PICTURE_SUFFIXES = frozenset('.avif .bmp .jfif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff .webp'.split())


# What Pillow decodes by itself: it knows more formats, for some of which it runs other programs.
FORMATS = ('AVIF', 'BMP', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TGA', 'TIFF', 'WEBP')


@contextlib.contextmanager
def open_picture(file: str | os.PathLike | io.BytesIO, formats: tuple[str, ...] = FORMATS) -> Iterator[PIL.Image.Image]:
    """Opens an image file of one of the formats, to be used with `with`, and decoded inside; of several images in it the first.

    Raises:
        InputError: the file is missing, cannot be read as an image, or has more than 178,956,970 pixels, which Pillow refuses.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large pictures, and of tags that are wrong
            with PIL.Image.open(file, formats=known_formats(formats)) as image:
                yield image
    except FileNotFoundError:
        raise InputError(f'{file}: no such file') from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f'{file}: cannot be read as an image ({error}); make or fetch it again') from None


@functools.cache
def known_formats(formats: tuple[str, ...]) -> list[str]:
    """Those of the formats that this Pillow knows."""
    PIL.Image.init()
    return [name for name in formats if name in PIL.Image.OPEN]


def read_picture(path: str | os.PathLike) -> UInt8[np.ndarray, 'h w 3']:
    """Reads an image file in RGB, turned as its EXIF tag says it is to be shown, see `to_rgb`; InputError as `open_picture`."""
    with open_picture(path) as image:
        return np.asarray(to_rgb(PIL.ImageOps.exif_transpose(image)))


def to_grey(image: PIL.Image.Image) -> PIL.Image.Image:
    """Converts an image of any mode to 8 bits of grey.

    Grey of more than 8 bits is scaled from 0 and 65535, floats from 0 and 1 or, where they go beyond, from their least and greatest value.
    """
    if image.mode != 'F' and not image.mode.startswith('I'):
        return image.convert('L')
    levels = np.nan_to_num(np.asarray(image, np.float64))
    low, high = (0, 1) if image.mode == 'F' else (0, 65535)
    if levels.min() < low or levels.max() > high:
        low, high = levels.min(), levels.max()
    return PIL.Image.fromarray(np.rint(255 * (levels - low) / (high - low)).astype(np.uint8))


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Converts an image of any mode to RGB; transparent pixels show white, and grey is converted as `to_grey` does."""
    if image.mode == 'F' or image.mode.startswith('I'):
        return to_grey(image).convert('RGB')
    if image.has_transparency_data:
        image = image.convert('RGBA')
        return PIL.Image.alpha_composite(PIL.Image.new('RGBA', image.size, 'white'), image).convert('RGB')
    return image.convert('RGB')
