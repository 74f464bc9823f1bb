"""Damages files: bytes flipped, parts cut off, doubled, zeroed, swapped, and numbers of headers changed."""
import re
import struct
from collections.abc import Callable

import numpy as np

EXTREMES = (0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff)
SIZES = {'B': 1, '<H': 2, '>H': 2, '<I': 4, '>I': 4, '<Q': 8, '>Q': 8}


def _span(size, rng, most=0.25):
    """A random part of a file: (start, end), at least a byte, often short."""
    length = int(np.ceil(size * most * rng.uniform() ** 4)) or 1
    start = int(rng.integers(0, max(size - length, 0) + 1))
    return start, min(start + length, size)


def flip(content: bytearray, rng: np.random.Generator) -> None:
    """Changes some bytes, anywhere or close together."""
    start, end = _span(len(content), rng) if rng.random() < 0.5 else (0, len(content))
    for place in rng.integers(start, end, rng.integers(1, 33)):
        content[place] ^= int(rng.integers(1, 256))


def cut(content: bytearray, rng: np.random.Generator) -> None:
    """Cuts the end off."""
    del content[int(rng.integers(0, len(content))):]


def drop(content: bytearray, rng: np.random.Generator) -> None:
    """Takes a part out."""
    start, end = _span(len(content), rng)
    del content[start:end]


def double(content: bytearray, rng: np.random.Generator) -> None:
    """Inserts a part a second time, there or elsewhere."""
    start, end = _span(len(content), rng)
    place = end if rng.random() < 0.5 else int(rng.integers(0, len(content)))
    content[place:place] = content[start:end]


def zero(content: bytearray, rng: np.random.Generator) -> None:
    """Sets a part to zeros, as a lost block of a disk has them."""
    start, end = _span(len(content), rng)
    content[start:end] = bytes(end - start)


def swap(content: bytearray, rng: np.random.Generator) -> None:
    """Exchanges two parts of the same length."""
    start, end = _span(len(content), rng, 0.1)
    other = int(rng.integers(0, len(content) - (end - start) + 1))
    first, second = content[start:end], content[other:other + end - start]
    content[start:end] = second
    content[other:other + end - start] = first


def change_field(content: bytearray, rng: np.random.Generator) -> None:
    """Gives a number of a header another value, most often an extreme one: one near a name of four letters, or of the first bytes."""
    names = [match.start() for match in re.finditer(rb'[A-Za-z][A-Za-z0-9_]{3}', content[:1 << 20])]
    near = names and rng.random() < 0.7
    place = int(names[rng.integers(len(names))] + rng.integers(-8, 40)) if near else int(rng.integers(0, min(len(content), 512)))
    kind = list(SIZES)[rng.integers(len(SIZES))]
    place = max(min(place, len(content) - SIZES[kind]), 0)
    value = int(EXTREMES[rng.integers(len(EXTREMES))] if rng.random() < 0.7 else rng.integers(0, 1 << 32))
    changed = struct.pack(kind, value % (1 << 8 * SIZES[kind]))
    content[place:place + SIZES[kind]] = changed


KINDS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (flip, cut, drop, double, zero, swap, change_field)


def mutate(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """A damaged copy of a file's content, and what was done to it; one to three kinds of damage."""
    changed, done = bytearray(content), []
    for _ in range(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])):
        if changed:
            kind = KINDS[rng.integers(len(KINDS))]
            kind(changed, rng)
            done.append(kind.__name__)
    return bytes(changed), ', '.join(done)
