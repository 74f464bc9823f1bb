"""STANet and STANet+ in JAX: where people look in a video with sound, learned from its category tag.

    students = stanet_jax.load('runs/sta_plus')
    found = students.maps('my.mp4')  # found.times [n], found.maps [n, h, w]
"""

__version__ = '0.2.0'


class InputError(Exception):
    """What the user gave cannot be used. The message is one line that names the file or field and the remedy."""


def load(*runs):
    """The trained students of a run, or of runs, as an `inference.predictor.Predictor`; see its `maps`."""
    from stanet_jax.inference.predictor import Predictor  # here, as JAX takes long to import
    return Predictor(*runs)
