"""Tells encrypted films, whose pictures and sound decode to noise or to nothing."""
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from av.container import InputContainer

# Sample entries of mp4 files: those of Common Encryption, and of Apple's.
_ENCRYPTED = {b'encv', b'enca', b'drmi', b'drms'}
_PATH = (b'moov', b'trak', b'mdia', b'minf', b'stbl')
_PACKET = 188  # bytes of a transport stream's packet


def is_encrypted(path: str | os.PathLike, container: InputContainer) -> bool:
    """Whether film or sound of an open file is encrypted: by Common Encryption or FairPlay in mp4, in Matroska, ASF or a broadcast."""
    name = container.format.name
    if name.startswith('mov,'):
        with open(path, 'rb') as file:
            return any(entry in _ENCRYPTED for entry in sample_entries(file, 0, os.path.getsize(path)))
    if name == 'mpegts':
        return is_scrambled(path)
    return 'encryption' in container.metadata or any('enc_key_id' in stream.metadata for stream in container.streams)


def sample_entries(file: BinaryIO, start: int, end: int, depth: int = 0) -> Iterator[bytes]:
    """Yields the four letters that name the format of each sample entry of the tracks of an mp4 file (ISO/IEC 14496-12), from `moov` on."""
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack('>I4s', file.read(8).ljust(8, b'\0'))
        header = 8
        if size == 1:
            size, header = struct.unpack('>Q', file.read(8).ljust(8, b'\0'))[0], 16
        stop = end if size == 0 else min(start + size, end)
        if size and size < header:
            return
        if depth < len(_PATH) and name == _PATH[depth]:
            yield from sample_entries(file, start + header, stop, depth + 1)
        elif depth == len(_PATH) and name == b'stsd':
            yield from _entry_names(file, start + header + 8, stop)
        start = stop


def _entry_names(file, start, end):
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack('>I4s', file.read(8).ljust(8, b'\0'))
        yield name
        start += max(size, 8)


def is_scrambled(path: str | os.PathLike) -> bool:
    """Whether most packets at the beginning of a transport stream are scrambled (ISO/IEC 13818-1), as pay channels are."""
    with open(path, 'rb') as file:
        head = file.read(1 << 20)
    for stride in (_PACKET, 192, 204):  # as it is, with times before (m2ts), with check sums behind
        first = stride - _PACKET if stride == 192 else 0
        headers = [head[k:k + 4] for k in range(first, len(head) - 3, stride)]
        if headers and all(header[0] == 0x47 for header in headers[:8]):
            scrambled = [header[3] & 0xc0 > 0 for header in headers if 31 < (header[1] & 0x1f) << 8 | header[2] < 8191]
            return sum(scrambled) > len(scrambled) / 2
    return False
