"""The audio switch: does the sound tell what the picture shows? (TPAMI Sec. 3.3, CVPR Sec. 3.3)"""
from stanet_jax import classification


def make_model(config):
    """A net of SA's structure with one logit, above 0 where the switch is open."""
    return classification.make_model(config, 'SA', 1)
