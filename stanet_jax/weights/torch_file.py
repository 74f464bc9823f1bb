"""Reads the tensors of torch checkpoints and safetensors files with NumPy alone: without torch, and without running code.

Three formats are told apart by their first bytes: the one that `torch.save` writes since torch 1.6 (a zip of a pickle and one file for
each storage), the one that it wrote before (pickles one after the other, then the storages), and safetensors.
"""
import collections
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import safetensors.numpy
from ml_dtypes import bfloat16

from stanet_jax import InputError

MAGIC = 0x1950a86a20f9469cfc6c  # the first pickle of the old format
STORAGES = {'Float': np.float32, 'Double': np.float64, 'Half': np.float16, 'BFloat16': bfloat16, 'Long': np.int64, 'Int': np.int32,
            'Short': np.int16, 'Char': np.int8, 'Byte': np.uint8, 'Bool': np.bool_}


class Storage(NamedTuple):
    """A part of the numbers that the file holds under `key`: `size` of them, from `start` on."""
    key: str
    start: int
    size: int


class Tensor(NamedTuple):
    """A view of a storage that is not read yet; `offset` and `strides` count numbers, not bytes."""
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
        """Gives the tensor as an array, in this machine's byte order, out of the numbers that the file holds under each key.

        Raises:
            ValueError: the tensor lies outside its storage, or the storage is cut short.
        """
        every, steps = numbers[self.storage.key], tuple(zip(self.shape, self.strides, strict=True))
        last = self.offset + sum((n - 1) * step for n, step in steps)
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or 0 not in self.shape and last >= self.storage.size:
            raise ValueError('a tensor lies outside its storage')
        part = every[self.storage.start:][:self.storage.size]
        if len(part) < self.storage.size:
            raise ValueError('a storage is cut short')
        x = np.lib.stride_tricks.as_strided(part[self.offset:], self.shape, [step * every.itemsize for step in self.strides])
        return x.astype(every.dtype.newbyteorder('='))


class Rebuild:
    """Takes the place of the torch functions that a pickle calls. Instances have no attributes, so that a pickle cannot change them."""
    __slots__ = ()

    def __call__(self, first: Any, *more: Any) -> Tensor:
        """Gives a tensor for the arguments of torch's `_rebuild_tensor`, `_rebuild_tensor_v2` or `_rebuild_parameter`."""
        if isinstance(first, Storage):  # torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)
            offset, shape, strides = more[:3]
            return Tensor(first, offset, tuple(shape), tuple(strides))
        if isinstance(first, Tensor):  # torch._utils._rebuild_parameter(tensor, requires_grad, hooks)
            return first
        raise pickle.UnpicklingError('a tensor of no storage')


ALLOWED = {('collections', 'OrderedDict'): collections.OrderedDict, ('torch', 'Size'): tuple,
           **{('torch._utils', f'_rebuild_{name}'): Rebuild() for name in ('tensor', 'tensor_v2', 'parameter')},
           **{('torch', f'{name}Storage'): np.dtype(dtype) for name, dtype in STORAGES.items()}}


class Unpickler(pickle.Unpickler):
    """Unpickles containers and `Tensor`s; whatever else a pickle names is refused before it is looked up.

    Attributes:
        dtypes: the type of the numbers of each storage, by its key.
    """

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file)
        self.dtypes: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Gives what a pickle names `module.name`; UnpicklingError unless it is in `ALLOWED`."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f'its pickle names {module}.{name}, and only tensors and containers are read')
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        """Gives the storage of a persistent id, ('storage', type, key, device, size) and in old files a view, and notes its type."""
        kind, dtype, key, _, size, *view = pid
        start, size = view[0][1:] if view and view[0] else (0, size)
        if kind != 'storage' or not isinstance(dtype, np.dtype) or not isinstance(key, str) or min(start, size) < 0:
            raise pickle.UnpicklingError('a storage that is none')
        self.dtypes[key] = dtype
        return Storage(key, start, size)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a file by name; names in nested containers are joined by dots, as in `model_state_dict.conv1.weight`.

    Raises:
        InputError: the file is missing, of none of the three formats, cut short or damaged, or a pickle that names other things than
            tensors and containers.
    """
    def reader(file, head):
        return (read_zip if head[:2] == b'PK' else read_old if head[:1] == b'\x80' else read_safetensors)(file)

    return read_with(path, reader)


def read_with(path: str | os.PathLike, reader: Callable[[io.BufferedReader, bytes], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Reads the tensors of a file by `reader(file, its first bytes)`; InputError where that raises anything, or there are no tensors."""
    try:
        with open(path, 'rb') as file:
            head = file.read(9)
            file.seek(0)
            tensors = reader(file, head)
    except OSError as error:
        raise InputError(f'{path}: {error.strerror or error}; give a .pth, .pt or .safetensors file') from error
    except Exception as error:  # damaged files raise errors of any kind
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f'{path}: not read ({why[0][:200]}); give a whole .pth, .pt or .safetensors file of weights') from error
    if not tensors:
        raise InputError(f'{path}: holds no tensors; give a .pth, .pt or .safetensors file of weights')
    return tensors


def read_zip(file: io.BufferedReader, unpickler: type[Unpickler] = Unpickler,
             collect: Callable[[Any], dict[str, Tensor]] | None = None) -> dict[str, np.ndarray]:
    """Reads the tensors of a zip as torch writes it since 1.6.

    Args:
        file: the zip.
        unpickler: of its pickle.
        collect: which tensors of what was pickled are read, by name; all by default, see `flatten`.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = next(name for name in names if name.endswith('data.pkl')).removesuffix('data.pkl')
        order = archive.read(f'{root}byteorder') if f'{root}byteorder' in names else b'little'
        pickled = unpickler(archive.open(f'{root}data.pkl'))  # type: ignore[arg-type]  # it opens a BufferedIOBase
        tensors = (collect or flatten)(pickled.load())
        wanted = {tensor.storage.key for tensor in tensors.values()}
        numbers = {key: np.frombuffer(archive.read(f'{root}data/{key}'), dtype.newbyteorder('>' if order == b'big' else '<'))
                   for key, dtype in pickled.dtypes.items() if key in wanted}
    return {name: tensor.of(numbers) for name, tensor in tensors.items()}


def read_old(file: io.BufferedReader, unpickler: type[Unpickler] = Unpickler,
             collect: Callable[[Any], dict[str, Tensor]] | None = None) -> dict[str, np.ndarray]:
    """Reads the tensors of a file of the format before torch 1.6; the arguments are those of `read_zip`.

    It holds a magic number, the version, the system, the object and the keys, then the size and the numbers of each key.
    """
    magic, version, system = (Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or version != 1001:
        raise ValueError('not as torch.save writes it')
    pickled, numbers = unpickler(file), {}
    order: Literal['<', '>'] = '<' if system['little_endian'] else '>'
    tensors = (collect or flatten)(pickled.load())
    for key in Unpickler(file).load():
        dtype = pickled.dtypes[key].newbyteorder(order)
        size = int(np.frombuffer(file.read(8), f'{order}i8')[0])
        numbers[key] = np.frombuffer(file.read(size * dtype.itemsize), dtype, size)
    return {name: tensor.of(numbers) for name, tensor in tensors.items()}


def read_safetensors(file: io.BufferedReader) -> dict[str, np.ndarray]:
    """Reads the tensors of a safetensors file."""
    return safetensors.numpy.load(file.read())


def flatten(tree: Any, prefix: str = '') -> dict[str, Tensor]:
    """Gives the tensors in nested dicts and lists by their keys, joined by dots. Values that are not tensors are skipped."""
    if isinstance(tree, Tensor):
        return {prefix: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {name: tensor for key, value in items for name, tensor in flatten(value, f'{prefix}.{key}' if prefix else str(key)).items()}
