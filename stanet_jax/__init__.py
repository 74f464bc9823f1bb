"""STANet and STANet+ in JAX: where people look in a video with sound, learned from its category tag.

    students = stanet_jax.load('runs/sta_plus')
    found = students.maps('my.mp4')  # found.times [n], found.maps [n, h, w]
"""
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import stanet_jax.inference.predictor

__version__ = '0.2.0'


class InputError(Exception):
    """An input of the user cannot be used; the message is one line that names the file or field and the remedy."""


def one_line(text: object) -> str:
    """Text as one line that a terminal shows as it is: names of files may hold line breaks, control characters, bytes that are no text."""
    return ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in ' '.join(str(text).split()))


def load(*runs: str | os.PathLike) -> 'stanet_jax.inference.predictor.Predictor':
    """Loads the trained students of one or several runs, see `inference.predictor.Predictor`; its `maps` predicts a video."""
    from stanet_jax.inference.opening import open_students  # here, as JAX takes long to import
    return open_students(*runs)
