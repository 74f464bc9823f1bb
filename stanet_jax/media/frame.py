"""Decoded frames: as they are to be shown, in RGB, and outside of the process that decoded them."""
from typing import NamedTuple

import av
import numpy as np
import PIL.Image
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

_PLANAR = ('yuv420p', 'yuvj420p')  # what most films are in: half as large as RGB


class Orientation(NamedTuple):
    """How a frame is turned and mirrored to be shown: its rows and columns change places, then its rows are reversed, then its columns."""
    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


def orientation(frame: av.VideoFrame) -> Orientation:
    """Reads the orientation of a frame from its display matrix, to the nearest right angle; one without a direction counts as none."""
    matrix = frame.side_data.get('DISPLAYMATRIX')
    if matrix is None:
        return Orientation()
    # A point (x, y) is shown at (a x + c y, b x + d y); the third of each three numbers is of no matter.
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()  # type: ignore[arg-type]  # it is a buffer
    if a * d == b * c:
        return Orientation()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)


def to_rgb(frame: av.VideoFrame, side: int | None, scaler: VideoReformatter) -> UInt8[np.ndarray, 'h w 3']:
    """Converts a decoded frame to RGB, turned and mirrored as the file says it is to be shown.

    Args:
        frame: of any pixel format.
        side: width and height to resize to, in pixels; None leaves its size.
        scaler: of the frames of one film, which it keeps the set-up of.
    """
    return _convert(frame, orientation(frame), side, scaler)


def _convert(frame, shown, side, scaler):
    width, height = (side, side) if side else (frame.width, frame.height)
    # Area averages all pixels that a smaller picture merges; for enlarging it repeats pixels, so cubic there.
    method = 'AREA' if width <= frame.width and height <= frame.height else 'BICUBIC'
    return _orient(scaler.reformat(frame, width, height, 'rgb24', interpolation=method, threads=1).to_ndarray(), shown)


def _orient(image, shown):
    image = image.transpose(1, 0, 2) if shown.transpose else image
    return np.ascontiguousarray(image[::-1 if shown.flip_rows else 1, ::-1 if shown.flip_columns else 1])


def resize_frame(frame: UInt8[np.ndarray, 'h w 3'], side: int) -> UInt8[np.ndarray, '_ _ 3']:
    """Resizes a frame to side x side pixels as `to_rgb` does: by averaging areas where it shrinks, else bicubic; 0 leaves its size."""
    h, w, _ = frame.shape
    method = PIL.Image.Resampling.BOX if side <= min(h, w) else PIL.Image.Resampling.BICUBIC
    return frame if not side or h == w == side else np.asarray(PIL.Image.fromarray(frame).resize((side, side), method))


class StoredFrame(NamedTuple):
    """A decoded frame that any process can hold: of 4:2:0 its planes, of other formats RGB.

    Attributes:
        pixels: as PyAV lays them out in one array.
        format: of the pixels, as FFmpeg names it.
        colours: FFmpeg's numbers of the matrix and of the range of its colours.
        orientation: how it is to be turned and mirrored.
    """
    pixels: UInt8[np.ndarray, '...']
    format: str
    colours: tuple[int, int]
    orientation: Orientation

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frame as it is shown, in pixels."""
        h, w = self.pixels.shape[:2]
        h = h * 2 // 3 if self.format in _PLANAR else h
        return (h, w) if self.orientation.transpose else (w, h)

    def rgb(self) -> UInt8[np.ndarray, 'h w 3']:
        """The frame in RGB, as it is shown: what `to_rgb` gives of the decoded frame."""
        if self.format == 'rgb24':
            return _orient(self.pixels, self.orientation)
        frame = av.VideoFrame.from_ndarray(self.pixels, format=self.format)
        frame.colorspace, frame.color_range = self.colours
        return _convert(frame, self.orientation, None, VideoReformatter())


def store_frame(frame: av.VideoFrame) -> StoredFrame:
    """Takes a decoded frame out of its decoder."""
    colours = int(frame.colorspace), int(frame.color_range)
    if frame.format.name in _PLANAR and frame.width % 2 == frame.height % 2 == 0:
        return StoredFrame(frame.to_ndarray(), frame.format.name, colours, orientation(frame))
    pixels = _convert(frame, Orientation(), None, VideoReformatter())
    return StoredFrame(pixels, 'rgb24', (2, 0), orientation(frame))
