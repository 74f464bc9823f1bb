"""Prediction on streams of frames and on files: by trained students, or by methods without training."""
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stanet_jax.inference.predictor import Predictor
    from stanet_jax.inference.training_free import TrainingFree

METHODS = ('heard_cam', 'feature_sum', 'centre')  # without training, see `training_free.TrainingFree`


def open_predictor(runs: Sequence[str | os.PathLike], method: str | None = None) -> 'Predictor | TrainingFree':
    """The students of some runs, or the method without training where one is named; InputError as these say."""
    if method:
        from stanet_jax.inference.training_free import TrainingFree  # here, as JAX takes long to import, and --help needs METHODS alone
        return TrainingFree(method)
    from stanet_jax.inference.predictor import Predictor
    return Predictor(*runs)
