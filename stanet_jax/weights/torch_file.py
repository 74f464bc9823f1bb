"""Reads the tensors of torch checkpoints and safetensors files with NumPy alone: no torch, and no code that a pickle names is run.

Three formats, told apart by their first bytes: what `torch.save` writes since 1.6 (a zip of a pickle and a file for each storage), what
it wrote before (pickles one after the other, then the storages), and safetensors.
"""
import collections
import math
import pickle
import typing
import zipfile

import numpy as np
import safetensors.numpy
from ml_dtypes import bfloat16

from stanet_jax import InputError

MAGIC = 0x1950a86a20f9469cfc6c  # the first pickle of the old format
STORAGES = {'Float': np.float32, 'Double': np.float64, 'Half': np.float16, 'BFloat16': bfloat16, 'Long': np.int64, 'Int': np.int32,
            'Short': np.int16, 'Char': np.int8, 'Byte': np.uint8, 'Bool': np.bool_}


class Storage(typing.NamedTuple):
    """Some of the numbers that the file holds under `key`: `size` of them, from `start` on."""
    key: str
    start: int
    size: int


class Tensor(typing.NamedTuple):
    """A view of a storage that is not read yet."""
    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    def of(self, numbers):
        """The array, in this machine's byte order, from `numbers` {key: all numbers of the storage}."""
        every, steps = numbers[self.storage.key], tuple(zip(self.shape, self.strides, strict=True))
        last = self.offset + sum((n - 1) * step for n, step in steps)
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or math.prod(self.shape) and last >= self.storage.size:
            raise ValueError('a tensor lies outside its storage')
        mine = every[self.storage.start:][:self.storage.size]
        if len(mine) < self.storage.size:
            raise ValueError('a storage is cut short')
        x = np.lib.stride_tricks.as_strided(mine[self.offset:], self.shape, [step * every.itemsize for step in self.strides])
        return x.astype(every.dtype.newbyteorder('='))


class Rebuild:
    """Stands for torch's functions in a pickle. An instance without attributes, so that a pickle cannot change it."""
    __slots__ = ()

    def __call__(self, made, *more):
        if isinstance(made, Storage):  # torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)
            offset, shape, strides = more[:3]
            return Tensor(made, offset, tuple(shape), tuple(strides))
        if isinstance(made, Tensor):  # torch._utils._rebuild_parameter(tensor, requires_grad, hooks)
            return made
        raise pickle.UnpicklingError('a tensor of no storage')


ALLOWED = {('collections', 'OrderedDict'): collections.OrderedDict, ('torch', 'Size'): tuple,
           **{('torch._utils', f'_rebuild_{name}'): Rebuild() for name in ('tensor', 'tensor_v2', 'parameter')},
           **{('torch', f'{name}Storage'): np.dtype(dtype) for name, dtype in STORAGES.items()}}


class Unpickler(pickle.Unpickler):
    """Makes containers and `Tensor`s; whatever else a pickle names is refused before it is looked up."""

    def __init__(self, file):
        super().__init__(file)
        self.dtypes = {}  # of the storages, by key

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f'its pickle names {module}.{name}, and only tensors and containers are read')
        return ALLOWED[module, name]

    def persistent_load(self, pid):
        sort, dtype, key, _, size, *view = pid
        start, size = view[0][1:] if view and view[0] else (0, size)
        if sort != 'storage' or not isinstance(dtype, np.dtype) or not isinstance(key, str) or min(start, size) < 0:
            raise pickle.UnpicklingError('a storage that is none')
        self.dtypes[key] = dtype
        return Storage(key, start, size)


def read(path):
    """The tensors of a file, {name: array}; of nested containers the names are joined by dots, as `model_state_dict.conv1.weight`.

    Raises:
        InputError: no such file; none of the three formats; cut short or damaged; a pickle that names other than tensors and containers.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(9)
            file.seek(0)
            reader = read_zip if head[:2] == b'PK' else read_old if head[:1] == b'\x80' else read_safetensors
            tensors = reader(file)
    except OSError as error:
        raise InputError(f'{path}: {error.strerror or error}; give a .pth, .pt or .safetensors file') from error
    except Exception as error:  # what is damaged raises whatever it likes
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f'{path}: not read ({why[0][:200]}); give a whole .pth, .pt or .safetensors file of weights') from error
    if not tensors:
        raise InputError(f'{path}: holds no tensors; give a .pth, .pt or .safetensors file of weights')
    return tensors


def read_zip(file):
    """`{name: array}` of a zip as torch writes it since 1.6."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = next(name for name in names if name.endswith('data.pkl')).removesuffix('data.pkl')
        order = archive.read(f'{root}byteorder') if f'{root}byteorder' in names else b'little'
        pickled = Unpickler(archive.open(f'{root}data.pkl'))
        tensors = flatten(pickled.load())
        numbers = {key: np.frombuffer(archive.read(f'{root}data/{key}'), dtype.newbyteorder('>' if order == b'big' else '<'))
                   for key, dtype in pickled.dtypes.items()}
    return {name: tensor.of(numbers) for name, tensor in tensors.items()}


def read_old(file):
    """`{name: array}` of the format before 1.6: magic number, version, system, the object, the keys, then each key's size and numbers."""
    magic, version, system = (Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or version != 1001:
        raise ValueError('not as torch.save writes it')
    pickled, order, numbers = Unpickler(file), '<' if system['little_endian'] else '>', {}
    tensors = flatten(pickled.load())
    for key in Unpickler(file).load():
        dtype = pickled.dtypes[key].newbyteorder(order)
        size = int(np.frombuffer(file.read(8), f'{order}i8')[0])
        numbers[key] = np.frombuffer(file.read(size * dtype.itemsize), dtype, size)
    return {name: tensor.of(numbers) for name, tensor in tensors.items()}


def read_safetensors(file):
    return safetensors.numpy.load(file.read())


def flatten(tree, prefix=''):
    """{names joined by dots: Tensor} of nested dicts and lists; what is no tensor is left out."""
    if isinstance(tree, Tensor):
        return {prefix: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {name: tensor for key, value in items for name, tensor in flatten(value, f'{prefix}.{key}' if prefix else str(key)).items()}
