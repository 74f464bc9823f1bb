"""Scores of a table's rows: those that a run has itself, those that are kept in the workdir, and scoring what is missing."""
import dataclasses
import functools
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stanet_jax import InputError
from stanet_jax.evaluation import fixations, pysaliency_door
from stanet_jax.evaluation.protocols import choose_protocol
from stanet_jax.evaluation.scoring import ScoreCache
from stanet_jax.evaluation.tables import without_nan
from stanet_jax.tables.jobs import Job
from stanet_jax.tables.place import Place, VideoSet
from stanet_jax.workdir import replace_text


class Found(NamedTuple):
    """The scores of a row.

    Attributes:
        scores: {column: score}, None where it is undefined.
        left_out: share of the frames whose CC is undefined; 0 for masks.
        frames: that are scored.
        videos: that are scored.
        key: of what was scored together.
        seconds: that it took, training included where the run says so.
    """
    scores: Mapping[str, float | None]
    left_out: float
    frames: int
    videos: int
    key: str
    seconds: float


@functools.lru_cache(maxsize=8)
def open_sets(place: Place) -> list[VideoSet]:
    """The fixation sets that are scored; InputError where one is not there."""
    if pysaliency_door.is_set(place.data):
        of = pysaliency_door.open_set(place.data, '')
        return [VideoSet(of.name, of.videos[:place.videos or None])]
    if not place.data.exists():
        raise InputError(f'--data={place.data}: is not there; make SynthAVE by `stanet data synthave --out={place.data}`, or give --train')
    names = place.sets or tuple(fixations.list_folders(place.data / 'annotations')) or ('',)
    found = [fixations.open_set(place.data, name) for name in names]
    return [VideoSet(of.name, of.videos[:place.videos or None]) for of in found]


def find(job: Job, of: VideoSet, place: Place) -> Found | None:
    """The scores of a job's row on a set, of a run's own scores or of those in the workdir; None where there are none."""
    known = _of_run(job, of, place) if job.known and place.whole() and not job.levels else None
    if known:
        return known
    kept = read_kept(_file(job.key, of.name, place), _identity(job, of, place))
    if kept is None or job.row not in kept['rows']:
        return None
    return _found(kept['rows'][job.row], f'{of.name}/{job.key}', kept['seconds'])


def _of_run(job, of, place):
    path, row, stages, prefix = job.known
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    if content['protocol'] != of.protocol or content['set'] != of.name or not place.is_data(content['data']):
        return None
    scored = content['rows'].get(row or next(iter(content['rows'])))
    seconds = sum(took for stage, took in seconds_of(stages).items() if stage.startswith(prefix))
    return _found(scored, f'{path}', seconds) if scored else None


def seconds_of(run: pathlib.Path) -> dict[str, float]:
    """The seconds that each finished stage of a run took."""
    path = run / 'stages.json'
    return json.loads(path.read_text()) if path.exists() else {}


def _found(row, key, seconds):
    left_out = row['undefined'].get('cc', 0) / max(row['frames'], 1)
    return Found(row['scores'], left_out, row['frames'], len(row['videos']), key, seconds)


def score(job: Job, of: VideoSet, place: Place, title: str) -> None:
    """Scores a job's maps on a set and keeps the scores of all its rows; after an interruption it goes on with the next video.

    Args:
        job: one that can be scored, whose inputs are there.
        of: the set.
        place: of the data, the runs and the scores.
        title: printed before.
    """
    assert job.score is not None
    path, identity = _file(job.key, of.name, place), _identity(job, of, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    print(title, flush=True)
    partial = path.with_suffix('.partial')
    cache, start = ScoreCache(partial, identity), time.perf_counter()
    rows = job.score(of, choose_protocol(of.protocol, job.levels), cache)
    keep(path, identity, time.perf_counter() - start, {name: dataclasses.asdict(row) for name, row in rows.items()})
    partial.unlink(missing_ok=True)


def _file(key, set_name, place):
    return place.workdir / set_name / f'{key}.json'


def _identity(job, of, place):
    return {'protocol': of.protocol, 'thresholds': list(job.levels), 'data': os.path.realpath(place.data), 'set': of.name,
            'every': place.every, 'videos': len(of.videos), 'of': [list(of) if isinstance(of, tuple) else of for of in job.about]}


def read_kept(path: pathlib.Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `keep` wrote to a file, where it is of the same identity; None where it is of another one, or there is none."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError:
        raise InputError(f'{path}: is damaged; remove it, and it is made again') from None
    return content if content.get('identity') == identity else None


def keep(path: pathlib.Path, identity: Mapping[str, Any], seconds: float, rows: Mapping[str, Any]) -> None:
    """Writes rows of scores, what they depend on, and the seconds that they took."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(without_nan({'identity': identity, 'seconds': round(seconds, 1), 'rows': rows})) + '\n')


def once(path: pathlib.Path, identity: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> None:
    """Makes the rows of a file and keeps them, unless they are there."""
    if read_kept(path, identity) is None:
        start = time.perf_counter()
        rows = make()
        keep(path, identity, time.perf_counter() - start, rows)
