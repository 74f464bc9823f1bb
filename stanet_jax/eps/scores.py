"""How well masks agree with the true ones."""
import json
import os
import pathlib
import tempfile

import numpy as np
import PIL.Image

from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.eps import masks, training
from stanet_jax.eps.images import mask_reader
from stanet_jax.eps.metrics import boundary_counts, boundary_f1, confusion_matrix, ious, share
from stanet_jax.workdir import replace_text

# --------------------------------------------------------------------------------------------------------------- evaluation


def score_masks(images, folder, context=''):
    """How well the masks in a folder agree with the true ones.

    Args:
        images: a `voc.Images`; those without a true mask do not count.
        context: folder of maps `<id>.png`, not 0 where a background shows that comes with a class; '' for none.
    Returns:
        A dict of `mean_iou`, `iou` {label: its own}, `boundary` (see `metrics.boundary_scores`), `images`, and with `context`
        `confusion` {class: `metrics.confusion_ratio` of that background with it}.
    """
    read, classes = mask_reader(folder, images), len(images.categories)
    confusion, beside, edges, count = np.zeros((classes + 1,) * 2, np.int64), np.zeros(classes + 1, np.int64), np.zeros(4, np.int64), 0
    for index, info in enumerate(images.images):
        if info['mask']:
            found, true = read(index), images.mask(index)
            confusion += confusion_matrix(found, true, classes + 1)
            edges += boundary_counts(found, true, tolerance=max(1, 0.0075 * np.hypot(*true.shape)))
            count += 1
            if context:
                with PIL.Image.open(pathlib.Path(context) / f'{info["id"]}.png') as image:
                    beside += np.bincount(found[np.asarray(image) > 0], minlength=classes + 1)
    if not count:
        raise InputError(f'{images.split}: none of its images has a mask to be compared to')
    names, own = ['background', *images.categories], ious(confusion)
    result = {'images': count, 'mean_iou': float(np.nanmean(own)), 'iou': dict(zip(names, own.tolist(), strict=True)),
              'boundary': boundary_f1(edges)}
    if context:
        result['confusion'] = {name: share(beside[k], confusion[k, k]) for k, name in enumerate(names) if k}
    return result


def evaluate_masks(data, split, out, folder='', checkpoint=''):
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
            config, folder = training.run_config(checkpoint), pathlib.Path(scratch) / split
            masks.write_labels(config, *training.trained(config, checkpoint, len(images.categories)), images, folder)
        scores = score_masks(images, folder, context)
    replace_text(pathlib.Path(out), json.dumps({'split': split, **scores}, indent=2) + '\n')
    print(format_mask_scores(scores))


def format_mask_scores(scores):
    """The scores as a table of text."""
    lines = [f'{scores["images"]} images', f'{"mean IoU":32}{scores["mean_iou"]:.3f}']
    lines += [f'  {name:30}{value:.3f}' for name, value in scores['iou'].items()]
    lines += [f'{"boundary " + name:32}{value:.3f}' for name, value in scores['boundary'].items()]
    lines += [f'{"background as " + name:32}{value:.3f}' for name, value in scores.get('confusion', {}).items() if value]
    return '\n'.join(lines)
