"""Prepared sets: records that TensorFlow Datasets writes once, without TensorFlow, and that are read at random, from many threads."""
import collections
import concurrent.futures
import contextlib
import io
import os
import tempfile
import threading

import tensorflow_datasets as tfds
from absl import logging
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

from stanet_jax import InputError


def prepare(make_builder, prepared, source, fingerprint):
    """Writes the records into the folder `prepared`, once; later calls open what is there.

    Args:
        make_builder: `() -> builder`, of a set as it is to be stored; its `info.metadata` must hold a `fingerprint`.
        prepared: folder.
        source: folder that the set is made from.
        fingerprint: of what is in it now.
    Returns:
        The builder, and whether it has written.
    Raises:
        InputError: `prepared` cannot be written, is not complete, or was made of another state of the source.
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


def files(builder):
    return [path for split in builder.info.splits.values() for path in split.filepaths]


def write(builder, make_builder, prepared, source):
    # TFDS writes beside the final folder and renames when all is done: what is killed is never taken for complete.
    try:
        os.makedirs(prepared, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=prepared) as downloads:
            builder.download_and_prepare(
                download_dir=downloads, file_format='array_record',
                download_config=tfds.download.DownloadConfig(manual_dir=source, try_download_gcs=False))
        return builder
    except OSError as e:
        if not os.path.exists(builder.data_dir):
            raise InputError(f'{prepared}: cannot be written ({e.strerror}); give another folder') from e
        return make_builder()  # another process has prepared the same meanwhile


@contextlib.contextmanager
def quiet():
    # TFDS warns of every config that is made in code, and prints of downloads of unknown size.
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def in_order(function, items, workers):
    """`map` over threads with few items in flight: decoding, scaling and JPEG run outside Python's lock.

    Threads and not processes: those would each import the caller's script again, JAX and all, before the first clip.
    """
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        pending = collections.deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class Records:
    """The records of one split of a builder."""

    def __init__(self, builder, split):
        splits = builder.info.metadata['splits']
        if split not in splits:
            raise InputError(f'{builder.data_dir}: has no split {split}, only {", ".join(splits)}')
        self._files = list(builder.info.splits[split].file_instructions) if splits[split] else []
        self._opened = None

    def __getstate__(self):
        return {**self.__dict__, '_opened': None}

    def read(self, record, feature):
        """The bytes of a feature of a record, by its number."""
        # Opened here, as neither file handles nor locks outlive a fork.
        if self._opened is None or self._opened[0] != os.getpid():
            source = ArrayRecordDataSource(self._files)
            self._opened = os.getpid(), source, threading.Lock()
        _, source, lock = self._opened
        with lock:
            raw = source[record]
        # TFDS's own decoding takes four times as long as the read.
        return tf_example_pb2.Example.FromString(raw).features.feature[feature].bytes_list.value[0]
