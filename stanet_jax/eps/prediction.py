"""Labels of a user's own images, by DeepLab."""
import functools
import pathlib
import sys

import jax
import numpy as np
import PIL.Image

from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.eps import masks, training
from stanet_jax.eps.nets import make_net
from stanet_jax.workdir import write_missing

# --------------------------------------------------------------------------------------------------------------- prediction


class ImageFolder:
    """Image files as `voc.Images` gives them, without tags; what cannot be read is left out and told."""

    def __init__(self, path, classes):
        path, self.images, self.classes = pathlib.Path(path), [], classes
        if not path.exists():
            raise InputError(f'{path}: no such file or folder')
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            try:
                with PIL.Image.open(file) as image:
                    width, height = image.convert('RGB').size
                self.images.append({'id': file.stem, 'path': file, 'width': width, 'height': height})
            except (OSError, PIL.Image.DecompressionBombError) as error:
                print(f'left out: {file}: not an image ({error})', file=sys.stderr)
        names = [info['id'] for info in self.images]
        if not names:
            raise InputError(f'{path}: holds no image that can be read')
        if len(set(names)) < len(names):
            raise InputError(f'{path}: two images are called {max(names, key=names.count)}; give them different names')

    def image(self, index):
        with PIL.Image.open(self.images[index]['path']) as image:
            return image.convert('RGB')

    def tags(self, index):
        return np.zeros(self.classes, np.float32)


def predict_images(checkpoint, path, out):
    """Writes `<out>/<name>/labels.png`, in VOC's colours, and `overlay.jpg` of an image or of all images in a folder, by DeepLab."""
    config = training.run_config(checkpoint)
    if config.nets[0] != 'DeepLab':
        raise InputError(f'{checkpoint}: EPS needs the tags of an image; give a run of configs/deeplab.py')
    variables = training.load(checkpoint, config)
    bias = next(leaf for path, leaf in jax.tree.leaves_with_path(variables['params']) if path[0].key.startswith('fc8'))
    images = ImageFolder(path, classes=bias.shape[-1] - 1)
    model = make_net(config, 'DeepLab', images.classes)

    def make(chosen):
        for index, labels in masks.iterate_labels(config, model, variables, images, chosen):
            yield index, functools.partial(save, index, labels)

    def save(index, labels, folder):
        folder.mkdir()
        info, image = images.images[index], images.image(index)
        masks.save_labels(labels, info, folder / 'labels.png')
        seen = training.over(np.asarray(image), voc.read_labels(folder / 'labels.png'))
        PIL.Image.fromarray(seen).save(folder / 'overlay.jpg', quality=92)

    write_missing(pathlib.Path(out), [info['id'] for info in images.images], [1] * len(images.images), make, 'image', again=True)
    print(f'{out}: {len(images.images)} images')
