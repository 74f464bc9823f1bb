"""Opens what predicts: the students of some runs, or a method without training."""
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stanet_jax import InputError
from stanet_jax.inference.films import FilmPredictor

if TYPE_CHECKING:
    from stanet_jax.inference.predictor import Predictor


def open_predictor(runs: Sequence[str | os.PathLike], method: str | None = None, side: int = 0) -> FilmPredictor:
    """The students of some runs, or the method without training where one is named; InputError as these say.

    `side` is that of the frames that they see, in pixels; 0 for their own.
    """
    if method:
        from stanet_jax.inference.training_free import TrainingFree  # here, as networks take long to import, and maps of a folder need none
        return TrainingFree(method, side=side) if side else TrainingFree(method)
    return open_students(*runs, side=side)


def open_students(*runs: str | os.PathLike, side: int = 0) -> 'Predictor':
    """The students of some runs, our own or the authors'; InputError as these say."""
    from stanet_jax.inference.released import ReleasedPredictor, is_released  # here, as JAX takes long to import
    if is_released(runs):
        if side:
            raise InputError('--side: not with released students, whose frames have a side of their own')
        return ReleasedPredictor(*runs)
    from stanet_jax.inference.predictor import Predictor
    return Predictor(*runs, side=side)
