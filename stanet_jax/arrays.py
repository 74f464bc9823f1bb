"""Types of arrays in signatures: `Float[AnyArray, 'b h w c']` is a floating-point array, JAX's or NumPy's, of these axes.

The letters, wherever they stand: b examples, n fragments or frames, s sources, t frames of a clip, h and w height and width, c channels
or classes, d an embedding. `...` stands for any axes, a prime (`h2`) for a second size, and a leading space for a shape of one letter.
"""
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
Variables = Mapping[str, Any]  # of a net: `params` and, where it has them, `batch_stats`, trees of arrays
