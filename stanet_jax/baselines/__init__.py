"""What the papers compare with (TPAMI Table 7): class activation maps and classical saliency; and the thresholds of Table 8."""
import jax
import jax.numpy as jnp
from jaxtyping import Float

from stanet_jax import scam
from stanet_jax.arrays import AnyArray


def threshold(maps: Float[AnyArray, '*lead h w'], level: float) -> Float[jax.Array, '*lead h w']:
    """Min-maxed maps whose values below a level are set to 0; the others stay as they are (Chinese text, Table 8).

    Args:
        maps: at the size at which they are scored.
        level: from 0, which leaves the min-maxed map, to 1.
    """
    scaled = scam.min_max(maps)
    return jnp.where(scaled < level, 0, scaled)
