"""Opens what predicts: the students of some runs, or a method without training."""
import os
from collections.abc import Sequence

from stanet_jax.inference.films import FilmPredictor


def open_predictor(runs: Sequence[str | os.PathLike], method: str | None = None, side: int = 0) -> FilmPredictor:
    """The students of some runs, or the method without training where one is named; InputError as these say.

    `side` is that of the frames that they see, in pixels; 0 for their own.
    """
    if method:
        from stanet_jax.inference.training_free import TrainingFree  # here, as networks take long to import, and maps of a folder need none
        return TrainingFree(method, side=side) if side else TrainingFree(method)
    from stanet_jax.inference.predictor import Predictor
    return Predictor(*runs, side=side)
