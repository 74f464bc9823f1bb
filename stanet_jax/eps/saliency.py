"""Saliency maps of still images by a student, for EPS: without motion and sound."""
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from jaxtyping import UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError, scam
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data.batches import iterate_in_order
from stanet_jax.eps.images import TaggedImages, open_images
from stanet_jax.media.sound import FRONT_ENDS
from stanet_jax.models import backbones
from stanet_jax.stages import students
from stanet_jax.stages.nets import front_end, load_net
from stanet_jax.training import sharding
from stanet_jax.training.checks import require
from stanet_jax.workdir import open_workdir, read_config, write_missing


def saliency_of_stills(variables: Variables, batch: Mapping[str, AnyArray], *, model: nn.Module,
                       sound: tuple[int, int]) -> UInt8[jax.Array, 'b h w']:
    """STA's maps of still images, each min-maxed to 0 to 255; an image stands for the frames before and after it, too.

    Args:
        variables: of the student.
        batch: `frames` uint8 [b, h, w, 3].
        model: the student STA.
        sound: the shape of what it hears, of which there is nothing.
    """
    x = backbones.normalise(model.encoder, batch['frames'])
    b = len(x)
    logits, _ = model.apply(variables, jnp.stack([x, x, x], axis=1), jnp.zeros((b, *sound)), jnp.zeros(b))
    return jnp.round(255 * scam.min_max(jax.nn.sigmoid(logits))).astype(jnp.uint8)


def save_map(map_: UInt8[np.ndarray, 'h w'], info: Mapping[str, Any], path: pathlib.Path) -> None:
    """Writes a map as an 8-bit PNG, as large as the image of `width` and `height`."""
    PIL.Image.fromarray(map_).resize((info['width'], info['height']), PIL.Image.Resampling.BILINEAR).save(path, 'PNG')


def squeezed(images: TaggedImages, side: int, index: int) -> dict[str, UInt8[np.ndarray, 'side side 3']]:
    """Image `index`, resized to a square whatever its shape, as the example `{'frames': image}` of a batch."""
    return {'frames': np.asarray(images.image(index).resize((side, side), PIL.Image.Resampling.BILINEAR))}


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Writes the saliency maps `<workdir>/<id>.png` of the config's set that are not there yet, by STA of the run `config.student`."""
    require('batch', config.batch, config.batch > 0, 'must be above 0')
    student = read_config(config.student)
    if student.get('task') != 'student' or 'STA' not in student.nets:
        raise InputError(f'config.student={config.student!r}: not a run of configs/sta.py')
    model, variables = students.make_student(student), load_net(student, pathlib.Path(config.student) / 'STA')
    folder, side = open_workdir(config, workdir), student.data.side
    sound = FRONT_ENDS[front_end(student)].shape
    predict = sharding.on_local_devices(functools.partial(saliency_of_stills, model=model, sound=sound), variables)
    for images in open_images(config).values():
        def make(missing, images=images):
            pending, batch, load = iter(missing), config.batch * jax.local_device_count(), functools.partial(squeezed, images, side)
            for examples in iterate_in_order(load, missing, batch, config.data.workers) if missing else ():
                for map_, index in zip(jax.device_get(predict(examples)), pending, strict=False):  # the last batch is filled up
                    yield index, functools.partial(save_map, map_, images.images[index])

        write_missing(folder, [f'{info["id"]}.png' for info in images.images], [1] * len(images), make, 'image')
    print(f'{folder}: saliency maps; give them to EPS as --config.data.saliency={folder}')
