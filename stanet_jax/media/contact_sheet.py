"""Contact sheets: many small labelled pictures in one file."""
import pathlib
from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jaxtyping import UInt8

from stanet_jax.scratch import replacing_file

Row = tuple[str, Sequence[tuple[str, UInt8[np.ndarray, 'h w 3']]]]  # a title, and labelled RGB pictures


def contact_sheet(path: pathlib.Path, rows: Sequence[Row], side: int = 128, across: int = 2) -> None:
    """Writes a picture of labelled pictures in titled rows.

    Args:
        path: file to write, PNG or JPEG by its suffix; it appears whole or not at all.
        rows: titles and labelled pictures.
        side: width and height of each picture on the sheet, in pixels.
        across: how many rows stand side by side.
    """
    font, bar, gap = PIL.ImageFont.load_default(12), 17, 6
    width = max(len(cells) for _, cells in rows) * (side + 2) + gap
    height = side + 2 * bar + gap
    down = -(-len(rows) // across)
    sheet = PIL.Image.new('RGB', (width * min(across, len(rows)) + gap, height * down + gap), (24, 24, 28))
    draw = PIL.ImageDraw.Draw(sheet)
    for i, (title, cells) in enumerate(rows):
        x, y = gap + i // down * width, gap + i % down * height
        draw.text((x, y), title, (255, 255, 255), font)
        for label, image in cells:
            sheet.paste(PIL.Image.fromarray(image).resize((side, side), PIL.Image.Resampling.BICUBIC), (x, y + bar))
            draw.text((x + 2, y + bar + side + 1), label, (170, 170, 180), font)
            x += side + 2
    with replacing_file(path, path.suffix[1:]) as new:
        sheet.save(new, quality=85)
