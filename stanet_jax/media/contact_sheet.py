"""Pictures of what the nets do."""
import os

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont


def heat(map_):
    """A map [h, w] in [0, 1] as colours, uint8 [h, w, 3]: from black through blue, red and yellow to white."""
    stops = np.array([[0, 0, 0], [40, 20, 140], [200, 30, 60], [250, 190, 40], [255, 255, 230]])
    channels = [np.interp(map_, np.linspace(0, 1, len(stops)), stops[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def overlay(frame, map_):
    """A map [h', w'] in [0, 1], resized, over a frame uint8 [h, w, 3]; the stronger, the more opaque. -> uint8 [h, w, 3]."""
    h, w, _ = frame.shape
    map_ = np.asarray(PIL.Image.fromarray(np.float32(map_)).resize((w, h), PIL.Image.Resampling.BILINEAR)).clip(0, 1)
    opacity = (0.25 + 0.55 * map_)[..., None]
    return (frame * (1 - opacity) * 0.85 + heat(map_) * opacity).clip(0, 255).astype(np.uint8)


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
