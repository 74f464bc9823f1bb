"""Labels of images by the nets of `segmentation`: pseudo-masks, their scores, and predictions.

    <workdir>/masks/<split>/<id>.png     labels in VOC's colours, as large as the image
    <workdir>/masks/<split>/tags.jsonl   the tags that they were made with
"""
import functools
import json

import jax
import numpy as np
import PIL.Image

from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.data.batches import iterate_in_order
from stanet_jax.eps import training
from stanet_jax.eps.images import ImageExamples, open_images
from stanet_jax.eps.nets import predict_labels
from stanet_jax.training import sharding
from stanet_jax.workdir import open_workdir, replace_text, write_missing


def iterate_canvases(images, chosen, canvas, batch, workers):
    """Batches of images set into the corner of a square: `frames`, `tags`, `valid`; the last is filled up."""
    return iterate_in_order(functools.partial(_on_canvas, ImageExamples(images, canvas)), chosen, batch, workers)


def _on_canvas(examples, index):
    found, (h, w) = examples.example(index), shape_on_canvas(examples.side, examples.images.images[index])
    valid = np.arange(examples.side)[:, None] < h
    return {'frames': found['frames'], 'tags': found['tags'], 'valid': valid & (np.arange(examples.side) < w)}


def save_labels(labels, info, path, image=None):
    """Writes labels uint8 [h, w] as a PNG in VOC's colours, as large as the image; refined by `crf` where the PIL image is given."""
    labels = voc.label_image(labels).resize((info['width'], info['height']), PIL.Image.Resampling.NEAREST)
    (voc.label_image(crf(np.array(image), np.array(labels))) if image else labels).save(path, 'PNG')


def crf(image, labels, sure=0.7, steps=10):
    """Labels that a fully connected conditional random field makes of labels and image (Kraehenbuehl and Koltun, NIPS 2011).

    Args:
        image: uint8 [h, w, 3]; labels: uint8 [h, w].
        sure: how probable the given labels are.
        steps: of mean-field inference.
    Returns:
        uint8 [h, w]
    Raises:
        InputError: pydensecrf2 is not installed.
    """
    try:
        from pydensecrf import densecrf, utils
    except ImportError:
        raise InputError("config.masks.crf=True: needs pydensecrf2; pip install 'stanet_jax[crf]'") from None
    present, places = np.unique(labels, return_inverse=True)
    if len(present) == 1:
        return labels
    h, w = labels.shape
    field = densecrf.DenseCRF2D(w, h, len(present))
    field.setUnaryEnergy(utils.unary_from_labels(places.ravel().astype(np.int32), len(present), sure, zero_unsure=False))
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.ascontiguousarray(image), compat=10)
    return present[np.argmax(field.inference(steps), axis=0)].reshape(h, w).astype(np.uint8)


def write_labels(config, model, variables, images, out):
    """Writes the labels of every image of `images` that is not in the folder `out` yet."""
    names = [f'{info["id"]}.png' for info in images.images]

    def make(missing):
        for index, labels in iterate_labels(config, model, variables, images, missing):
            image = images.image(index) if config.masks.crf else None
            yield index, functools.partial(save_labels, labels, images.images[index], image=image)

    write_missing(out, names, [1] * len(images), make, 'image')


def iterate_labels(config, model, variables, images, chosen):
    """Yields (i, labels uint8 [h, w]) of the chosen images, as large as they are on the canvas; on all of this process's devices."""
    find = sharding.on_local_devices(functools.partial(predict_labels, model=model, config=config), variables)
    canvas, batch = config.masks.canvas, config.masks.batch * jax.local_device_count()
    pending = iter(chosen)
    for found in iterate_canvases(images, chosen, canvas, batch, config.data.workers) if chosen else ():
        for labels, index in zip(jax.device_get(find(found)), pending, strict=False):  # the last batch is filled up
            h, w = shape_on_canvas(canvas, images.images[index])
            yield index, labels[:h, :w]


def run(config, workdir):
    """Writes pseudo-masks of the splits `config.masks.splits` by the net of the run in `workdir`; what is there is left."""
    training.check(config)
    workdir, splits = open_workdir(config, workdir), open_images(config)
    for split in config.masks.splits:
        if split not in splits:
            raise InputError(f'config.masks.splits={config.masks.splits!r}: the set holds {", ".join(splits)}')
        images, out = splits[split], workdir / 'masks' / split
        write_labels(config, *training.trained(config, workdir, len(images.categories)), images, out)
        if jax.process_index() == 0:
            lines = (json.dumps({'id': info['id'], 'tags': info['tags']}) + '\n' for info in images.images)
            replace_text(out / 'tags.jsonl', ''.join(lines))
        print(f'{out}: masks of {len(images)} images')


def shape_on_canvas(canvas, info):
    """(h, w) of an image on the canvas, where it is as it is, or smaller so that it fits."""
    scale = min(1, canvas / max(info['height'], info['width']))
    return max(1, round(scale * info['height'])), max(1, round(scale * info['width']))
