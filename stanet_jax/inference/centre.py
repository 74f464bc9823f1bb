"""The map that looks at nothing: a Gaussian at the centre."""
import numpy as np
from jaxtyping import Float


def centre_prior(side: int = 64) -> Float[np.ndarray, 'side side']:
    """A Gaussian at the centre, with sigma a quarter of the height and of the width of the frame that it is resized to."""
    bell = np.exp(-((np.arange(side) + 0.5) / side - 0.5)**2 / (2 * 0.25**2))
    return np.outer(bell, bell)
