"""Scores the maps of many videos under a protocol: frame by frame, in batches, by several processes, going on where it was interrupted."""
import concurrent.futures
import functools
import itertools
import json
import multiprocessing
import os
import pathlib

import jax
import numpy as np
import tqdm

from stanet_jax import InputError
from stanet_jax.evaluation import protocols
from stanet_jax.workdir import replace_text

BATCH = 4  # maps that are scored at once; more fall out of a CPU's cache and take twice as long


def score(maps_of_video, videos, protocol, name='maps'):
    """Scores the maps of many videos; one that cannot be read is listed and left out.

    Args:
        maps_of_video: `video -> iterable of maps [h', w']`, one for each frame from the first on, drawn one after the other; it
            may raise InputError.
        videos: list of `fixations.Video`, or what has its `name`, `frames`, `fixations(k)` and `density(k)`.
        protocol: a `protocols.Protocol`.
        name: what the progress line calls it.
    Returns:
        A dict of `frames`, how many were scored; `scores` and `undefined`, by metric, the mean and how many frames it leaves out;
        `videos`, a list of the same by video; `failed`, a list of {video, why}.
    Raises:
        InputError: not one video could be scored.
    """
    return score_all(lambda video: ({name: map_} for map_ in maps_of_video(video)), videos, protocol, name)[name]


def score_all(maps_of_video, videos, protocol, name, kept=None, workers=1):
    """`score` of several sources at once: `maps_of_video` gives {source: map} of each frame -> {source: results}.

    `kept`: a `ScoreCache`, from which what is done is taken and to which it is added; `workers`: processes that score videos side by side,
    to which `maps_of_video` is then pickled.
    """
    rows, failed = kept.rows(name) if kept else {}, []
    todo = [number for number, video in enumerate(videos) if video.name not in rows]
    frames = [max(video.frames - protocol.first, 0) for video in videos]
    done = sum(frames) - sum(frames[number] for number in todo)
    with tqdm.tqdm(total=sum(frames), initial=done, desc=name, unit='frame', mininterval=1) as progress:
        beside = workers > 1 and len(todo) > 1
        if beside:
            found = score_in_processes(maps_of_video, videos, protocol, todo, min(workers, len(todo)))
        else:
            fixations = FixationCache(videos, protocol.repeated)
            found = (score_one(maps_of_video, videos, protocol, fixations, number, progress.update) for number in todo)
        for number, of, why in found:
            if of is None:
                failed.append({'video': videos[number].name, 'why': why})
            else:
                rows[videos[number].name] = of
                if kept:
                    kept.add(name, videos[number].name, of)
            if beside:
                progress.update(frames[number])
    if not rows:
        raise InputError(f'{name}: no video could be scored; the first one: {failed[0]["why"] if failed else "there is none"}')
    rows = [rows[video.name] for video in videos if video.name in rows]
    return {source: {**set_row([of[source] for of in rows], protocol), 'failed': failed, 'videos': [of[source] for of in rows]}
            for source in rows[0]}


def score_one(maps_of_video, videos, protocol, fixations, number, tick):
    """(number, {source: row of the video}, '') or, where it cannot be scored, (number, None, why); `tick(n)` is told of n frames done."""
    try:
        tables = score_video(maps_of_video(videos[number]), videos[number], protocol, fixations, number, tick)
        return number, {source: video_row(videos[number], table) for source, table in tables.items()}, ''
    except (InputError, OSError) as error:
        return number, None, str(error)


def score_in_processes(maps_of_video, videos, protocol, todo, workers):
    """Yields what `score_one` gives, by several processes, as it is done."""
    context = multiprocessing.get_context('spawn')  # JAX does not outlive a fork
    with concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (maps_of_video, videos, protocol.name)) as pool:
        for job in concurrent.futures.as_completed([pool.submit(_score, number) for number in todo]):
            yield job.result()


def _begin(maps_of_video, videos, name):
    """Sets a worker up: what its jobs have in common, and one thread of the CPU, whatever accelerator there is."""
    jax.config.update('jax_platforms', 'cpu')
    os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
    protocol = protocols.PROTOCOLS[name]
    global _score_number
    cache = FixationCache(videos, protocol.repeated)
    _score_number = functools.partial(score_one, maps_of_video, videos, protocol, cache, tick=lambda n: None)


def _score(number):
    return _score_number(number)


class ScoreCache:
    """The rows of videos that are scored, a line for each in a file, so that an interrupted evaluation goes on.

    Lines of another evaluation than `of`, a dict that tells which, are thrown away.
    """

    def __init__(self, path, of):
        self.path, self._head, self._lines, self._begun = pathlib.Path(path), json.dumps(of), [], False
        if self.path.exists():
            first, *lines = self.path.read_text().splitlines() or ['']
            if first == self._head:
                self._lines = [json.loads(line) for line in lines if line.endswith('}')]  # a kill may leave half a line
                print(f'{self.path}: goes on after {len(self._lines)} videos')

    def rows(self, name):
        return {line['video']: line['rows'] for line in self._lines if line['name'] == name}

    def add(self, name, video, rows):
        if not self._begun:
            replace_text(self.path, '\n'.join([self._head, *map(json.dumps, self._lines)]) + '\n')
            self._begun = True
        with open(self.path, 'a') as file:
            file.write(json.dumps({'name': name, 'video': video, 'rows': rows}) + '\n')


def video_row(video, table):
    """A video's row of its frames' scores {metric: [n]}: `video`, its name, and `frames`, `scores`, `undefined` as `score` has them."""
    return {'video': video.name, 'frames': len(table['nss']), 'scores': {metric: protocols.mean(x) for metric, x in table.items()},
            'undefined': {metric: int(np.isnan(x).sum()) for metric, x in table.items()}}


def set_row(rows, protocol):
    """`frames`, `scores`, `undefined` of a set, see `score`, of its videos' rows."""
    def scores(metric):
        return protocol.average([row['scores'][metric] for row in rows], [row['frames'] - row['undefined'][metric] for row in rows])
    return {'frames': sum(row['frames'] for row in rows), 'scores': {metric: scores(metric) for metric in protocol.metrics},
            'undefined': {metric: sum(row['undefined'][metric] for row in rows) for metric in protocol.metrics}}


def score_video(maps, video, protocol, fixations, number, tick):
    """The scores of a video's frames from the protocol's first on, {source: {metric: [n]}}, of {source: map} of each of its frames.

    Its `number` in `fixations` seeds the draws; `tick(n)` is told of n frames done.
    """
    if video.frames <= protocol.first:
        raise InputError(f'{video.name}: has {video.frames} frames; the protocol scores from frame {protocol.first + 1} on')
    fixated, shape = fixations.read(number)
    negatives, results, count = protocol.negatives(fixations, number), {}, 0
    maps = itertools.islice(maps, protocol.first, None)
    while batch := list(itertools.islice(maps, BATCH)):
        start, count = protocol.first + count, count + len(batch)
        if protocol.first + count > video.frames:
            break
        # The last batch is filled up, so that one size is compiled.
        frames = [start + min(i, len(batch) - 1) for i in range(BATCH)]
        density = np.stack([read_density(video, k, shape) for k in frames])
        rows = protocol.targets([fixated[k] for k in frames], [negatives(k) for k in frames], shape=shape,
                                seeds=[(number, k) for k in frames])
        for source in batch[0]:
            of = [maps_of_frame[source] for maps_of_frame in batch]
            of = stack_maps(of + of[-1:] * (BATCH - len(batch)), video)
            # What is not negative is below zero only where resizing overshoots.
            signed = (of.min(axis=(1, 2)) < 0) & (not protocol.normalised)
            scores = protocol.score(protocol.prepare(of, shape), density, **rows, signed=signed, metrics=protocol.metrics)
            results.setdefault(source, []).append({metric: x[:len(batch)] for metric, x in scores.items()})
        tick(len(batch))
    if protocol.first + count != video.frames:
        raise InputError(f'{video.name}: the number of maps is not {video.frames}, that of its frames')
    return {source: {metric: np.concatenate([r[metric] for r in of]).astype(np.float64) for metric in protocol.metrics}
            for source, of in results.items()}


def stack_maps(maps, video):
    maps = [np.asarray(m, np.float32) for m in maps]
    if maps[0].ndim != 2 or any(m.shape != maps[0].shape for m in maps) or not all(np.isfinite(m).all() for m in maps):
        raise InputError(f'{video.name}: its maps must be [h, w] of one size and finite; make them again')
    return np.stack(maps)


class FixationCache:
    """What `read_fixations` gives of each video of a set, as a sequence; read when it is asked for, and kept."""

    def __init__(self, videos, repeated):
        self._videos = videos
        self.read = functools.cache(lambda number: read_fixations(videos[number], repeated))

    def __len__(self):
        return len(self._videos)

    def __getitem__(self, number):
        """As `read`, but of a video that cannot be read, which is reported when it is scored, there are no frames."""
        if number >= len(self):
            raise IndexError(number)
        try:
            return self.read(number)
        except (InputError, OSError):
            return [], (1, 1)


def read_fixations(video, repeated=False):
    """The flat indices of each frame's fixated pixels, a list, none where they are missing; and the shape (h, w) of the frames.

    With `repeated` a pixel comes as often as it was fixated.
    """
    fixated, shape = [], None
    for k in range(video.frames):
        fixations = video.counts(k) if repeated else video.fixations(k)
        if fixations is not None and shape not in (None, fixations.shape):
            raise InputError(f'{video.name}, frame {k + 1}: fixations of {fixations.shape} after some of {shape}; fetch it again')
        shape = shape if fixations is None else fixations.shape
        places = np.zeros(0, np.int64) if fixations is None else np.flatnonzero(fixations)
        fixated.append(np.repeat(places, fixations.ravel()[places]) if repeated and len(places) else places)
    if shape is None:
        raise InputError(f'{video.name}: has no fixations at all; fetch its annotations')
    return fixated, shape


def read_density(video, k, shape):
    density = video.density(k)
    if density is None:
        return np.zeros(shape, np.float32)  # zero mass: undefined
    if density.shape != shape:
        raise InputError(f'{video.name}, frame {k + 1}: density of {density.shape}, fixations of {shape}; fetch it again')
    return np.float32(density)
