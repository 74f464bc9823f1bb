"""Prepares clips for random access: decodes videos once into records, whatever set they are of.

A set's reader (`ave`, `folders`, `vggsound`) tells which clips there are, as a `Source`; `prepare` decodes them. The clips of a split are
cut into shards, a file of records each, which are written one by one, by threads of this process or by a pipeline of Apache Beam, and
always by the same function. A shard takes its name when it is whole, so that a preparation that was interrupted does only what is missing.
TensorFlow Datasets (TFDS) reads the result, without TensorFlow; `clips.Clips` reads frames and seconds of sound from it.
"""
import concurrent.futures
import functools
import glob
import json
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.naming import ShardedFileTemplate
from tqdm import tqdm

from stanet_jax import InputError, one_line
from stanet_jax.data import records
from stanet_jax.data.shards import SUMMARIES, Shard, SourceClip, plan_shards, write_shard
from stanet_jax.scratch import hold

VERSION = '2.0.0'  # of the records and of their metadata


class Listing(NamedTuple):
    """The clips of a set.

    Attributes:
        categories: names of the tags, sorted.
        splits: clips by split.
        skipped: what is listed but is no clip, as the dicts that `shards.skip` gives.
    """
    categories: list[str]
    splits: dict[str, list[SourceClip]]
    skipped: list[dict[str, Any]]


class Source(NamedTuple):
    """A set as its reader finds it.

    Attributes:
        name: of its folder among prepared sets.
        root: where it was found.
        fingerprint: changes where its clips do; cheap to compute.
        read: lists the clips, which may take reading the header of every video.
        instructions: what a user has to do where no clip can be used.
        prepared: folder of the records by default.
        cut: in the name of the folder, how videos were cut into clips; '' where they are not.
    """
    name: str
    root: str
    fingerprint: str
    read: Callable[[], Listing]
    instructions: str
    prepared: str
    cut: str = ''


def all_for_training(source: Source) -> Source:
    """A source whose clips, of all splits, are for training: the papers train on every clip of AVE and measure on other sets."""
    def read():
        listing = source.read()
        skipped = [{**what, 'split': 'train'} for what in listing.skipped]
        return Listing(listing.categories, {'train': [clip for clips in listing.splits.values() for clip in clips]}, skipped)
    return source._replace(read=read, cut='_'.join(filter(None, (source.cut, 'all'))))


# ------------------------------------------------------------------------------------------------- two ways to write them all


def write_in_threads(shards: Sequence[Shard], title: str, workers: int) -> None:
    """Writes shards in threads of this process, with a line of progress; an interruption stops them all after the clip they are at.

    Threads suffice, as decoding, scaling and JPEG run outside Python's lock; processes would each import the caller's script and JAX
    again before the first clip.
    """
    stopped, lock = threading.Event(), threading.Lock()
    missing = [shard for shard in shards if not shard.done]
    total, left = (sum(len(shard.clips) for shard in some) for some in (shards, missing))

    def tick():
        if stopped.is_set():
            raise concurrent.futures.CancelledError
        with lock:
            progress.update()

    with (tqdm(None, title, total, initial=total - left, mininterval=1, unit=' clips',
               bar_format='{desc}: {n_fmt}/{total_fmt} clips, {rate_fmt}, {remaining} left') as progress,
          concurrent.futures.ThreadPoolExecutor(workers) as pool):
        try:
            for written in concurrent.futures.as_completed([pool.submit(write_shard, shard, tick) for shard in missing]):
                written.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def write_by_beam(shards: Sequence[Shard], runner: str, options: Sequence[str]) -> None:
    """Writes shards by a pipeline of Apache Beam, on workers that see the same disk as this process.

    Args:
        shards: to write.
        runner: a name that Beam knows, as DirectRunner.
        options: of the pipeline, as on a command line.
    Raises:
        InputError: Beam is not installed, or the pipeline failed.
    """
    try:
        import apache_beam as beam  # here, as it is an extra, and takes long
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise InputError(f'config.data.beam={runner!r}: Apache Beam is not installed; pip install stanet-jax[beam]') from None
    missing = [shard for shard in shards if not shard.done]
    print(f'{sum(len(shard.clips) for shard in missing)} clips in {len(missing)} shards to prepare by Beam, {runner}')
    try:
        with beam.Pipeline(runner=runner, options=PipelineOptions(list(options))) as pipeline:
            _ = pipeline | beam.Create(missing) | beam.Reshuffle() | beam.Map(write_shard)
    except (RuntimeError, ValueError) as error:
        last = str(error).strip().splitlines()[-1:]
        raise InputError(f'config.data.beam={runner!r}: the pipeline failed ({"".join(last)[:300]}); what it wrote stays, and the same '
                         'command goes on from there') from error


# ------------------------------------------------------------------------------------------------------------------- a set


def _features(side):
    return tfds.features.FeaturesDict({
        'image': tfds.features.Image(shape=(side, side, 3), encoding_format='jpeg'),
        # As bytes, since a list of integers takes ten times as long to read.
        'sound': tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding='bytes'),
        'clip': np.int32,
        'frame': np.int32,
    })


def prepare(source: Source, side: int, rate: float, prepared: str | os.PathLike = '', workers: int | None = None, beam: str = '',
            beam_options: Sequence[str] = (), process: int = 0, wait: Callable[[str], None] = lambda name: None,
            ) -> tfds.core.DatasetBuilder:
    """Decodes a set into records; where they are there already, opens them.

    Of several processes of a run, the first one prepares and the others wait for it.

    Args:
        source: the set.
        side: width and height of the frames, in pixels.
        rate: frames per second; 0 for each video's own frames, all of them.
        prepared: folder of the records, `source.prepared` by default; about 9 GB for AVE at 256 pixels, 8 a second,
            and 33 GB for all of its 1.1 million frames.
        workers: clips decoded at a time, the number of cores by default.
        beam: the runner of Apache Beam that prepares in place of threads; '' for none.
        beam_options: of Beam's pipeline, as on a command line.
        process: index of this process among those that call this function together.
        wait: their barrier, which is called with a name.

    Returns:
        The TFDS builder. Its `info.metadata` holds `categories` (sorted; a tag is an index into them); `side` and `rate`; `splits`, for
        each split a list of clips `{id, tags, kind, source, first, frames, samples}`, where first is the index of the clip's first record
        and samples the length of its sound, and where the set's rate is 0, the clip's own `rate`; `skipped`, a list of
        `{split, id, line, reason, detail}`; and the `fingerprint`.

    Raises:
        InputError: there is no readable clip, `prepared` cannot be written, or it was made from another state of the source.
    """
    if side < 1 or not rate >= 0:
        raise InputError(f'side and rate: frames need a side of at least 1 and a rate of 0 or more, got {side} and {rate}')
    prepared = pathlib.Path(prepared or source.prepared)
    folder = prepared / source.name / (f'{side}px_{f"{rate:g}" if rate else "all"}fps' + (f'_{source.cut}' if source.cut else '')) / VERSION
    if process == 0 and (not folder.exists() or (folder / SUMMARIES).exists()):
        write_all = functools.partial(write_by_beam, runner=beam, options=beam_options) if beam else functools.partial(
            write_in_threads, title=f'Preparing {source.name}', workers=workers or os.cpu_count() or 1)
        with hold(folder.parent, wait=True):
            if not folder.exists():  # or else another run has prepared the same meanwhile
                try:
                    _write(source, side, rate, folder, write_all)
                except OSError as e:
                    raise InputError(f'{prepared}: cannot be written ({e.strerror}); give another folder') from e
            shutil.rmtree(folder / SUMMARIES, ignore_errors=True)
            _clear(folder)
    while process > 0 and not folder.exists():
        time.sleep(1)  # a barrier may give up before a large set is done; if the first process fails, the run ends for all
    wait('data prepared')
    return _open(source, folder)


def _write(source, side, rate, folder, write_all):
    """Writes the records of a set beside its folder, which they become when all is done."""
    partial = folder.with_name(f'{folder.name}.incomplete-{source.fingerprint[:12]}')
    partial.mkdir(parents=True, exist_ok=True)
    listing = source.read()
    shards = plan_shards(listing.splits, partial, source.name, side, rate)
    write_all(shards)
    metadata = {'categories': listing.categories, 'side': side, 'rate': rate, 'splits': {split: [] for split in listing.splits},
                'skipped': [*listing.skipped], 'fingerprint': source.fingerprint}
    lengths = {split: [] for split, clips in listing.splits.items() if clips}
    for shard in shards:
        found, clips = json.loads(shard.summary.read_text()), metadata['splits'][shard.split]
        for clip in found['clips']:
            first = clips[-1]['first'] + clips[-1]['frames'] if clips else 0
            clips.append({'id': clip.pop('id'), 'first': first, **clip})
        metadata['skipped'] += found['skipped']
        lengths[shard.split].append(sum(clip['frames'] for clip in found['clips']))
    if not any(metadata['splits'].values()):
        shutil.rmtree(partial)
        raise InputError(f'{source.root}: no clip can be used ({summarise(metadata)}); {source.instructions}')
    template = ShardedFileTemplate(data_dir=partial, dataset_name=source.name, filetype_suffix='array_record')
    sizes = {split: sum(shard.path.stat().st_size for shard in shards if shard.split == split) for split in lengths}
    with records.quiet():
        tfds.folder_dataset.write_metadata(
            data_dir=partial, features=_features(side), version=VERSION, check_data=False, disable_shuffling=True,
            description='Clips with their sound, by tag: a record for each frame.', metadata=tfds.core.MetadataDict(metadata),
            split_infos=[tfds.core.SplitInfo(name=split, shard_lengths=of, num_bytes=sizes[split], filename_template=template)
                         for split, of in lengths.items()])
    for left in partial.glob('.*'):  # by a process that was killed
        left.unlink()
    partial.rename(folder)
    print(summarise(metadata))


def _clear(folder):
    """Removes what was begun beside a set that is done: of an earlier state of the source, or by another run."""
    for old in folder.parent.glob(f'{glob.escape(folder.name)}.incomplete-*'):
        shutil.rmtree(old, ignore_errors=True)


def _open(source, folder):
    with records.quiet():
        try:
            builder = tfds.builder_from_directory(folder)
        except Exception as e:  # TFDS raises whatever the state of the folder makes it
            raise InputError(f'{folder}: not complete ({type(e).__name__}); delete it and prepare again') from None
    if not builder.info.metadata or not all(map(os.path.exists, records.files(builder))):
        raise InputError(f'{folder}: not complete; delete it and prepare again')
    if builder.info.metadata['fingerprint'] != source.fingerprint:
        raise InputError(f'{folder}: prepared from other files or settings than {source.root} has now; delete it to prepare again')
    return builder


def summarise(metadata: Mapping[str, Any]) -> str:
    """Says in a line how many clips were prepared, and what was skipped and why, see `prepare`."""
    clips = [clip for split in metadata['splits'].values() for clip in split]
    skipped = metadata['skipped']
    text = f'prepared {len(clips)} clips, {sum(clip["frames"] for clip in clips)} frames; skipped {len(skipped)}'
    reasons = []
    for reason in sorted({s['reason'] for s in skipped}):
        found = [s['id'] + (f' ({s["detail"]})' if s['detail'] else '') for s in skipped if s['reason'] == reason]
        reasons.append(f'{reason} ({len(found)}): {", ".join(found[:10])}' + (', ...' if len(found) > 10 else ''))
    return one_line(text + (': ' + '; '.join(reasons) if reasons else ''))
