"""Reads the tensors of torch checkpoints and safetensors files with NumPy alone: without torch, and without running code.

Three formats are told apart by their first bytes: the one that `torch.save` writes since torch 1.6 (a zip of a pickle and one file for
each storage), the one that it wrote before (pickles one after the other, then the storages), and safetensors.
"""
import collections
import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import safetensors.numpy
from ml_dtypes import bfloat16

from stanet_jax import InputError

MAGIC = 0x1950a86a20f9469cfc6c  # the first pickle of the old format
# What no checkpoint has, but a file that is made to exhaust the memory: bytes of a pickle in a zip, levels of containers, numbers in the
# tensors for one in the file, bytes in a zip for one of the zip.
LONGEST_PICKLE, DEEPEST, SHARED, COMPRESSED = 2 ** 24, 100, 8, 100
MODULE_PARTS = ('_modules', '_parameters', '_buffers')  # where a net that is pickled whole has its tensors
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


class NumberType(NamedTuple):
    """The type of a storage's numbers. Not NumPy's own object of it, which a pickle could change."""
    name: str


class Inert(dict):
    """Takes the place of whatever else a pickle names: nothing is imported and nothing runs.

    It keeps what a pickle puts into it by keys or as an object's state, as tensors may be among that.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> 'Inert':
        """Makes one of whatever arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    __hash__ = object.__hash__  # type: ignore[assignment]  # it may be a key, or in a set
    __eq__ = object.__eq__

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)

    def append(self, item: Any) -> None:
        """Leaves an item of a list out."""

    def extend(self, items: Any) -> None:
        """Leaves items of a list out."""

    def add(self, item: Any) -> None:
        """Leaves an item of a set out."""


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


class Encode:
    """Takes the place of `_codecs.encode`, by which old pickles make bytes; without attributes, as `Rebuild`."""
    __slots__ = ()

    def __call__(self, text: str, encoding: str = 'latin1') -> bytes:
        """Gives text as bytes."""
        return text.encode('latin1')


ALLOWED = {('collections', 'OrderedDict'): collections.OrderedDict, ('torch', 'Size'): tuple, ('_codecs', 'encode'): Encode(),
           **{('torch._utils', f'_rebuild_{name}'): Rebuild() for name in ('tensor', 'tensor_v2', 'parameter')},
           **{('torch', f'{name}Storage'): NumberType(name) for name in STORAGES}}


class Unpickler(pickle._Unpickler):
    """Unpickles containers and `Tensor`s; whatever else a pickle names is not looked up, and becomes `Inert`.

    It is the one in Python, as the other makes room for as many objects as a pickle says that it has.

    Attributes:
        dtypes: the type of the numbers of each storage, by its key.
    """

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file)
        self.dtypes: dict[str, np.dtype] = {}

    def _load_bytearray(self):
        raise pickle.UnpicklingError('it holds an array of bytes, for which any amount of memory is taken before it is read')

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: _load_bytearray}

    def find_class(self, module: str, name: str) -> Any:
        """Gives what a pickle names `module.name`, where it is in `ALLOWED`, or else `Inert`."""
        return ALLOWED.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Storage:
        """Gives the storage of a persistent id, ('storage', type, key, device, size) and in old files a view, and notes its type."""
        kind, dtype, key, _, size, *view = pid
        start, size = view[0][1:] if view and view[0] else (0, size)
        if kind != 'storage' or not isinstance(dtype, NumberType) or not isinstance(key, str) or min(start, size) < 0:
            raise pickle.UnpicklingError('a storage that is none')
        self.dtypes[key] = np.dtype(STORAGES[dtype.name])
        return Storage(key, start, size)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a file by name; names in nested containers are joined by dots, as in `model_state_dict.conv1.weight`.

    Raises:
        InputError: the file is missing, of none of the three formats, cut short, damaged, or made to exhaust the memory.
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
        names, size = archive.namelist(), os.fstat(file.fileno()).st_size
        if sum(entry.file_size for entry in archive.infolist()) > COMPRESSED * size:
            raise ValueError(f'it unpacks to more than {COMPRESSED} times its size')
        root = next(name for name in names if name.endswith('data.pkl')).removesuffix('data.pkl')
        order = archive.read(f'{root}byteorder') if f'{root}byteorder' in names else b'little'
        if archive.getinfo(f'{root}data.pkl').file_size > LONGEST_PICKLE:
            raise ValueError(f'its pickle is longer than {LONGEST_PICKLE:,} bytes')
        pickled = unpickler(archive.open(f'{root}data.pkl'))  # type: ignore[arg-type]  # it opens a BufferedIOBase
        tensors = (collect or flatten)(pickled.load())
        wanted = {tensor.storage.key for tensor in tensors.values()}
        numbers = {key: np.frombuffer(archive.read(f'{root}data/{key}'), dtype.newbyteorder('>' if order == b'big' else '<'))
                   for key, dtype in pickled.dtypes.items() if key in wanted}
    return take(tensors, numbers)


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
        if not 0 <= size * dtype.itemsize <= os.fstat(file.fileno()).st_size - file.tell():
            raise ValueError('a storage is cut short')
        numbers[key] = np.frombuffer(file.read(size * dtype.itemsize), dtype, size)
    return take(tensors, numbers)


def take(tensors: Mapping[str, Tensor], numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gives the tensors as arrays, see `Tensor.of`; ValueError where they are far larger than their numbers, which they may share."""
    if sum(math.prod(tensor.shape) for tensor in tensors.values()) > SHARED * sum(map(len, numbers.values())) + 2 ** 20:
        raise ValueError('its tensors are far larger than their storages')
    return {name: tensor.of(numbers) for name, tensor in tensors.items()}


def read_safetensors(file: io.BufferedReader) -> dict[str, np.ndarray]:
    """Reads the tensors of a safetensors file."""
    return safetensors.numpy.load(file.read())


def flatten(tree: Any) -> dict[str, Tensor]:
    """Gives the tensors in nested dicts and lists by their keys, joined by dots. Values that are not tensors are skipped.

    A container that stands in several places is read at the first. ValueError where more than DEEPEST lie in one another.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()

    def visit(value, names):
        if isinstance(value, Tensor):
            found['.'.join(name for name in names if name not in MODULE_PARTS)] = value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            if len(names) >= DEEPEST:
                raise ValueError(f'more than {DEEPEST} containers lie in one another')
            seen.add(id(value))
            for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                visit(inner, (*names, key.decode('utf-8', 'replace') if isinstance(key, bytes) else str(key)))

    visit(tree, ())
    return found
