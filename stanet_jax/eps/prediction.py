"""Labels of a user's own images, by DeepLab."""
import functools
import os
import pathlib
import sys
from typing import Any

import jax
import numpy as np
import PIL.Image
from jaxtyping import Float

from stanet_jax import InputError, one_line
from stanet_jax.data import voc
from stanet_jax.eps import masks, training
from stanet_jax.eps.nets import make_net
from stanet_jax.media.picture import read_picture
from stanet_jax.workdir import check_replaceable, write_missing

LABELS, OVERLAY = 'labels.png', 'overlay.jpg'


class ImageFolder:
    """Image files with the interface of `voc.Images`, without tags.

    Attributes:
        images: for each image a dict of `id`, the file's name without suffix, `path`, `width` and `height`.
        classes: number of classes, without the background.
    """

    def __init__(self, path: str | os.PathLike, classes: int):
        """Reads an image or all images in a folder; files that cannot be read are listed on standard error and left out.

        Raises:
            InputError: no such path, no image that can be read, or two images of one name.
        """
        self.images: list[dict[str, Any]] = []
        path, self.classes = pathlib.Path(path), classes
        if not path.exists():
            raise InputError(f'{path}: no such file or folder; check the name')
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith('.')) if path.is_dir() else [path]
        for file in files:
            try:
                height, width, _ = read_picture(file).shape
                self.images.append({'id': file.stem, 'path': file, 'width': width, 'height': height})
            except InputError as error:
                print(one_line(f'left out: {error}'), file=sys.stderr)
        names = [info['id'] for info in self.images]
        if not names:
            raise InputError(f'{path}: holds no image that can be read; put JPEG or PNG files in it')
        if len(set(names)) < len(names):
            raise InputError(f'{path}: two images are called {max(names, key=names.count)}; give them different names')

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> PIL.Image.Image:
        """An image in RGB, turned as its EXIF tag says it is to be shown."""
        return PIL.Image.fromarray(read_picture(self.images[index]['path']))

    def tags(self, index: int) -> Float[np.ndarray, ' c']:
        """Zeros, as the image has no tags."""
        return np.zeros(self.classes, np.float32)


def predict_images(checkpoint: str | os.PathLike, path: str | os.PathLike, out: str | os.PathLike) -> None:
    """Writes `<out>/<name>/labels.png`, in VOC's colours, and `overlay.jpg` for an image or for all images in a folder.

    Args:
        checkpoint: folder of a run of DeepLab.
        path: the image, or the folder of images.
        out: folder to write; what it holds of the same names is replaced.
    Raises:
        InputError: the run is not one of DeepLab, there is no image, or a folder of its name holds other things.
    """
    config = training.run_config(checkpoint)
    if config.nets[0] != 'DeepLab':
        raise InputError(f'{checkpoint}: EPS needs the tags of an image; give a run of configs/deeplab.py')
    variables = training.load(checkpoint, config)
    bias = next(leaf for path, leaf in jax.tree.leaves_with_path(variables['params']) if path[0].key.startswith('fc8'))
    images = ImageFolder(path, classes=bias.shape[-1] - 1)
    for folder in (pathlib.Path(out) / info['id'] for info in images.images):
        check_replaceable(folder, f'{LABELS}|{OVERLAY}', 'labels')
    model = make_net(config, 'DeepLab', images.classes)

    def make(chosen):
        for index, labels in masks.iterate_labels(config, model, variables, images, chosen):
            yield index, functools.partial(save, index, labels)

    def save(index, labels, folder):
        folder.mkdir()
        info, image = images.images[index], images.image(index)
        masks.save_labels(labels, info, folder / LABELS)
        overlay = training.over(np.asarray(image), voc.read_labels(folder / LABELS))
        PIL.Image.fromarray(overlay).save(folder / OVERLAY, quality=92)

    write_missing(pathlib.Path(out), [info['id'] for info in images.images], [1] * len(images.images), make, 'image', again=True)
    print(f'{out}: {len(images.images)} images')
