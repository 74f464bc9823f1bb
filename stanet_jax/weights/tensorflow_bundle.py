"""Reads the variables of a TensorFlow checkpoint or SavedModel with NumPy alone.

A checkpoint is a bundle of two or more files: `<name>.index`, a sorted table of strings as LevelDB writes it, tells for each variable where
its numbers lie in the files `<name>.data-<k>-of-<n>`. A SavedModel's folder holds such a bundle as `variables/variables`.
"""
import math
import os
import pathlib
import re

import numpy as np

from stanet_jax import InputError

MAGIC = 0xdb4775248b80fb57  # the last eight bytes of a table
DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 5: np.int16, 6: np.int8, 9: np.int64, 10: np.bool_, 19: np.float16}
SUFFIX = '/.ATTRIBUTES/VARIABLE_VALUE'  # of a variable's key in an object's checkpoint


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Gives the variables {key: array} of a SavedModel's folder, or of a bundle that is named by its `.index` file.

    Keys come without `/.ATTRIBUTES/VARIABLE_VALUE`; what is neither numbers nor of a known type is skipped.

    Raises:
        InputError: there is no such folder or file, it is no bundle, or it is truncated.
    """
    folder = pathlib.Path(path)
    index = folder / 'variables' / 'variables.index' if folder.is_dir() else folder
    if not index.is_file():
        raise InputError(f'{index}: no such file; give the folder of a SavedModel, or the .index file of a checkpoint')
    try:
        entries = _read_table(index.read_bytes())
        shards = _fields(entries.pop(b'')).get(1, [1])[0]
        files = [index.with_name(f'{index.stem}.data-{k:05d}-of-{shards:05d}').read_bytes() for k in range(shards)]
        found = {key.decode().removesuffix(SUFFIX): _read_variable(entry, files) for key, entry in entries.items()}
    except FileNotFoundError as error:
        raise InputError(f'{error.filename}: no such file; a checkpoint is its .index and its .data files') from error
    except (IndexError, KeyError, ValueError, OverflowError, MemoryError, OSError) as error:
        raise InputError(f'{index}: cannot be read as a checkpoint of TensorFlow ({error}); fetch it again') from error
    return {key: value for key, value in found.items() if value is not None}


def in_order(variables: dict[str, np.ndarray], part: str = 'layer_with_weights-') -> dict[str, np.ndarray]:
    """Gives those of the variables that belong to numbered layers of a Keras model as {'<number>/<name>': array}, as '54/bias'."""
    pattern = re.compile(rf'(?:.*/)?{part}(\d+)/([^/]+)')
    return {f'{int(match[1])}/{match[2]}': value for key, value in variables.items() if (match := pattern.fullmatch(key))}


def _read_variable(entry: bytes, files: list[bytes]) -> np.ndarray | None:
    fields = _fields(entry)
    dtype = DTYPES.get(fields.get(1, [0])[0])
    if dtype is None:
        return None
    shape = tuple(_fields(axis).get(1, [0])[0] for axis in _fields(fields[2][0]).get(2, [])) if 2 in fields else ()
    shard, offset, size = (fields.get(field, [0])[0] for field in (3, 4, 5))
    numbers = files[shard][offset:offset + size]
    if size != math.prod(shape) * np.dtype(dtype).itemsize or len(numbers) != size:
        raise ValueError('a variable lies outside its file')
    return np.frombuffer(numbers, np.dtype(dtype).newbyteorder('<')).reshape(shape).astype(dtype)


def _read_table(data: bytes) -> dict[bytes, bytes]:
    """The entries of a table, whose last block lists the others."""
    if int.from_bytes(data[-8:], 'little') != MAGIC:
        raise ValueError('not an index')
    footer = data[-48:]
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)  # past the place of the block of metadata
    entries: dict[bytes, bytes] = {}
    for handle in _read_block(data, footer[at:]).values():
        entries |= _read_block(data, handle)
    return entries


def _read_block(data: bytes, handle: bytes) -> dict[bytes, bytes]:
    """The entries of the block at a place; a key shares its beginning with the one before."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    content, compression = data[offset:offset + size], data[offset + size]
    if compression:
        raise ValueError('its index is compressed')
    end = size - 4 - 4 * int.from_bytes(content[-4:], 'little')
    entries, key, at = {}, b'', 0
    while at < end:
        shared, at = _varint(content, at)
        own, at = _varint(content, at)
        length, at = _varint(content, at)
        key = key[:shared] + content[at:at + own]
        entries[key] = content[at + own:at + own + length]
        at += own + length
    return entries


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte that begins at a place, and the place where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError('a number that does not end')


def _fields(message: bytes) -> dict[int, list]:
    """The fields of a protocol buffer, {number: values}: integers, and bytes of what has a length."""
    found: dict[int, list] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = int.from_bytes(message[at:at + size], 'little'), at + size
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at:at + size], at + size
        else:
            raise ValueError('not a protocol buffer')
        found.setdefault(tag >> 3, []).append(value)
    return found
