"""Refines labels of an image by a fully connected conditional random field (Kraehenbuehl and Koltun, NIPS 2011); needs the extra `crf`."""
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from stanet_jax import InputError

# What the unary potentials come from: the scores of the labels, as the release of EPS has it, or the labels alone.
UNARIES = ('scores', 'labels')


def crf_of_scores(image: UInt8[np.ndarray, 'h w 3'], scores: Float[np.ndarray, 'h w k'], steps: int = 10) -> UInt8[np.ndarray, 'h w']:
    """The labels of a field whose unary potentials are the scores of the labels, with the constants that the release of EPS documents.

    The unary energy of a label is `-log score`: what all scores of a pixel are divided by has no influence, and without the pairwise
    energies the labels would be those with the highest scores. The constants are DeepLab V2's (Chen et al., arXiv:1606.00915).

    Args:
        image: in RGB.
        scores: of the k labels, at least 0; those that are 0 everywhere are never given.
        steps: of mean-field inference.
    Raises:
        InputError: pydensecrf2 is not installed.
    """
    densecrf = _package().densecrf
    present = np.flatnonzero(scores.max(axis=(0, 1)) > 0)
    if len(present) == 1:
        return np.full(scores.shape[:2], present[0], np.uint8)
    field = densecrf.DenseCRF2D(scores.shape[1], scores.shape[0], len(present))
    energy = -np.log(np.maximum(scores[..., present], 1e-5)).reshape(-1, len(present)).T
    field.setUnaryEnergy(np.ascontiguousarray(energy, np.float32))
    field.addPairwiseGaussian(sxy=1, compat=3)
    field.addPairwiseBilateral(sxy=67, srgb=3, rgbim=np.ascontiguousarray(image), compat=4)
    return _best(field, present, scores.shape[:2], steps)


def crf_of_labels(image: UInt8[np.ndarray, 'h w 3'], labels: UInt8[np.ndarray, 'h w'], sure: float = 0.7,
                  steps: int = 10) -> UInt8[np.ndarray, 'h w']:
    """The labels of a field whose unary potentials are given labels.

    Args:
        image: in RGB.
        labels: to refine.
        sure: probability of the given labels.
        steps: of mean-field inference.
    Raises:
        InputError: pydensecrf2 is not installed.
    """
    package = _package()
    present, places = np.unique(labels, return_inverse=True)
    if len(present) == 1:
        return labels
    field = package.densecrf.DenseCRF2D(labels.shape[1], labels.shape[0], len(present))
    field.setUnaryEnergy(package.utils.unary_from_labels(places.ravel().astype(np.int32), len(present), sure, zero_unsure=False))
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.ascontiguousarray(image), compat=10)
    return _best(field, present, labels.shape, steps)


def _best(field, present, shape, steps):
    return present[np.argmax(field.inference(steps), axis=0)].reshape(shape).astype(np.uint8)


def _package() -> Any:
    try:
        import pydensecrf.densecrf
        import pydensecrf.utils
    except ImportError:
        raise InputError("config.masks.crf: needs pydensecrf2; pip install 'stanet_jax[crf]'") from None
    return pydensecrf
