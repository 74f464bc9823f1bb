"""Maps of a video as pictures, and as a video that shows them over its frames, with its sound."""
import concurrent.futures
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import tqdm
from av.video.reformatter import Colorspace
from jaxtyping import Float, UInt8
from PIL import Image

from stanet_jax.arrays import AnyArray
from stanet_jax.media import box
from stanet_jax.media.header import FilmHeader
from stanet_jax.media.moments import Moment
from stanet_jax.media.soundtrack import add_sound


def heat(map_: Float[AnyArray, 'h w']) -> UInt8[np.ndarray, 'h w 3']:
    """Colours a map of values in [0, 1] from black through blue, red and yellow to white."""
    stops = np.array([[0, 0, 0], [40, 20, 140], [200, 30, 60], [250, 190, 40], [255, 255, 230]])
    channels = [np.interp(map_, np.linspace(0, 1, len(stops)), stops[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def overlay(frame: UInt8[np.ndarray, 'h w 3'], map_: Float[AnyArray, 'h2 w2']) -> UInt8[np.ndarray, 'h w 3']:
    """Lays a map of values in [0, 1], resized and coloured, over a frame; the greater a value, the more opaque."""
    h, w, _ = frame.shape
    map_ = np.asarray(PIL.Image.fromarray(np.float32(map_)).resize((w, h), PIL.Image.Resampling.BILINEAR)).clip(0, 1)
    opacity = (0.25 + 0.55 * map_)[..., None]
    return (frame * (1 - opacity) * 0.85 + heat(map_) * opacity).clip(0, 255).astype(np.uint8)


# File names of the maps of frames 1, 2, ...: those of the fixation sets, or those that the evaluation code of the STAViS release reads.
MAP_NAMES = {'eyemap': 'maps/eyeMap_{:05d}.png', 'stavis': 'pred_sal_{:06d}.jpg'}
# The mp4 muxer refuses a frame of 2^31 ticks or more. A clock finer than this is that of no camera, and a slide would be too long for it.
_FINEST, _LONGEST = Fraction(1, 90000), 2 ** 31 - 1


def _overlay_tables():
    """What `overlay` does to each of 256 levels of a map, as tables for `PIL.Image.composite`: a palette and opacities."""
    ramp = np.linspace(0, 1, 256)[None]
    black, white = (overlay(np.full((1, 256, 3), level, np.uint8), ramp)[0].astype(float) for level in (0, 255))
    opacity = 255 - (white - black).mean(axis=1)
    return np.uint8(black * 255 / opacity[:, None]).ravel().tolist(), np.uint8(opacity).tolist()


PALETTE, OPACITY = _overlay_tables()


def paint_frame(moment: Moment, map_: Float[np.ndarray, 'h w'], path: str | os.PathLike, size: tuple[int, int]) -> av.VideoFrame:
    """Writes a map as a grey picture of the frame's size, scaled so that it spans 0 to 255, and lays the map over the frame.

    Args:
        moment: with its frame.
        map_: of any range.
        path: PNG or JPEG file to write.
        size: (width, height) of the video in pixels; a file's frames may come in several sizes.
    Returns:
        The frame with the map over it, in yuv420p. An odd side grows by one pixel, as that format needs even ones.
    """
    assert moment.frame is not None
    picture = paint_picture(Image.fromarray(moment.frame.rgb()), map_, path)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    image = np.pad(np.asarray(picture), [(0, size[1] % 2), (0, size[0] % 2), (0, 0)], 'edge')
    return av.VideoFrame.from_ndarray(image, format='rgb24').reformat(format='yuv420p', dst_colorspace=Colorspace.ITU709)


def paint_picture(picture: Image.Image, map_: Float[np.ndarray, 'h w'], path: str | os.PathLike) -> Image.Image:
    """Writes a map as a grey picture of the RGB picture's size, scaled to span 0 to 255, and gives the picture with the map over it.

    Args:
        picture: in RGB.
        map_: of any range.
        path: PNG or JPEG file to write.
    """
    map_ = np.asarray(Image.fromarray(np.float32(map_)).resize(picture.size, Image.Resampling.BILINEAR))
    low, high = map_.min(), map_.max()
    levels = Image.fromarray(np.uint8(np.rint((map_ - low) * (255 / (high - low) if high > low else 0))))
    levels.save(path, compress_level=1, quality=95)  # a PNG takes the one, a JPEG the other
    colours, mask = levels.copy(), levels.point(OPACITY)
    colours.putpalette(PALETTE)
    return Image.composite(colours.convert('RGB'), picture, mask)


def write_film(folder: pathlib.Path, video: str | os.PathLike, header: FilmHeader,
               batches: Iterable[tuple[Sequence[Moment], Float[np.ndarray, 'n h w']]], progress: tqdm.tqdm, names: str) -> None:
    """Writes the maps of a video and `overlay.mp4`, its frames with the maps over them, into a folder that does not exist yet.

    `overlay.mp4` keeps the video's times, counted from its first frame or sound, whichever comes first, and its first sound stream.

    Args:
        folder: to write.
        video: file that the maps were made of.
        header: what its header tells.
        batches: consecutive moments of the video with a map for each, in order.
        progress: bar that is moved on by every frame.
        names: key of `MAP_NAMES`, how the maps' files are named.
    """
    (folder / MAP_NAMES[names]).parent.mkdir(parents=True)
    film, out = folder / 'film.mp4', folder / 'overlay.mp4'
    tick = max(header.tick, _FINEST)
    with av.open(os.path.abspath(film), 'w') as container, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        stream: Any = None  # added when the first frame is there
        count, pts = 0, -1
        for group, maps in batches:
            if stream is None:
                frame, first = group[0].frame, group[0].time
                assert frame is not None
                stream, size = _add_film(container, header, tick, frame), frame.size
                durations: dict[int, int] = {}
            paths = [folder / MAP_NAMES[names].format(count + k + 1) for k in range(len(group))]
            for moment, picture in zip(group, pool.map(paint_frame, group, maps, paths, itertools.repeat(size)), strict=True):
                pts = max(pts + 1, round((moment.time - first) / tick))
                picture.pts, picture.time_base = pts, tick
                durations[pts] = min(round((moment.end - moment.time) / tick), _LONGEST)
                _mux(container, stream.encode(picture), durations)
                progress.update()
            count += len(group)
        _mux(container, stream.encode(), durations)
    origin = min(first, first if header.sound_start is None else header.sound_start)
    box.call(add_sound, video, os.path.abspath(film), os.path.abspath(out), first - origin, origin)
    film.unlink()


def _mux(container, encoded, durations):
    """Writes encoded packets, each with its duration, which is popped from `durations` by its time."""
    for packet in encoded:
        packet.duration = durations.pop(packet.pts)  # the encoder drops it; it is how long the last frame is shown
        container.mux(packet)


def _add_film(container, header, tick, frame):
    """Adds an H.264 stream with the shape of a stored frame to a container, whose times are multiples of `tick` seconds."""
    width, height = frame.size
    film = container.add_stream('libx264', rate=header.fps, options={'preset': 'veryfast', 'crf': '20'})
    film.width, film.height, film.pix_fmt = width + width % 2, height + height % 2, 'yuv420p'
    codec = film.codec_context
    codec.time_base = tick
    codec.colorspace = codec.color_primaries = codec.color_trc = codec.color_range = 1  # BT.709, 16 to 235
    codec.sample_aspect_ratio = 1 / header.aspect if frame.orientation.transpose else header.aspect
    return film
