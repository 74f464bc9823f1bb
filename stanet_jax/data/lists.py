"""Lists that people write and edit, as text."""
import codecs
import pathlib


def read_text(path: pathlib.Path) -> str:
    """Reads a text file: UTF-8, with a byte order mark or without, or UTF-16 with one; OSError where it cannot be read.

    Bytes that are no text become surrogates, as in file names.
    """
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode('utf-16', 'replace')
    return content.decode('utf-8-sig', 'surrogateescape')
