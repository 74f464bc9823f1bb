"""A net's variables in one safetensors file, which any program reads without running code: `params/encoder/conv1/kernel`, and so on."""
import os
import pathlib
from typing import Any

import flax.traverse_util
import numpy as np
import safetensors
import safetensors.numpy
from jax.typing import DTypeLike

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.scratch import replacing_file


def save_file(path: str | os.PathLike, variables: Variables, dtype: DTypeLike = np.float32) -> None:
    """Writes variables, their floats as `dtype`; the file appears when it is whole."""
    path = pathlib.Path(path)
    flat = flax.traverse_util.flatten_dict(variables, sep='/')
    with replacing_file(path) as new:
        new.write_bytes(safetensors.numpy.save({key: np.ascontiguousarray(x, dtype) for key, x in flat.items()}))


def load_file(path: str | os.PathLike) -> dict[str, Any]:
    """Reads variables as float32; InputError where the file is missing or damaged."""
    try:
        flat = safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f'{path}: not weights of a net ({error}); get the file again') from error
    return flax.traverse_util.unflatten_dict({key: np.float32(x) for key, x in flat.items()}, sep='/')
