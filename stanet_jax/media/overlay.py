"""Maps of a video as pictures, and as a video that shows them over its frames, with its sound."""
import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

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
# With its macroblock tree what x264 writes differs a little from run to run.
_H264 = {'preset': 'veryfast', 'crf': '20', 'x264-params': 'mbtree=0'}


def _overlay_tables():
    """What `overlay` does to each of 256 levels of a map, as tables for `PIL.Image.composite`: a palette and opacities."""
    ramp = np.linspace(0, 1, 256)[None]
    black, white = (overlay(np.full((1, 256, 3), level, np.uint8), ramp)[0].astype(float) for level in (0, 255))
    opacity = 255 - (white - black).mean(axis=1)
    return np.uint8(black * 255 / opacity[:, None]).ravel().tolist(), np.uint8(opacity).tolist()


PALETTE, OPACITY = _overlay_tables()


@dataclasses.dataclass(frozen=True)
class Output:
    """What is written of a film.

    Attributes:
        maps: 'png', a picture for each frame; 'video', one lossless grey video (FFV1 in `maps.mkv`); or 'none'.
        names: of the pictures, a key of `MAP_NAMES`.
        overlay: whether `overlay.mp4` is written.
    """
    maps: str = 'png'
    names: str = 'eyemap'
    overlay: bool = True

    def path(self, folder: pathlib.Path, number: int) -> pathlib.Path | None:
        """The file of the map of frame `number`, counted from 1; None where maps are no pictures."""
        return folder / MAP_NAMES[self.names].format(number) if self.maps == 'png' else None


ALL_OF_IT = Output()


class Painted(NamedTuple):
    """A map as grey levels of the film's size, and its frame with the map over it; None for what is not written."""
    levels: av.VideoFrame | None
    overlay: av.VideoFrame | None


def paint_frame(moment: Moment, map_: Float[np.ndarray, 'h w'], path: str | os.PathLike | None, size: tuple[int, int],
                output: Output = ALL_OF_IT) -> Painted:
    """Scales a map of any range so that it spans 0 to 255, writes it as a picture of its frame's size, and lays it over the frame.

    Args:
        moment: with its frame.
        map_: of any range.
        path: PNG or JPEG file to write; None for none.
        size: (width, height) of the video in pixels; a file's frames may come in several sizes.
        output: what is wanted.
    Returns:
        The levels, and the frame with the map over it, in yuv420p. An odd side of the latter grows by one pixel, as that format needs
        even ones.
    """
    assert moment.frame is not None
    levels = scale_map(map_, moment.frame.size)
    if path:
        save_map(levels, path)
    grey = av.VideoFrame.from_ndarray(np.asarray(resized(levels, size)), format='gray') if output.maps == 'video' else None
    if not output.overlay:
        return Painted(grey, None)
    picture = resized(lay_over(Image.fromarray(moment.frame.rgb()), levels), size)
    image = np.pad(np.asarray(picture), [(0, size[1] % 2), (0, size[0] % 2), (0, 0)], 'edge')
    return Painted(grey, av.VideoFrame.from_ndarray(image, format='rgb24').reformat(format='yuv420p', dst_colorspace=Colorspace.ITU709))


def scale_map(map_: Float[np.ndarray, 'h w'], size: tuple[int, int]) -> Image.Image:
    """A map of any range as a grey picture of `size` (width, height) that spans 0 to 255; all 0 where it is constant."""
    map_ = np.asarray(Image.fromarray(np.float32(map_)).resize(size, Image.Resampling.BILINEAR))
    low, high = map_.min(), map_.max()
    return Image.fromarray(np.uint8(np.rint((map_ - low) * (255 / (high - low) if high > low else 0))))


def save_map(levels: Image.Image, path: str | os.PathLike) -> None:
    """Writes grey levels to a PNG or JPEG file."""
    levels.save(path, compress_level=1, quality=95)  # a PNG takes the one, a JPEG the other


def lay_over(picture: Image.Image, levels: Image.Image) -> Image.Image:
    """An RGB picture with the grey levels of a map of its size over it, as `overlay` does it."""
    colours, mask = levels.copy(), levels.point(OPACITY)
    colours.putpalette(PALETTE)
    return Image.composite(colours.convert('RGB'), picture, mask)


def resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture at another (width, height)."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)


def write_film(folder: pathlib.Path, video: str | os.PathLike, header: FilmHeader,
               batches: Iterable[tuple[Sequence[Moment], Float[np.ndarray, 'n h w']]], progress: tqdm.tqdm, output: Output) -> None:
    """Writes the maps of a video and `overlay.mp4`, its frames with the maps over them, into a folder that does not exist yet.

    `overlay.mp4` keeps the video's times, counted from its first frame or sound, whichever comes first, and its first sound stream.

    Args:
        folder: to write.
        video: file that the maps were made of.
        header: what its header tells.
        batches: consecutive moments of the video with a map for each, in order.
        progress: bar that is moved on by every frame.
        output: what is written.
    """
    folder.mkdir(parents=True)
    silent, tick = folder / 'film.mp4', max(header.tick, _FINEST)
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        films: list[_Film | None] = []  # opened when the first frame is there
        count, pts = 0, -1
        for group, maps in batches:
            if not films:
                frame, first = group[0].frame, group[0].time
                assert frame is not None
                size = frame.size
                if picture := output.path(folder, 1):
                    picture.parent.mkdir(exist_ok=True)
                wanted = (output.maps == 'video', folder / 'maps.mkv', True), (output.overlay, silent, False)
                films = [stack.enter_context(_Film(path, header, tick, frame, grey)) if of else None for of, path, grey in wanted]
            paths = [output.path(folder, count + k + 1) for k in range(len(group))]
            painted = pool.map(paint_frame, group, maps, paths, itertools.repeat(size), itertools.repeat(output))
            for moment, shown in zip(group, painted, strict=True):
                pts = max(pts + 1, round((moment.time - first) / tick))
                for film, image in zip(films, shown, strict=True):
                    if film:
                        film.write(image, pts, min(round((moment.end - moment.time) / tick), _LONGEST))
                progress.update()
            count += len(group)
    if output.overlay:
        origin = min(first, first if header.sound_start is None else header.sound_start)
        box.call(add_sound, video, os.path.abspath(silent), os.path.abspath(folder / 'overlay.mp4'), first - origin, origin)
        silent.unlink()


class _Film:
    """A silent video file that gets a picture at a time: H.264, or of grey levels FFV1, with the shape of a stored frame."""

    def __init__(self, path, header, tick, frame, grey=False):
        width, height = frame.size
        self._tick, self._durations = tick, {}
        self._container = av.open(os.path.abspath(path), 'w')
        if grey:
            film = self._container.add_stream('ffv1', rate=header.fps)
            film.width, film.height, film.pix_fmt = width, height, 'gray'
        else:
            film = self._container.add_stream('libx264', rate=header.fps, options=_H264)
            film.width, film.height, film.pix_fmt = width + width % 2, height + height % 2, 'yuv420p'
            codec = film.codec_context
            codec.colorspace = codec.color_primaries = codec.color_trc = codec.color_range = 1  # BT.709, 16 to 235
        film.codec_context.time_base = tick
        film.codec_context.sample_aspect_ratio = 1 / header.aspect if frame.orientation.transpose else header.aspect
        self._stream = film

    def write(self, picture, pts, duration):
        """Writes the picture that is shown from `pts` on, for `duration`, both in ticks."""
        picture.pts, picture.time_base = pts, self._tick
        self._durations[pts] = duration
        self._mux(self._stream.encode(picture))

    def _mux(self, packets):
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts)  # the encoder drops it; it is how long the last frame is shown
            self._container.mux(packet)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._mux(self._stream.encode())
        self._container.close()
