"""Reads the arrays of MXNet's `.params` files with NumPy alone, in all formats since 2016."""
import math
import os
import re
import struct

import numpy as np

from stanet_jax import InputError

MAGIC = 0x112
FIRST, SECOND, THIRD = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # the second tells how an array is stored; arrays without a magic are older
DTYPES = (np.float32, np.float64, np.float16, np.uint8, np.int32, np.int8, np.int64)
MOST_AXES = 32


class Reader:
    """A file's bytes, from the first to the last; ValueError beyond the end."""

    def __init__(self, data: bytes):
        self.data, self.at = memoryview(data), 0

    def take(self, size: int) -> memoryview:
        """The next bytes."""
        if size > len(self.data) - self.at:
            raise ValueError('it is cut short')
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, kind: str) -> int:
        """The next number, little-endian, of a `struct` kind."""
        return struct.unpack('<' + kind, self.take(struct.calcsize('<' + kind)))[0]


def is_params(head: bytes) -> bool:
    """Whether a file that begins with these bytes is one of MXNet's."""
    return head[:8] == struct.pack('<Q', MAGIC)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of a file by name, without the `arg:` or `aux:` before it.

    Raises:
        InputError: the file is missing, not MXNet's, cut short or damaged, or holds sparse arrays or arrays without a name.
    """
    try:
        with open(path, 'rb') as file:
            reader = Reader(file.read())
        if (reader.number('Q'), reader.number('Q')) != (MAGIC, 0):
            raise ValueError("not as MXNet writes it")
        arrays = [_read_array(reader) for _ in range(_count(reader))]
        names = [bytes(reader.take(reader.number('Q'))).decode() for _ in range(_count(reader))]
        if len(names) != len(arrays):
            raise ValueError('it has no names for its arrays')
    except OSError as error:
        raise InputError(f'{path}: {error.strerror or error}; give a .params file') from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: not read ({error}); give a whole .params file of MXNet') from error
    return {re.sub(r'^(arg|aux):', '', name): x for name, x in zip(names, arrays, strict=True)}


def _count(reader):
    """How many items follow; each takes four bytes or more."""
    count = reader.number('Q')
    if count > len(reader.data) // 4:
        raise ValueError('it is cut short')
    return count


def _read_array(reader):
    magic = reader.number('I')
    if magic in (SECOND, THIRD) and reader.number('i'):
        raise ValueError('it holds sparse arrays')
    axes = reader.number('i' if magic == THIRD else 'I') if magic in (FIRST, SECOND, THIRD) else magic
    if not 0 <= axes <= MOST_AXES:
        raise ValueError('an array of too many axes')
    shape = [reader.number('q' if magic > MOST_AXES else 'I') for _ in range(axes)]
    if not axes:
        return np.zeros(0, np.float32)
    reader.take(8)  # the device
    kind = reader.number('i')
    if not 0 <= kind < len(DTYPES) or min(shape) < 0:
        raise ValueError('an array of an unknown type or shape')
    dtype = np.dtype(DTYPES[kind])
    return np.frombuffer(reader.take(math.prod(shape) * dtype.itemsize), dtype.newbyteorder('<')).reshape(shape).astype(dtype)


def resnet38_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of ImageNet's ResNet-38 (Wu et al., arXiv:1611.10080) by the names of EPS's release; its head, `linear1000`, is left out.

    `res4b3_branch2a_weight` is `b4_3.conv_branch2a.weight`, `bn4b3_branch2a_gamma` is `b4_3.bn_branch2a.weight`; other names stay.
    """
    leaves = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean', 'moving_var': 'running_var'}

    def name_of(name: str) -> str:
        if match := re.fullmatch(r'(res|bn)(\d)(?:a|b(\d+))_branch(\w+?)_(weight|gamma|beta|moving_mean|moving_var)', name):
            kind, group, unit, branch, leaf = match.groups()
            block = f'b{group}_{unit}' if unit else f'b{group}'
            return f'{block}.{"conv" if kind == "res" else "bn"}_branch{branch}.{leaves.get(leaf, leaf)}'
        if match := re.fullmatch(r'bn7_(gamma|beta|moving_mean|moving_var)', name):
            return f'bn7.{leaves[match[1]]}'
        return 'conv1a.weight' if name == 'conv1a_weight' else name

    return {name_of(name): x for name, x in arrays.items() if not name.startswith('linear1000_')}
