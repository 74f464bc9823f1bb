"""Methods that look at each frame alone, with the interface of `predictor.Predictor`: classical saliency and class activation maps."""
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

from stanet_jax.arrays import AnyArray
from stanet_jax.baselines import classical
from stanet_jax.baselines.classifier import SAMPLES, class_maps, load_classifier
from stanet_jax.inference.films import Maps, film_maps
from stanet_jax.inference.predictor import split_blocks
from stanet_jax.media.moments import Moment, moments_of_frames
from stanet_jax.training import sharding

# Gives the maps of frames of one size.
MapsOfFrames = Callable[[Sequence[UInt8[np.ndarray, '_h _w 3']]], Sequence[Float[AnyArray, '_h2 _w2']]]
FRAMES = 4  # that S sees at once


class FrameMaps:
    """A method that looks at frames, one by one, and hears nothing.

    Attributes:
        side: of the frames that it takes, in pixels; 0 where they keep their size.
        names: of the maps that are made: the method.
    """
    front_end, hears = 'log_mel', False

    def __init__(self, name: str, maps_of_frames: MapsOfFrames, side: int, together: int):
        """`together` is how many frames `maps_of_frames` gets at a time, at most."""
        self.names: tuple[str, ...] = (name,)
        self.side, self._maps, self._together = side, maps_of_frames, together

    def maps(self, video: str | os.PathLike | Iterable[UInt8[np.ndarray, '_ _ 3']], sound: Float[np.ndarray, ' m'] | None = None,
             fps: float = 25.0) -> Maps:
        """The maps of a whole video, in memory; see `films.film_maps`."""
        return film_maps(self, video, sound, fps)

    def predict_blocks(self, moments: Iterator[Moment], fps: float = 25.0) -> Iterator[tuple[list[Moment], dict[str, AnyArray]]]:
        """Yields (moments, {method: their maps}) of a video, some at a time."""
        for block in split_blocks(moments, self._together):
            yield block, {self.names[0]: np.stack([np.asarray(m) for m in self._maps([moment.picture for moment in block])])}

    def predict_pictures(self, pictures: Iterable[UInt8[np.ndarray, '_ _ 3']]) -> Iterator[dict[str, Float[np.ndarray, 'h2 w2']]]:
        """Yields {method: map} of each of some pictures, which need not be of one size."""
        for _, maps in self.predict_blocks(moments_of_frames(pictures, None, 1.0, self.side, self.front_end)):
            yield from ({self.names[0]: np.asarray(map_)} for map_ in maps[self.names[0]])


ENLARGED = ('itti', 'gbvs')  # the methods that get small frames enlarged


def enlarged_size(height: int, width: int) -> tuple[int, int] | None:
    """The height and width that ITTI and GBVS get a frame in, where it is too small for their pyramids; else None."""
    least = min(height, width)
    if least >= classical.LEAST_SIDE:
        return None
    return -(-height * classical.LEAST_SIDE // least), -(-width * classical.LEAST_SIDE // least)


def open_classical(method: str) -> FrameMaps:
    """One of `inference.CLASSICAL`, on frames of their own size; ITTI and GBVS get small ones enlarged, and a line says so."""
    function, told = getattr(classical, method), set()

    def maps_of_frames(frames):
        (frame,) = frames
        if method in ENLARGED and (size := enlarged_size(*frame.shape[:2])):
            if frame.shape not in told:
                told.add(frame.shape)
                print(f'{method}: frames of {frame.shape[1]}x{frame.shape[0]} pixels are enlarged to {size[1]}x{size[0]}', file=sys.stderr)
            frame = np.asarray(PIL.Image.fromarray(frame).resize(size[::-1], PIL.Image.Resampling.BICUBIC))
        return [function(np.float32(frame) / 255)]

    return FrameMaps(method, maps_of_frames, 0, 1)


def open_class_maps(method: str, run: str | os.PathLike, side: int = 0, samples: int = 0) -> FrameMaps:
    """The class activation maps of a run's S, of the class that it predicts; frames have the side of its training, or `side`.

    `samples` as in `classifier.class_maps`. The name of the maps has their number. InputError where there is no S.
    """
    net = load_classifier(run)
    mesh = sharding.make_mesh()
    size, variables = sharding.padded(FRAMES), jax.device_put(net.variables, sharding.replicated(mesh))
    compiled = jax.jit(functools.partial(class_maps, model=net.model, method=method, samples=samples),
                       out_shardings=sharding.replicated(mesh))

    def maps_of_frames(frames):
        full = np.stack([frames[min(k, len(frames) - 1)] for k in range(size)])
        return np.asarray(compiled(variables, sharding.put(jnp.asarray(full), mesh)))[:len(frames)]

    name = f'{method}, {samples or SAMPLES[method]} samples' if method in SAMPLES else method
    return FrameMaps(name, maps_of_frames, side or net.side, size)
