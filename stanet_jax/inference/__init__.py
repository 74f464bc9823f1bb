"""Prediction on streams of frames and on files: by trained students, by methods without training, by class activation maps."""
from collections.abc import Collection

from stanet_jax import InputError

TRAINING_FREE = ('heard_cam', 'feature_sum', 'centre')  # see `training_free.TrainingFree`
CLASSICAL = ('itti', 'gbvs', 'spectral_residual')  # see `baselines.classical`
METHODS = (*TRAINING_FREE, *CLASSICAL)  # that need no training
ALIASES = {'centregaussian': 'centre'}
CLASS_MAPS = ('cam', 'grad_cam', 'xgrad_cam', 'grad_cam_pp', 'smooth_grad_cam_pp', 'score_cam', 'ss_cam', 'is_cam', 'layer_cam',
              'ablation_cam', 'eigen_cam', 'eigen_grad_cam', 'feature_sum')  # `baselines.cam.METHODS`, of a trained S; that takes JAX


def find_method(name: str, runs: Collection[object] = ()) -> str:
    """The method of a name, written with or without underscores: one of `CLASS_MAPS` of a run, or one of `METHODS`.

    A name of `ALIASES` will do, too.

    Raises:
        InputError: there is none, it needs a run, or the other way round.
    """
    plain = name.replace('_', '').casefold()
    plain = ALIASES.get(plain, plain)
    found = next((method for method in (CLASS_MAPS if runs else (*METHODS, *CLASS_MAPS)) if method.replace('_', '') == plain), None)
    if found and (runs or found in METHODS):
        return found
    if found:
        raise InputError(f'--method={name}: is of a trained S; name it, as --checkpoint=runs/coarse/S')
    if runs and find_method(name):
        raise InputError(f'--checkpoint, --method: one of them at a time, but for {", ".join(CLASS_MAPS)}')
    raise InputError(f'--method={name}: must be one of {", ".join(METHODS)}; or, with --checkpoint=RUN/S, {", ".join(CLASS_MAPS)}')
