"""Saliency maps of still images out of a student, for EPS: no motion, no sound."""
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from stanet_jax import InputError, scam
from stanet_jax.data import augmentation
from stanet_jax.data.batches import iterate_in_order
from stanet_jax.eps.images import open_images
from stanet_jax.stages import students
from stanet_jax.training import checkpoint, sharding
from stanet_jax.training.checks import require
from stanet_jax.workdir import open_workdir, read_config, write_missing


def saliency_of_stills(variables, batch, *, model):
    """STA's maps of stills, `frames` uint8 [b, h, w, 3] -> uint8 [b, h, w], each scaled to its range; an image is its own neighbour."""
    x = augmentation.normalise(batch['frames'])
    b = len(x)
    logits, _ = model.apply(variables, jnp.stack([x, x, x], axis=1), jnp.zeros((b, 257, 98)), jnp.zeros(b))
    return jnp.round(255 * scam.min_max(jax.nn.sigmoid(logits))).astype(jnp.uint8)


def save_map(map_, info, path):
    """Writes a map uint8 [h, w] as an 8-bit PNG, as large as the image."""
    PIL.Image.fromarray(map_).resize((info['width'], info['height']), PIL.Image.Resampling.BILINEAR).save(path, 'PNG')


def squeezed(images, side, index):
    """An image of `images` as a batch has it: `frames` uint8 [side, side, 3]."""
    return {'frames': np.asarray(images.image(index).resize((side, side), PIL.Image.Resampling.BILINEAR))}


def run(config, workdir):
    """Writes `<workdir>/<id>.png` of all images of the config's set that are not there yet, by STA of the run `config.student`."""
    require('batch', config.batch, config.batch > 0, 'must be above 0')
    student = read_config(config.student)
    if student.get('task') != 'student' or 'STA' not in student.nets:
        raise InputError(f'config.student={config.student!r}: not a run of configs/sta.py')
    model, variables = students.make_student(student), checkpoint.load_variables(pathlib.Path(config.student) / 'STA' / 'variables')
    workdir, side = open_workdir(config, workdir), student.data.side
    find = sharding.on_local_devices(functools.partial(saliency_of_stills, model=model), variables)
    for images in open_images(config).values():
        def make(missing, images=images):
            pending, batch, load = iter(missing), config.batch * jax.local_device_count(), functools.partial(squeezed, images, side)
            for found in iterate_in_order(load, missing, batch, config.data.workers) if missing else ():
                for map_, index in zip(jax.device_get(find(found)), pending, strict=False):  # the last batch is filled up
                    yield index, functools.partial(save_map, map_, images.images[index])

        write_missing(workdir, [f'{info["id"]}.png' for info in images.images], [1] * len(images), make, 'image')
    print(f'{workdir}: saliency maps; give them to EPS as --config.data.saliency={workdir}')
