"""Trains the student STA on pseudo-fixations (TPAMI Sec. 5, Eq. 17); no tag enters it."""
from stanet_jax import classification
from stanet_jax.models import students


def make_student(config):
    """The student as the config has it."""
    dtype = classification.compute_dtype(config)
    return students.STA(config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm, dtype)
