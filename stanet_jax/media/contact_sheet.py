"""Pictures of what the nets do."""
import os

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont


def contact_sheet(path, rows, side=128, across=2):
    """Writes a PNG of labelled pictures.

    Args:
        path: file to write; it appears whole or not at all.
        rows: list of (title, [(label, uint8 [h, w, 3])]).
        side: of each picture on the sheet, in pixels.
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
    temporary = path.with_name(f'.{os.getpid()}.{path.name}')
    sheet.save(temporary)
    temporary.replace(path)
