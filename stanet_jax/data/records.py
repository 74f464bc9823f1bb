"""Prepared sets: records that TensorFlow Datasets (TFDS) writes once, without TensorFlow, and that many threads read at random."""
import collections
import concurrent.futures
import contextlib
import glob
import io
import os
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import tensorflow_datasets as tfds
from absl import logging
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.core import DatasetBuilder
from tensorflow_datasets.proto import tf_example_pb2

from stanet_jax import InputError
from stanet_jax.scratch import hold

Item = TypeVar('Item')
Result = TypeVar('Result')
DOWNLOADS = '.downloads_'  # of a folder that TFDS asks for


def prepare(make_builder: Callable[[], DatasetBuilder], prepared: str | os.PathLike, source: str, fingerprint: str,
            ) -> tuple[DatasetBuilder, bool]:
    """Writes a set's records into a folder; where they are there already, opens them.

    Args:
        make_builder: makes the builder of the set as it is to be stored, whose `info.metadata` must hold a `fingerprint`.
        prepared: folder of the records.
        source: folder that the set is made from.
        fingerprint: of the source as it is now.
    Returns:
        The builder, and whether the records were written by this call.
    Raises:
        InputError: `prepared` cannot be written, is not complete, or was made from another state of the source.
    """
    with quiet():
        builder = make_builder()
        new = not os.path.exists(builder.data_dir)
        if new:
            builder = write(builder, make_builder, prepared, source)
    if not builder.is_prepared() or not builder.info.metadata or not all(map(os.path.exists, files(builder))):
        raise InputError(f'{builder.data_dir}: not complete; delete it and prepare again')
    if builder.info.metadata['fingerprint'] != fingerprint:
        raise InputError(f'{builder.data_dir}: prepared from other annotation files than {source} holds now; delete it '
                         'to prepare again')
    return builder, new


def files(builder: DatasetBuilder) -> list[str | os.PathLike]:
    """Gives the paths of all files of a builder's records."""
    return [path for split in builder.info.splits.values() for path in split.filepaths]


def write(builder: DatasetBuilder, make_builder: Callable[[], DatasetBuilder], prepared: str | os.PathLike, source: str) -> DatasetBuilder:
    """Writes the builder's records; InputError where the folder cannot be written."""
    # TFDS writes beside the final folder and renames it when all is done: what a killed process leaves is never taken for complete.
    final = pathlib.Path(builder.data_dir)
    with hold(pathlib.Path(prepared), wait=True):
        if final.exists():
            return make_builder()  # another process has prepared the same meanwhile
        for left in (*pathlib.Path(prepared).glob(f'{DOWNLOADS}*'), *final.parent.glob(f'{glob.escape(final.name)}.incomplete*')):
            shutil.rmtree(left, ignore_errors=True)  # of a killed process
        try:
            with tempfile.TemporaryDirectory(prefix=DOWNLOADS, dir=prepared) as downloads:
                builder.download_and_prepare(
                    download_dir=downloads, file_format='array_record',
                    download_config=tfds.download.DownloadConfig(manual_dir=source, try_download_gcs=False))
        except OSError as e:
            raise InputError(f'{prepared}: cannot be written ({e.strerror}); give another folder') from e
    return builder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses warnings and printed lines of TFDS in a `with` block."""
    # TFDS warns of every config that is made in code, and prints lines about downloads of unknown size.
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Maps a function over items in `workers` threads and yields the results in order, with at most 2 * workers items waiting.

    Threads suffice, as decoding, scaling and JPEG run outside Python's lock; processes would each import the caller's script and JAX
    again before the first item.
    """
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class Records:
    """The records of one split of a set, which can be read from many threads and processes."""

    def __init__(self, builder: DatasetBuilder, split: str):
        """Opens a split of a prepared set; InputError where it has no such split."""
        splits = builder.info.metadata['splits']
        if split not in splits:
            raise InputError(f'{builder.data_dir}: has no split {split}, only {", ".join(splits)}')
        self._files = list(builder.info.splits[split].file_instructions) if splits[split] else []
        self._opened: tuple[int, ArrayRecordDataSource, threading.Lock] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_opened': None}

    def read(self, record: int, feature: str) -> bytes:
        """Reads the bytes of a feature of the record with this index."""
        # Opened here, as neither file handles nor locks outlive a fork.
        if self._opened is None or self._opened[0] != os.getpid():
            source = ArrayRecordDataSource(self._files)
            self._opened = os.getpid(), source, threading.Lock()
        _, source, lock = self._opened
        with lock:
            raw = source[record]
        # TFDS's own decoding takes four times as long as the read.
        return tf_example_pb2.Example.FromString(raw).features.feature[feature].bytes_list.value[0]
