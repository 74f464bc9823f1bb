"""Scores masks against the true ones (EPS Sec. 4 and 5.1)."""
import dataclasses
import json
import os
import pathlib
import tempfile
from typing import Any

import numpy as np
from jaxtyping import Bool

from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.eps import masks, training
from stanet_jax.eps.images import mask_reader
from stanet_jax.eps.metrics import BoundaryScores, boundary_counts, boundary_f1, confusion_matrix, edge_counts, ious, label_edges, share
from stanet_jax.media.picture import open_picture
from stanet_jax.workdir import replace_text


@dataclasses.dataclass(frozen=True)
class MaskScores:
    """How well masks agree with the true ones.

    Attributes:
        images: number of images that are compared.
        mean_iou: mean of `iou` over the labels that occur.
        iou: {label: intersection over union}, NaN for a label that does not occur.
        boundary: agreement of the boundaries.
        boundary_images: number of images whose boundaries are compared.
        confusion: {class: `metrics.confusion_ratio` of the background that comes with classes (`Context`) and the class}; None where
            that background is not known.
    """
    images: int
    mean_iou: float
    iou: dict[str, float]
    boundary: BoundaryScores
    boundary_images: int
    confusion: dict[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The content of the JSON file, without `confusion` where it is not known."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def score_masks(images: voc.Images, folder: str | os.PathLike, context: str | os.PathLike = '',
                boundaries: str | os.PathLike = '') -> MaskScores:
    """Scores the masks in a folder.

    Args:
        images: with the true masks; images without one are left out.
        folder: of masks `<id>.png`, whose undecided pixels, 255, are of no class.
        context: folder of maps `<id>.png`, above 0 at the background that comes with a class; '' for none.
        boundaries: folder of SBD's true boundaries `<id>.mat` (EPS Table 1), for the images that it has; '' for those of the true masks.
    Raises:
        InputError: a mask cannot be used, see `mask_reader`, no image has a true mask, or boundaries that are no image's.
    """
    read, classes = mask_reader(folder, images), len(images.categories)
    # The last label is that of pixels that a mask leaves undecided, which is never true: they are missed.
    confusion, in_context = np.zeros((classes + 2,) * 2, np.int64), np.zeros(classes + 2, np.int64)
    boundary, count, bounded = np.zeros(4, np.int64), 0, 0
    for index, info in enumerate(images.images):
        if info['mask']:
            mask, true = read(index), images.mask(index)
            decided = np.where(mask == voc.IGNORED, classes + 1, mask)
            confusion += confusion_matrix(decided, true, classes + 2)
            count += 1
            tolerance, file = max(1, 0.0075 * np.hypot(*true.shape)), pathlib.Path(boundaries) / f'{info["id"]}.mat'
            if not boundaries:
                boundary, bounded = boundary + boundary_counts(mask, true, tolerance), bounded + 1
            elif file.exists():
                boundary += edge_counts(label_edges(mask), sbd_boundaries(file, mask.shape), tolerance)
                bounded += 1
            if context:
                with open_picture(pathlib.Path(context) / f'{info["id"]}.png') as image:
                    in_context += np.bincount(decided[np.asarray(image) > 0], minlength=classes + 2)
    if not count:
        raise InputError(f'{images.split}: none of its images has a mask to be compared to; choose another split, or fetch '
                         'SegmentationClassAug')
    names, iou = ['background', *images.categories], ious(confusion)[:-1]
    confused = {name: share(in_context[k], confusion[k, k]) for k, name in enumerate(names) if k} if context else None
    return MaskScores(count, float(np.nanmean(iou)), dict(zip(names, iou.tolist(), strict=True)), boundary_f1(boundary), bounded, confused)


def sbd_boundaries(file: str | os.PathLike, shape: tuple[int, ...]) -> Bool[np.ndarray, 'h w']:
    """Reads `voc.read_boundaries` of an image of this `shape` (h, w); InputError where they have another."""
    found = voc.read_boundaries(file)
    if found.shape != shape:
        raise InputError(f'{file}: {found.shape[1]}x{found.shape[0]} pixels, its image has {shape[1]}x{shape[0]}; get benchmark.tgz of '
                         'SBD anew')
    return found


def evaluate_masks(data: str | os.PathLike, split: str, out: str | os.PathLike, folder: str | os.PathLike = '',
                   checkpoint: str | os.PathLike = '') -> None:
    """Scores the masks in a folder, or those that a trained net gives, against a set's; prints the scores and writes them as JSON.

    Args:
        data: folder of a set in VOC's layout; with a folder `Context` the confusion with that background is scored, too, and with a
            folder `SBD/cls` boundaries are compared to SBD's.
        split: a list of ids, see `voc.LISTS`; '' for the first of validation, test, train, train_aug that there is.
        out: file to write.
        folder: of masks `<id>.png`.
        checkpoint: folder of a run of EPS or DeepLab, whose masks are scored instead.
    Raises:
        InputError: no such split, or as `score_masks`.
    """
    builder = voc.prepare(data)
    splits = {name: voc.Images(builder, name) for name in builder.info.metadata['splits']}
    split = split or next(name for name in ('validation', 'test', 'train', 'train_aug') if name in splits)
    if split not in splits:
        raise InputError(f'--split={split}: the set holds {", ".join(splits)}')
    images = splits[split]
    context, boundaries = (path if os.path.isdir(path) else '' for path in (f'{data}/Context', f'{data}/SBD/cls'))
    with tempfile.TemporaryDirectory() as scratch:
        if checkpoint:
            config, folder = training.run_config(checkpoint), pathlib.Path(scratch) / split
            masks.write_labels(config, *training.trained(config, checkpoint, len(images.categories)), images, folder)
        scores = score_masks(images, folder, context, boundaries)
    replace_text(pathlib.Path(out), json.dumps({'split': split, **scores.to_dict()}, indent=2) + '\n')
    print(format_mask_scores(scores))


def format_mask_scores(scores: MaskScores) -> str:
    """The scores as a table of text."""
    lines = [f'{scores.images} images', f'{"mean IoU":32}{scores.mean_iou:.3f}']
    lines += [f'  {name:30}{value:.3f}' for name, value in scores.iou.items()]
    lines.append(f'{"images with true boundaries":32}{scores.boundary_images}')
    lines += [f'{"boundary " + name:32}{value:.3f}' for name, value in dataclasses.asdict(scores.boundary).items()]
    lines += [f'{"background as " + name:32}{value:.3f}' for name, value in (scores.confusion or {}).items() if value]
    return '\n'.join(lines)
