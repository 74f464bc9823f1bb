"""Labels of images by the nets of `segmentation`: pseudo-masks, their scores, and predictions.

    <workdir>/masks/<split>/<id>.png     labels in VOC's colours, as large as the image
    <workdir>/masks/<split>/tags.jsonl   the tags that they were made with
"""
import functools
import json
import os
import pathlib
import sys
import tempfile

import jax
import numpy as np
import PIL.Image

from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.eps import training as segmentation
from stanet_jax.evaluation import metrics
from stanet_jax.stages import maps as pseudo_gt
from stanet_jax.training import loop as training
from stanet_jax.training import sharding


def canvases(images, chosen, canvas, batch, workers):
    """Batches of images set into the corner of a square: `frames`, `tags`, `valid`; the last is filled up."""
    examples = segmentation.Examples(images, canvas)

    def load_one(index):
        found, (h, w) = examples.example(index), shape_on(canvas, images.images[index])
        valid = np.arange(canvas)[:, None] < h
        return {'frames': found['frames'], 'tags': found['tags'], 'valid': valid & (np.arange(canvas) < w)}
    return pseudo_gt.read_ahead(load_one, chosen, batch, workers)


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
        for index, labels in found_labels(config, model, variables, images, missing):
            image = images.image(index) if config.masks.crf else None
            yield index, functools.partial(save_labels, labels, images.images[index], image=image)

    pseudo_gt.produce(out, names, [1] * len(images), make, 'image')


def found_labels(config, model, variables, images, chosen):
    """Yields (i, labels uint8 [h, w]) of the chosen images, as large as they are on the canvas; on all of this process's devices."""
    find = sharding.on_local_devices(functools.partial(segmentation.labels_of, model=model, config=config), variables)
    canvas, batch = config.masks.canvas, config.masks.batch * jax.local_device_count()
    pending = iter(chosen)
    for found in canvases(images, chosen, canvas, batch, config.data.workers) if chosen else ():
        for labels, index in zip(jax.device_get(find(found)), pending, strict=False):  # the last batch is filled up
            h, w = shape_on(canvas, images.images[index])
            yield index, labels[:h, :w]


def run(config, workdir):
    """Writes pseudo-masks of the splits `config.masks.splits` by the net of the run in `workdir`; what is there is left."""
    segmentation.check(config)
    workdir, splits = training.open_workdir(config, workdir), segmentation.open_data(config)
    for split in config.masks.splits:
        if split not in splits:
            raise InputError(f'config.masks.splits={config.masks.splits!r}: the set holds {", ".join(splits)}')
        images, out = splits[split], workdir / 'masks' / split
        write_labels(config, *segmentation.trained(config, workdir, len(images.categories)), images, out)
        if jax.process_index() == 0:
            lines = (json.dumps({'id': info['id'], 'tags': info['tags']}) + '\n' for info in images.images)
            training.replace_text(out / 'tags.jsonl', ''.join(lines))
        print(f'{out}: masks of {len(images)} images')


def shape_on(canvas, info):
    """(h, w) of an image on the canvas, where it is as it is, or smaller so that it fits."""
    scale = min(1, canvas / max(info['height'], info['width']))
    return max(1, round(scale * info['height'])), max(1, round(scale * info['width']))


# --------------------------------------------------------------------------------------------------------------- evaluation


def score(images, folder, context=''):
    """How well the masks in a folder agree with the true ones.

    Args:
        images: a `voc.Images`; those without a true mask do not count.
        context: folder of maps `<id>.png`, not 0 where a background shows that comes with a class; '' for none.
    Returns:
        A dict of `mean_iou`, `iou` {label: its own}, `boundary` (see `metrics.boundary_scores`), `images`, and with `context`
        `confusion` {class: `metrics.confusion_ratio` of that background with it}.
    """
    read, classes = segmentation.mask_reader(folder, images), len(images.categories)
    confusion, beside, edges, count = np.zeros((classes + 1,) * 2, np.int64), np.zeros(classes + 1, np.int64), np.zeros(4, np.int64), 0
    for index, info in enumerate(images.images):
        if info['mask']:
            found, true = read(index), images.mask(index)
            confusion += metrics.confusion_matrix(found, true, classes + 1)
            edges += metrics.boundary_counts(found, true, tolerance=max(1, 0.0075 * np.hypot(*true.shape)))
            count += 1
            if context:
                with PIL.Image.open(pathlib.Path(context) / f'{info["id"]}.png') as image:
                    beside += np.bincount(found[np.asarray(image) > 0], minlength=classes + 1)
    if not count:
        raise InputError(f'{images.split}: none of its images has a mask to be compared to')
    names, own = ['background', *images.categories], metrics.ious(confusion)
    result = {'images': count, 'mean_iou': float(np.nanmean(own)), 'iou': dict(zip(names, own.tolist(), strict=True)),
              'boundary': metrics.boundary_f1(edges)}
    if context:
        result['confusion'] = {name: metrics.share(beside[k], confusion[k, k]) for k, name in enumerate(names) if k}
    return result


def evaluate(data, split, out, folder='', checkpoint=''):
    """Scores the masks in a folder, or those that a trained net gives, against a set's; prints the scores and writes them as JSON.

    Args:
        data: folder of a set in VOC's layout; where it has a folder `Context`, also what is confused with it.
        split: whose images; the first of validation, test, train by default.
        out: file to write.
        folder: of masks `<id>.png`; checkpoint: folder of a run of EPS or DeepLab instead.
    """
    builder = voc.prepare(data)
    splits = {name: voc.Images(builder, name) for name in builder.info.metadata['splits']}
    split = split or next(name for name in ('validation', 'test', 'train') if name in splits)
    if split not in splits:
        raise InputError(f'--split={split}: the set holds {", ".join(splits)}')
    images, context = splits[split], os.path.join(data, 'Context')
    context = context if os.path.isdir(context) else ''
    with tempfile.TemporaryDirectory() as scratch:
        if checkpoint:
            config, folder = segmentation.run_config(checkpoint), pathlib.Path(scratch) / split
            write_labels(config, *segmentation.trained(config, checkpoint, len(images.categories)), images, folder)
        scores = score(images, folder, context)
    training.replace_text(pathlib.Path(out), json.dumps({'split': split, **scores}, indent=2) + '\n')
    print(text_of(scores))


def text_of(scores):
    """The scores as a table of text."""
    lines = [f'{scores["images"]} images', f'{"mean IoU":32}{scores["mean_iou"]:.3f}']
    lines += [f'  {name:30}{value:.3f}' for name, value in scores['iou'].items()]
    lines += [f'{"boundary " + name:32}{value:.3f}' for name, value in scores['boundary'].items()]
    lines += [f'{"background as " + name:32}{value:.3f}' for name, value in scores.get('confusion', {}).items() if value]
    return '\n'.join(lines)


# --------------------------------------------------------------------------------------------------------------- prediction


class Folder:
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


def predict(checkpoint, path, out):
    """Writes `<out>/<name>/labels.png`, in VOC's colours, and `overlay.jpg` of an image or of all images in a folder, by DeepLab."""
    config = segmentation.run_config(checkpoint)
    if config.nets[0] != 'DeepLab':
        raise InputError(f'{checkpoint}: EPS needs the tags of an image; give a run of configs/deeplab.py')
    variables = segmentation.load(checkpoint, config)
    bias = next(leaf for path, leaf in jax.tree.leaves_with_path(variables['params']) if path[0].key.startswith('fc8'))
    images = Folder(path, classes=bias.shape[-1] - 1)
    model = segmentation.make_model(config, 'DeepLab', images.classes)

    def make(chosen):
        for index, labels in found_labels(config, model, variables, images, chosen):
            yield index, functools.partial(save, index, labels)

    def save(index, labels, folder):
        folder.mkdir()
        info, image = images.images[index], images.image(index)
        save_labels(labels, info, folder / 'labels.png')
        seen = segmentation.over(np.asarray(image), voc.read_labels(folder / 'labels.png'))
        PIL.Image.fromarray(seen).save(folder / 'overlay.jpg', quality=92)

    pseudo_gt.produce(pathlib.Path(out), [info['id'] for info in images.images], [1] * len(images.images), make, 'image', again=True)
    print(f'{out}: {len(images.images)} images')
