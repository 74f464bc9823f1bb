"""Maps of a video as pictures, and as a video that shows them over its frames, with its sound."""
import concurrent.futures
import io
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
from av.video.reformatter import Colorspace, VideoReformatter
from jaxtyping import Float, UInt8
from PIL import Image

from stanet_jax.arrays import AnyArray
from stanet_jax.media.moments import Moment
from stanet_jax.media.sound import sound_stream
from stanet_jax.media.video import decode, open_media, packets, to_rgb, video_stream


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
COPIED = ('aac', 'ac3', 'alac', 'flac', 'mp3', 'opus')  # codecs of sound that is copied into an mp4, not encoded again


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
        moment: with the decoded frame.
        map_: of any range.
        path: PNG or JPEG file to write.
        size: (width, height) of the video in pixels; a file's frames may come in several sizes.
    Returns:
        The frame with the map over it, in yuv420p. An odd side grows by one pixel, as that format needs even ones.
    """
    assert moment.frame is not None
    picture = paint_picture(Image.fromarray(to_rgb(moment.frame, None, VideoReformatter())), map_, path)
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


def write_film(folder: pathlib.Path, video: str | os.PathLike, batches: Iterable[tuple[Sequence[Moment], Float[np.ndarray, 'n h w']]],
               progress: tqdm.tqdm, names: str) -> None:
    """Writes the maps of a video and `overlay.mp4`, its frames with the maps over them, into a folder that does not exist yet.

    `overlay.mp4` keeps the video's times, counted from its first frame or sound, whichever comes first, and its first sound stream.

    Args:
        folder: to write.
        video: file that the maps were made of.
        batches: consecutive moments of the video with a map for each, in order.
        progress: bar that is moved on by every frame.
        names: key of `MAP_NAMES`, how the maps' files are named.
    """
    (folder / MAP_NAMES[names]).parent.mkdir(parents=True)
    path = os.path.abspath(folder / 'overlay.mp4')
    with (open_media(video) as source, av.open(path, 'w', options={'movflags': '+faststart'}) as container,
          concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool):
        stream: Any = None  # added when the first frame is there
        count, pts = 0, -1
        for group, maps in batches:
            if stream is None:
                stream, size = _add_film(container, video_stream(source), group[0].frame)
                sound, origin = _add_sound(container, source, group[0].time)
                tick, durations, due = float(stream.codec_context.time_base), {}, next(sound, None)
            paths = [folder / MAP_NAMES[names].format(count + k + 1) for k in range(len(group))]
            for moment, picture in zip(group, pool.map(paint_frame, group, maps, paths, itertools.repeat(size)), strict=True):
                pts = max(pts + 1, round((moment.time - origin) / tick))
                picture.pts, picture.time_base = pts, stream.codec_context.time_base
                durations[pts] = round((moment.end - moment.time) / tick)
                _mux(container, stream.encode(picture), durations)
                while due is not None and due.dts * due.time_base <= moment.time - origin:
                    container.mux(due)
                    due = next(sound, None)
                progress.update()
            count += len(group)
        _mux(container, stream.encode(), durations)
        for packet in itertools.chain([due] if due else [], sound):
            container.mux(packet)


def _mux(container, encoded, durations):
    """Writes encoded packets, each with its duration, which is popped from `durations` by its time."""
    for packet in encoded:
        packet.duration = durations.pop(packet.pts)  # the encoder drops it; it is how long the last frame is shown
        container.mux(packet)


def _add_film(container, source, frame):
    """Adds an H.264 stream with the time base and shape of the source stream; gives it, and the (width, height) that it shows."""
    turned = round(frame.rotation / 90) % 2
    size = (frame.height, frame.width) if turned else (frame.width, frame.height)
    film = container.add_stream('libx264', rate=source.average_rate or 25, options={'preset': 'veryfast', 'crf': '20'})
    film.width, film.height, film.pix_fmt = size[0] + size[0] % 2, size[1] + size[1] % 2, 'yuv420p'
    codec = film.codec_context
    codec.time_base = source.time_base
    codec.colorspace = codec.color_primaries = codec.color_trc = codec.color_range = 1  # BT.709, 16 to 235
    aspect = source.sample_aspect_ratio or Fraction(1)
    codec.sample_aspect_ratio = 1 / aspect if turned else aspect
    return film, size


def _add_sound(container, source, first):
    """Adds the source's first sound stream; gives its packets, ready for the container, and the time that becomes 0."""
    stream = sound_stream(source)
    if stream is None:
        return iter(()), first
    start = first if stream.start_time is None else float(stream.start_time * stream.time_base)
    origin = min(first, start)
    if _fits_mp4(stream):
        return _copied(source, stream, container.add_stream_from_template(stream), origin), origin
    rate = stream.sample_rate if stream.sample_rate in av.Codec('aac', 'w').audio_rates else 48000
    layout = stream.layout.name if stream.layout.name in ('mono', 'stereo', '5.1', '7.1') else 'stereo'
    return _transcoded(source, stream, container.add_stream('aac', rate=rate, layout=layout), origin), origin


def _fits_mp4(stream: av.AudioStream) -> bool:
    """Whether the stream can be copied into an mp4 file."""
    try:
        if stream.codec_context.codec.canonical_name in COPIED:
            with av.open(io.BytesIO(), 'w', format='mp4') as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
                return True
    except (av.FFmpegError, ValueError):
        pass  # such as MP3 of fewer than 16,000 samples a second
    return False


def _copied(source, stream, target, origin):
    """Yields the packets of a stream as they are, with times from `origin` on."""
    shift, last, following = round(origin / float(stream.time_base)), None, 0
    for _, packet in packets(source, [stream]):
        if packet is None:
            return
        start = following if packet.dts is None else packet.dts - shift
        if last is not None and start <= last:
            continue  # what falls back (a spliced file) cannot be written
        packet.pts = packet.dts = last = start
        following = start + max(packet.duration or 0, 1)
        packet.stream = target
        yield packet


def _transcoded(source, stream, target, origin):
    """Yields the packets of a stream that is decoded and encoded again, with times from `origin` on."""
    codec = target.codec_context
    resampler = av.AudioResampler('fltp', codec.layout, codec.sample_rate)
    for frame, start, _ in decode(source, [stream]):
        frame.pts, frame.time_base = round((start - origin) * frame.sample_rate), Fraction(1, frame.sample_rate)
        for resampled in resampler.resample(frame):
            yield from target.encode(resampled)
    for resampled in resampler.resample(None):
        yield from target.encode(resampled)
    yield from target.encode()
