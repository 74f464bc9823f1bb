"""Reads the layers of a Keras model from a `.h5` file of weights, a SavedModel's folder or a TensorFlow checkpoint, without TensorFlow."""
import os
import pathlib

import h5py
import numpy as np

from stanet_jax import InputError
from stanet_jax.media import box
from stanet_jax.weights import tensorflow_bundle

LARGEST = 2 ** 28  # numbers of an array that are read, as a damaged file may tell of any number


def read_layers(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Gives the weights of the layers that have any, {'<number of the layer>/<name of the weight>': array}, as '0/kernel' or '54/bias'.

    Raises:
        InputError: there is no such file or folder, or it is damaged or of another kind.
    """
    if pathlib.Path(path).is_dir() or str(path).endswith('.index'):
        layers = tensorflow_bundle.in_order(tensorflow_bundle.read(path))
    else:
        layers = box.call(_read_h5, path)  # as damaged files crash HDF5, too
    if not layers:
        raise InputError(f'{path}: holds no layers of a Keras model; give its .h5 file of weights or its SavedModel')
    return layers


def _read_h5(path: str | os.PathLike) -> dict[str, np.ndarray]:
    if not os.path.isfile(path):
        raise InputError(f'{path}: no such file; give a .h5 file of weights or the folder of a SavedModel')
    try:
        with h5py.File(path) as file:
            model = file['model_weights'] if 'model_weights' in file else file
            layers = [model[_text(name)] for name in model.attrs['layer_names']]
            named = [(layer, [_text(name) for name in layer.attrs['weight_names']]) for layer in layers]
            weighted = [(layer, names) for layer, names in named if names]
            if any(layer[name].size > LARGEST for layer, names in weighted for name in names):
                raise ValueError('an array is larger than any net\'s')
            return {f'{number}/{_leaf(name)}': np.asarray(layer[name]) for number, (layer, names) in enumerate(weighted) for name in names}
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f'{path}: cannot be read as weights of a Keras model ({error}); fetch it again') from error


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _leaf(name: str) -> str:
    """'layer1/conv/bn/beta:0' -> 'beta'."""
    return name.rsplit('/', 1)[-1].split(':')[0]
