"""Opens what predicts: the students of some runs, a method without training, or the class activation maps of a classifier."""
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stanet_jax import InputError
from stanet_jax.inference import CLASSICAL, find_method
from stanet_jax.inference.films import FilmPredictor

if TYPE_CHECKING:
    from stanet_jax.inference.predictor import Predictor


def open_predictor(runs: Sequence[str | os.PathLike], method: str | None = None, side: int = 0, samples: int = 0) -> FilmPredictor:
    """The students of some runs; or where a method is named, this, and the run is that of S; InputError as these say.

    Args:
        runs: folders.
        method: see `inference.find_method`.
        side: of the frames that are seen, in pixels; 0 for their own.
        samples: of `smooth_grad_cam_pp` and `ss_cam`, see `classifier.class_maps`.
    """
    if not method:
        return open_students(*runs, side=side)
    method = find_method(method, runs)
    if len(runs) > 1:
        raise InputError(f'--checkpoint: one S at a time with --method={method}')
    if runs or method in CLASSICAL:
        from stanet_jax.inference import frame_maps  # here, as networks take long to import, and maps of a folder need none
        return frame_maps.open_class_maps(method, runs[0], side, samples) if runs else frame_maps.open_classical(method)
    from stanet_jax.inference.training_free import TrainingFree
    return TrainingFree(method, side=side) if side else TrainingFree(method)


def open_students(*runs: str | os.PathLike, side: int = 0) -> 'Predictor':
    """The students of some runs, our own or the authors'; InputError as these say."""
    from stanet_jax.inference.released import ReleasedPredictor, is_released  # here, as JAX takes long to import
    if is_released(runs):
        if side:
            raise InputError('--side: not with released students, whose frames have a side of their own')
        return ReleasedPredictor(*runs)
    from stanet_jax.inference.predictor import Predictor
    return Predictor(*runs, side=side)
