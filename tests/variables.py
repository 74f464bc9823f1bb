"""Variables of nets, drawn by NumPy: an initialisation takes seconds to compile, and leaves biases and statistics that do not show."""
import jax
import jax.numpy as jnp
import numpy as np


def drawn(init, *args, seed=0, **inputs):
    """Variables as `init(key, *args, **inputs)` has them: He's kernels; biases, scales and running statistics that count."""
    rng = np.random.default_rng(seed)

    def leaf(path, x):
        name = path[-1].key
        if name in ('scale', 'var'):
            return jnp.asarray(rng.uniform(0.5, 2, x.shape), x.dtype)
        std = 0.3 if name in ('bias', 'mean') else np.sqrt(2 / np.prod(x.shape[:-1]))
        return jnp.asarray(np.float32(std) * rng.standard_normal(x.shape, np.float32), x.dtype)
    return jax.tree_util.tree_map_with_path(leaf, jax.eval_shape(init, jax.random.key(0), *args, **inputs))
