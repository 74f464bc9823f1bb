"""Scores the maps of many videos under a protocol: frame by frame, in batches, by several processes, resumed where it was interrupted."""
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm
from jaxtyping import Float, Int, Num, Shaped

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray
from stanet_jax.baselines import threshold
from stanet_jax.evaluation import protocols
from stanet_jax.evaluation.fixation_cache import FixationCache, read_density
from stanet_jax.evaluation.fixations import GazeVideo
from stanet_jax.evaluation.protocols import Protocol
from stanet_jax.evaluation.results import FailedVideo, SetScores, VideoScores
from stanet_jax.workdir import replace_text
from stanet_jax.workers import pool

BATCH = 4  # maps that are scored at once; more do not fit a CPU's cache and take twice as long
PICTURES = 16  # videos of one frame that are read at once, to be scored in batches of one size

FrameMaps = Mapping[str, Num[AnyArray, 'h w'] | None]  # {kind: map} of a frame; None where it is not scored
MapsOfVideo = Callable[[Any], Iterable[FrameMaps]]  # gives those of each frame of a video, in order; may raise InputError

# ----------------------------------------------------------------------------------------------------------- sets of videos


def score(maps_of_video: Callable[[Any], Iterable[Num[AnyArray, 'h w'] | None]], videos: Sequence[GazeVideo], protocol: Protocol,
          name: str = 'maps') -> SetScores:
    """Scores one map for each frame of many videos.

    A video that cannot be read, or whose maps cannot, is listed as failed and left out of the means.

    Args:
        maps_of_video: gives the maps of a video, one for each frame from the first on, None for a frame that is not scored, which are
            read one at a time; it may raise InputError.
        videos: of the set.
        protocol: one of `protocols.PROTOCOLS`.
        name: shown on the progress line.
    Raises:
        InputError: not one video can be scored.
    """
    return score_all(lambda video: ({name: map_} for map_ in maps_of_video(video)), videos, protocol, name)[name]


def score_all(maps_of_video: MapsOfVideo, videos: Sequence[GazeVideo], protocol: Protocol, name: str, cache: 'ScoreCache | None' = None,
              workers: int = 1, fixations: FixationCache | None = None) -> dict[str, SetScores]:
    """Scores several kinds of maps at once: {kind: scores}.

    Args:
        maps_of_video: gives {kind: map} for each frame of a video; frames before the protocol's first need no map.
        videos, protocol, name: as for `score`.
        cache: scores of earlier sessions are taken from it and new ones are added.
        workers: processes that score videos side by side; `maps_of_video` is pickled for them.
        fixations: of the videos, where one process has read some of them already.
    Raises:
        InputError: not one video can be scored.
    """
    scored, failed = cache.rows(name) if cache else {}, []
    todo = [number for number, video in enumerate(videos) if video.name not in scored]
    frames = [max(video.frames - protocol.first, 0) for video in videos]
    done = sum(frames) - sum(frames[number] for number in todo)
    with tqdm.tqdm(total=sum(frames), initial=done, desc=name, unit='frame', mininterval=1) as progress:
        parallel = workers > 1 and len(todo) > 1
        if parallel:
            outcomes = score_in_processes(maps_of_video, videos, protocol, todo, min(workers, len(todo)))
        else:
            fixations = FixationCache(videos, protocol.repeated) if fixations is None else fixations
            outcomes = (outcome for job in split_jobs(videos, todo)
                        for outcome in score_job(maps_of_video, videos, protocol, fixations, job, progress.update))
        for number, rows, why in outcomes:
            video = videos[number].name
            if rows is None:
                failed.append(FailedVideo(video, why))
            else:
                scored[video] = rows
                if cache:
                    cache.add(name, video, rows)
            if parallel:
                progress.update(frames[number])
    if not scored:
        raise InputError(f'{name}: no video could be scored; the first one: {failed[0].why if failed else "there is none"}')
    in_order = [scored[video.name] for video in videos if video.name in scored]
    return {kind: set_row([rows[kind] for rows in in_order], failed, protocol) for kind in in_order[0]}


def set_row(rows: list[VideoScores], failed: list[FailedVideo], protocol: Protocol) -> SetScores:
    """The scores of a set, by the protocol's average of its videos' scores."""
    def average(metric):
        return protocol.average([row.scores[metric] for row in rows], [row.frames - row.undefined[metric] for row in rows])
    return SetScores(frames=sum(row.frames for row in rows), scores={metric: average(metric) for metric in protocol.metrics},
                     undefined={metric: sum(row.undefined[metric] for row in rows) for metric in protocol.metrics},
                     failed=failed, videos=rows)


class Outcome(NamedTuple):
    """What became of one video of a list.

    Attributes:
        number: the video's place in the list.
        rows: {kind of maps: scores}; None where the video cannot be scored.
        why: the reason where it cannot, else ''.
    """
    number: int
    rows: dict[str, VideoScores] | None
    why: str = ''


def split_jobs(videos: Sequence[GazeVideo], todo: Sequence[int]) -> list[list[int]]:
    """The places `todo` of `videos`, in order, as lists that are scored together: each video alone, but up to PICTURES of one frame."""
    jobs: list[list[int]] = []
    for number in todo:
        if jobs and len(jobs[-1]) < PICTURES and videos[number].frames == videos[jobs[-1][0]].frames == 1:
            jobs[-1].append(number)
        else:
            jobs.append([number])
    return jobs


def score_job(maps_of_video: MapsOfVideo, videos: Sequence[GazeVideo], protocol: Protocol, fixations: FixationCache,
              job: Sequence[int], tick: Callable[[int], Any]) -> Iterator[Outcome]:
    """Scores the videos at places of `videos` that are a list of `split_jobs`; `tick(n)` is called after each n frames."""
    if videos[job[0]].frames == 1 and not protocol.first:
        yield from score_pictures(maps_of_video, videos, protocol, fixations, job, tick)
    else:
        yield from (score_one(maps_of_video, videos, protocol, fixations, number, tick) for number in job)


def score_one(maps_of_video: MapsOfVideo, videos: Sequence[GazeVideo], protocol: Protocol, fixations: FixationCache, number: int,
              tick: Callable[[int], Any]) -> Outcome:
    """Scores the video at place `number` of `videos`; `tick(n)` is called after each n frames."""
    video = videos[number]
    try:
        tables = score_video(maps_of_video(video), video, protocol, fixations, number, tick)
        return Outcome(number, {kind: video_row(video.name, table) for kind, table in tables.items()})
    except (InputError, OSError) as error:
        return Outcome(number, None, str(error))


def score_in_processes(maps_of_video: MapsOfVideo, videos: Sequence[GazeVideo], protocol: Protocol, todo: Sequence[int],
                       workers: int) -> Iterator[Outcome]:
    """Scores the videos at the places `todo` of `videos` by several processes, in the order in which they are done."""
    common = maps_of_video, videos, protocol.name, protocol.thresholds
    with pool(workers, _begin, common) as of_workers:
        for job in concurrent.futures.as_completed([of_workers.submit(_score, numbers) for numbers in split_jobs(videos, todo)]):
            yield from job.result()


def _begin(maps_of_video, videos, name, thresholds):
    """Sets a worker up with what its jobs have in common, on one thread of the CPU, whatever accelerator there is."""
    jax.config.update('jax_platforms', 'cpu')
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
    protocol = protocols.choose_protocol(name, thresholds)
    global _score_job
    cache = FixationCache(videos, protocol.repeated)
    _score_job = functools.partial(score_job, maps_of_video, videos, protocol, cache, tick=lambda n: None)


def _score(numbers):
    return list(_score_job(numbers))


class ScoreCache:
    """The scores of videos that are done, in a file with a line for each, so that an interrupted evaluation is resumed."""

    def __init__(self, path: str | os.PathLike, evaluation: Mapping[str, Any]):
        """Reads the scores of the same evaluation from a file, if it is there; those of any other are discarded.

        Args:
            path: of the file.
            evaluation: what identifies the evaluation, as JSON can hold it.
        """
        self.path, self._head, self._lines, self._begun = pathlib.Path(path), json.dumps(evaluation), [], False
        if self.path.exists():
            first, *lines = self.path.read_text().splitlines() or ['']
            if first == self._head:
                self._lines = [json.loads(line) for line in lines if line.endswith('}')]  # a kill may leave half a line
                print(f'{self.path}: goes on after {len(self._lines)} videos')

    def rows(self, name: str) -> dict[str, dict[str, VideoScores]]:
        """The scores that were added under a name before, {video: {kind of maps: scores}}."""
        return {line['video']: {kind: VideoScores(**row) for kind, row in line['rows'].items()}
                for line in self._lines if line['name'] == name}

    def add(self, name: str, video: str, rows: Mapping[str, VideoScores]) -> None:
        """Adds the scores {kind of maps: scores} of a video under a name."""
        if not self._begun:
            replace_text(self.path, '\n'.join([self._head, *map(json.dumps, self._lines)]) + '\n')
            self._begun = True
        line = {'name': name, 'video': video, 'rows': {kind: dataclasses.asdict(row) for kind, row in rows.items()}}
        with open(self.path, 'a') as file:
            file.write(json.dumps(line) + '\n')


# --------------------------------------------------------------------------------------------------------------- one video


def score_video(maps: Iterable[FrameMaps], video: GazeVideo, protocol: Protocol, fixations: FixationCache, number: int,
                tick: Callable[[int], Any]) -> dict[str, dict[str, Float[np.ndarray, ' n']]]:
    """The scores of each frame of a video from the protocol's first on, {kind of maps: {metric: scores}}.

    Args:
        maps: {kind: map} of each frame of the video; one where a kind has None is not scored.
        fixations: of the set, in which the video has the place `number`, which also seeds the draws of negatives.
        tick: called with n after each n frames.
    Raises:
        InputError: the video is too short for the protocol, has no fixations, or its maps are not one for each frame, of one size and
            finite.
    """
    if video.frames <= protocol.first:
        raise InputError(f'{video.name}: has {video.frames} frames; the protocol scores from frame {protocol.first + 1} on')
    fixated, shape = fixations.read(number)
    negatives, count, ticked = protocol.negatives(fixations, number), 0, protocol.first
    scores_of: dict[str, list[dict[str, np.ndarray]]] = {}

    def scored():
        nonlocal count
        for k, maps_of_frame in enumerate(maps):
            count = k + 1
            if protocol.first <= k < video.frames and all(map_ is not None for map_ in maps_of_frame.values()):
                yield k, maps_of_frame

    there = scored()
    while found := list(itertools.islice(there, BATCH)):
        frames, batch = zip(*found, strict=True)
        density = np.stack([read_density(video, k, shape) for k in frames])
        stacks = {kind: stack_maps([maps_of_frame[kind] for maps_of_frame in batch], video.name) for kind in batch[0]}
        scores = score_frames(stacks, density, [fixated[k] for k in frames], [negatives(k) for k in frames],
                              [(number, k) for k in frames], protocol)
        for kind, of_kind in scores.items():
            scores_of.setdefault(kind, []).append(of_kind)
        tick(frames[-1] + 1 - ticked)
        ticked = frames[-1] + 1
    if count != video.frames:
        raise InputError(_wrong_number(video))
    if not scores_of:
        raise InputError(f'{video.name}: no frame that is scored has a map; see --protocol, which leaves frames out')
    tick(count - ticked)
    return {kind: {metric: np.concatenate([scores[metric] for scores in batches]) for metric in protocol.metrics}
            for kind, batches in scores_of.items()}


def score_frames(stacks: Mapping[str, Float[np.ndarray, 'b h w']], density: Float[np.ndarray, 'b h2 w2'],
                 fixated: Sequence[Int[np.ndarray, ' _']], negatives: Sequence[Int[np.ndarray, ' _']],
                 seeds: Sequence[tuple[int, int]], protocol: Protocol) -> dict[str, dict[str, Float[np.ndarray, ' b']]]:
    """The scores of b frames of one size, at most BATCH, {kind of maps: {metric: scores}}.

    Args:
        stacks: {kind: maps}.
        density: of the fixations.
        fixated, negatives, seeds: of each frame, see `metrics.targets`.
    """
    b, shape = len(density), density.shape[1:]
    density, fixated, negatives, seeds = (_fill(x) for x in (density, fixated, negatives, seeds))
    targets = protocol.targets(fixated, negatives, seeds=seeds)
    found = {}
    for kind, maps in stacks.items():
        stack = _fill(maps)
        # A map that is not negative falls below zero only where resizing overshoots.
        signed = (stack.min(axis=(1, 2)) < 0) & (not protocol.normalised)
        for row, prepared in threshold_maps(kind, protocol.prepare(stack, shape), protocol.thresholds).items():
            scores = protocol.score(prepared, density, **targets, signed=signed & (not protocol.thresholds),
                                    metrics=protocol.metrics)
            found[row] = {metric: np.asarray(scores[metric])[:b].astype(np.float64) for metric in protocol.metrics}
    return found


def _fill(rows):
    """Rows of a batch, the last one repeated up to the one number that is compiled."""
    more = BATCH - len(rows)
    if isinstance(rows, np.ndarray):
        return np.concatenate([rows, *[rows[-1:]] * more]) if more else rows
    return [*rows, *[rows[-1]] * more]


def threshold_maps(kind: str, maps: Float[AnyArray, 'b h w'], levels: Sequence[float]) -> dict[str, Float[AnyArray, 'b h w']]:
    """The maps of a kind, ready to be scored, at each of the levels, {row: maps}, see `baselines.threshold`; as they are of no levels."""
    return {f'{kind}, threshold {level:g}': threshold(maps, level) for level in levels} or {kind: maps}


def score_pictures(maps_of_video: MapsOfVideo, videos: Sequence[GazeVideo], protocol: Protocol, fixations: FixationCache,
                   numbers: Sequence[int], tick: Callable[[int], Any]) -> Iterator[Outcome]:
    """Scores the videos of one frame at some places of `videos`, those of one size in batches; arguments as `score_job`."""
    groups: dict[Any, list[tuple[int, dict[str, Float[np.ndarray, 'h w']], Float[np.ndarray, 'h2 w2']]]] = {}
    for number in numbers:
        video = videos[number]
        try:
            shape = fixations.read(number).shape
            maps = list(itertools.islice(maps_of_video(video), 2))
            if len(maps) != 1:
                raise InputError(_wrong_number(video))
            stacks, density = {kind: stack_maps([map_], video.name)[0] for kind, map_ in maps[0].items()}, read_density(video, 0, shape)
        except (InputError, OSError) as error:
            yield Outcome(number, None, str(error))
        else:
            groups.setdefault((shape, *((kind, map_.shape) for kind, map_ in stacks.items())), []).append((number, stacks, density))
    for group in groups.values():
        for start in range(0, len(group), BATCH):
            places, maps_of, densities = zip(*group[start:start + BATCH], strict=True)
            scores = score_frames({kind: np.stack([maps[kind] for maps in maps_of]) for kind in maps_of[0]}, np.stack(densities),
                                  [fixations.read(number).fixated[0] for number in places],
                                  [protocol.negatives(fixations, number)(0) for number in places], [(n, 0) for n in places], protocol)
            for k, number in enumerate(places):
                rows = {kind: video_row(videos[number].name, {metric: x[k:k + 1] for metric, x in of_kind.items()})
                        for kind, of_kind in scores.items()}
                yield Outcome(number, rows)
            tick(len(places))


def _wrong_number(video):
    return f'{video.name}: the number of maps is not {video.frames}, that of its frames; make them anew'


def video_row(video: str, table: Mapping[str, Float[np.ndarray, ' n']]) -> VideoScores:
    """The scores of the video of that name, from {metric: its frames' scores}."""
    return VideoScores(video=video, frames=len(table['nss']), scores={metric: protocols.mean(x) for metric, x in table.items()},
                       undefined={metric: int(np.isnan(x).sum()) for metric, x in table.items()})


def stack_maps(maps: Sequence[Shaped[AnyArray, '...'] | None], video: str) -> Float[np.ndarray, 'b h w']:
    """The maps as one array; InputError, which names the video, where they are not [h, w] of one size and finite."""
    arrays = [np.asarray(m, np.float32) for m in maps]
    if arrays[0].ndim != 2 or any(m.shape != arrays[0].shape for m in arrays) or not all(np.isfinite(m).all() for m in arrays):
        raise InputError(f'{video}: its maps must be [h, w] of one size and finite; make them again')
    return np.stack(arrays)
