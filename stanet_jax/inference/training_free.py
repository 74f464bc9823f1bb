"""Maps without training, with the interface of `predictor.Predictor`: what to compare students to, and what to use before there is one."""
import functools
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.baselines import cam
from stanet_jax.baselines.classical import centre_gaussian
from stanet_jax.contrast import SIGMA, contrast, resize_and_blur, sharpen
from stanet_jax.inference import TRAINING_FREE, heard
from stanet_jax.inference.films import Maps, film_maps
from stanet_jax.inference.predictor import block_size, block_times, split_blocks, with_neighbours
from stanet_jax.media.moments import Moment, moments_of_frames
from stanet_jax.models import backbones
from stanet_jax.models.backbones import classes
from stanet_jax.training import sharding
from stanet_jax.weights import sources

IMAGE, SOUND = 'efficientnet_lite0', 'yamnet'  # their encoders
CLASS_SIDE = 256  # of the frames that are classified, in pixels, about that of the encoder's training


class Form(NamedTuple):
    """The settings of `heard_cam`.

    Attributes:
        gain, threshold: see `heard.heard_weights`.
        power, centre: see `contrast.sharpen`.
    """
    gain: float = 4.0
    threshold: float = 0.05
    power: float = 1.3
    centre: float = 0.35


HEARD_CAM = Form()


class TrainingFree:
    """A method that needs no training, ready to predict fixation maps as a `predictor.Predictor` does.

    `heard_cam` is the class activation map of ImageNet's likely classes, weighted by what is heard, laid over the contrast of the encoder's
    features; `feature_sum` the plain sum of its last features; `centre` a Gaussian. All are smoothed over time.

    Attributes:
        side: of the frames that it takes, in pixels.
        rate: frames per second that the smoothing is measured in: a map is the mean over REACH / rate seconds before and after.
        names: of the maps that are made: the method.
        front_end: which of `sound.FRONT_ENDS` makes what it hears.
        hears: whether the maps depend on sound.
    """
    front_end, rate = 'log_mel', 8.0
    REACH, MAP_SIDE = 2, 64

    def __init__(self, method: str, form: Form = HEARD_CAM, side: int = 512):
        """Loads the encoders that a method needs, of the pip package and of our cache.

        `heard_cam` without YAMNet's weights works without the ear, and says so on standard error.

        Raises:
            InputError: no such method, or the image encoder's weights are not here; the message names the command that brings them.
        """
        if method not in TRAINING_FREE:
            raise InputError(f'--method={method}: must be one of {", ".join(TRAINING_FREE)}')
        self.names: tuple[str, ...] = (method,)
        self.side = self.MAP_SIDE if method == 'centre' else side
        self._variables: dict[str, Variables] = {} if method == 'centre' else {'image': sources.find(IMAGE, 'pip')}
        self.hears = method == 'heard_cam' and self._find_ear()
        self._mesh = sharding.make_mesh()
        self._variables = jax.device_put(self._variables, sharding.replicated(self._mesh))
        self._raw = functools.partial(_method_maps, method=method, form=form)
        self._smooth = jax.jit(_smooth, out_shardings=sharding.replicated(self._mesh))

    def _find_ear(self):
        try:
            self._variables['sound'] = sources.find(SOUND, 'fetched')
        except InputError as error:
            print(f'heard_cam hears nothing: {error}', file=sys.stderr)
        return 'sound' in self._variables

    def block(self, fps: float) -> int:
        """The number of moments in a block for a video of `fps` frames per second, see `predictor.block_size`."""
        return block_size(self.REACH * fps / self.rate)

    def maps(self, video: str | os.PathLike | Iterable[UInt8[np.ndarray, '_ _ 3']], sound: Float[np.ndarray, ' m'] | None = None,
             fps: float = 25.0) -> Maps:
        """The fixation maps of a whole video, in memory; see `films.film_maps`."""
        return film_maps(self, video, sound, fps)

    def predict_blocks(self, moments: Iterator[Moment], fps: float = 25.0) -> Iterator[tuple[list[Moment], dict[str, AnyArray]]]:
        """Yields (moments, {method: their maps}) of a video, a block at a time; the maps are in [0, 1] and stay on the device.

        Args:
            moments: of the video, in order.
            fps: the approximate number of moments in a second.
        """
        size = self.block(fps)
        raw = ((block, self._raw_maps(block, size)) for block in split_blocks(moments, size))
        for before, this, after in with_neighbours(raw):
            block, (name,) = this[0], self.names
            times = block_times(before, this, after, size)
            weights = smoothing_weights(times, times[size:size + len(block)], self.REACH / self.rate)
            weights = np.pad(weights, ((0, size - len(block)), (0, 0)))
            maps = self._smooth(tuple((of or this)[1] for of in (before, this, after)), weights)
            yield block, {name: maps[:len(block)]}

    def predict_pictures(self, pictures: Iterable[UInt8[np.ndarray, '_ _ 3']]) -> Iterator[dict[str, Float[np.ndarray, 'side side']]]:
        """Yields {method: map in [0, 1]} of each of some pictures, which have nothing to do with each other; blocks of them go through."""
        (name,), size = self.names, self.block(self.rate)
        alone = np.pad(np.eye(size, dtype=np.float32), ((0, 0), (size, size)))
        for block in split_blocks(moments_of_frames(pictures, None, self.rate, self.side, self.front_end), size):
            maps = np.asarray(self._smooth((self._raw_maps(block, size),) * 3, alone))
            yield from ({name: map_} for map_ in maps[:len(block)])

    def _raw_maps(self, block, size):
        """The maps of a block as `method_maps` gives them, padded to `size`."""
        frames, audio, phi = (np.stack(x) for x in zip(*(moment[1:4] for moment in block), strict=True))
        full = [np.pad(x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in (frames, np.float32(audio), np.float32(phi))]
        step = sharding.together(size, self.side)
        parts = ([x[k:k + step] for x in full] for k in range(0, len(block), step))
        maps = jnp.concatenate([self._raw(self._variables, *sharding.put(part, self._mesh)) for part in parts])
        return jnp.pad(maps, ((0, size - len(maps)), (0, 0), (0, 0)))


def method_maps(variables: dict[str, Variables], frames: UInt8[AnyArray, 'b side side 3'], audio: Float[AnyArray, 'b 64 96'],
                phi: Float[AnyArray, ' b'], *, method: str, form: Form) -> Float[jax.Array, 'b h w']:
    """The maps of b moments by a method, in [0, 1], before they are smoothed over time.

    Args:
        variables: of the encoders: `image`, but for `centre`, and `sound`, where there is an ear.
        frames: RGB.
        audio: patches of YAMNet.
        phi: 1 where there is sound, else 0.
        method: one of `inference.TRAINING_FREE`.
        form: the settings of `heard_cam`.
    """
    if method == 'centre':
        return jnp.broadcast_to(centre_gaussian(jnp.zeros((TrainingFree.MAP_SIDE, TrainingFree.MAP_SIDE, 3))),
                                (len(frames), TrainingFree.MAP_SIDE, TrainingFree.MAP_SIDE))
    side = TrainingFree.MAP_SIDE
    seen: Any = backbones.create(IMAGE, inner=True).apply(variables['image'], backbones.normalise(IMAGE, frames))
    if method == 'feature_sum':
        return resize_and_blur(cam.feature_sum(seen['C5']), side, 0.0)
    base = contrast([seen[level] for level in backbones.contrast_levels(IMAGE)], side)
    table = classes.seen_when_heard()
    sounds = hear(variables['sound'], audio, phi) if 'sound' in variables else jnp.zeros((len(frames), len(table)))
    probabilities = jax.nn.softmax(class_logits(variables['image'], frames) if frames.shape[1] > CLASS_SIDE else seen['logits'])
    weights = heard.heard_weights(probabilities, sounds, table, form.gain, form.threshold)
    class_map = heard.heard_cam(seen['C5'], variables['image']['params']['fc']['kernel'], weights)
    found = heard.combine(resize_and_blur(class_map, side, SIGMA), base, weights.sum(axis=1))
    return sharpen(found, form.power, form.centre)


_method_maps = jax.jit(method_maps, static_argnames=('method', 'form'))


def class_logits(variables: Variables, frames: UInt8[AnyArray, 'b side side 3']) -> Float[AnyArray, 'b 1000']:
    """The logits of ImageNet's classes, of the frames at CLASS_SIDE: of larger ones they are flat, as most of the places say little."""
    small = jax.image.resize(jnp.asarray(frames, jnp.float32), (len(frames), CLASS_SIDE, CLASS_SIDE, 3), 'linear')
    found: Any = backbones.create(IMAGE).apply(variables, backbones.normalise(IMAGE, jnp.rint(small).astype(jnp.uint8)))
    return found['logits']


def hear(variables: Variables, audio: Float[AnyArray, 'b 64 96'], phi: Float[AnyArray, ' b']) -> Float[jax.Array, 'b 521']:
    """The probabilities of YAMNet's classes, zeros where there is no sound."""
    logits: Any = backbones.create(SOUND).apply(variables, audio)
    return jax.nn.sigmoid(logits['logits']) * phi[:, None]


def smoothing_weights(times: Float[np.ndarray, ' n'], targets: Float[np.ndarray, ' b'], reach: float) -> Float[np.ndarray, 'b n']:
    """The weights of the mean of the moments that are at most `reach` seconds from each of b targets.

    Args:
        times: of n moments, in seconds, the targets among them; inf where there is none.
        targets: in seconds.
    """
    near = np.abs(times - targets[:, None]) <= reach + 1e-6
    return (near / near.sum(axis=1, keepdims=True)).astype(np.float32)


def _smooth(blocks, weights):
    return heard.mean_over_time(jnp.concatenate(blocks), weights)
