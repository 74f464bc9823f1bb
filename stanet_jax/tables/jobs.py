"""Where ours in a row come from: maps that are scored together, the folders that they need, and what makes these."""
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from stanet_jax.evaluation.fixations import SetVideo
from stanet_jax.evaluation.map_sources import FilmVideo, open_map_folders, student_maps
from stanet_jax.evaluation.protocols import Protocol
from stanet_jax.evaluation.references import reference_rows
from stanet_jax.evaluation.results import SetScores
from stanet_jax.evaluation.scoring import ScoreCache, score_all
from stanet_jax.inference import CLASS_MAPS
from stanet_jax.inference.films import FilmPredictor
from stanet_jax.inference.opening import open_predictor
from stanet_jax.media.moments import moments_of_frames
from stanet_jax.pipeline.table import STUDENT_ROWS, stage_folders
from stanet_jax.pipeline.variants import VARIANTS, maps_stage, variant_folders
from stanet_jax.tables.paper import Line, Method, Ours, Reference, Student
from stanet_jax.tables.place import Place, VideoSet, run_field, state_of

# Scores the maps of a set under a protocol, {name of a row: scores}; scores of videos that are done are kept.
Score = Callable[[VideoSet, Protocol, ScoreCache], Mapping[str, SetScores]]


class Known(NamedTuple):
    """Scores that a run of the pipeline has itself, and the seconds that it took.

    Attributes:
        path: its `scores.json`.
        row: in it; '' for the first one.
        stages: the run's folder, whose `stages.json` says how long it took.
        stage: those of its stages whose names begin so.
    """
    path: pathlib.Path
    row: str
    stages: pathlib.Path
    stage: str


class Job(NamedTuple):
    """Maps that are scored together.

    Attributes:
        key: name of the file of their scores.
        row: which of them is meant.
        inputs: folders that must be there.
        command: what makes those folders.
        score: scores the maps; None where only `known` has them.
        known: where a run may have the scores itself.
        about: what the scores depend on.
        levels: of thresholds.
    """
    key: str
    row: str
    inputs: tuple[pathlib.Path, ...] = ()
    command: str = ''
    score: Score | None = None
    known: Known | None = None
    about: tuple[Any, ...] = ()
    levels: tuple[float, ...] = ()

    def missing(self) -> list[pathlib.Path]:
        """The inputs that are not there."""
        return [path for path in self.inputs if not path.exists()]


def job_of(ours: Ours, place: Place, levels: Sequence[float] = (), training: str = '') -> Job | None:
    """The job that a row's figures are of; None for what is not of fixations, or cannot be had.

    Args:
        ours: where the row's figures come from.
        place: of the data and the runs.
        levels: thresholds that a table has, which are scored together.
        training: the command that trains what the table lacks.
    """
    if isinstance(ours, Method):
        return _method(ours, place, levels)
    if isinstance(ours, Reference):
        return Job('references', ours.name, score=functools.partial(_score_references, place))
    if isinstance(ours, Student):
        return _students(ours, place)
    if isinstance(ours, Line):
        folder = place.run / 'variants' / ours.variant
        known = Known(folder / 'scores' / 'scores.json', '', place.run, f'variants/{ours.variant}/')
        return _of_runs(f'line_{ours.variant}', 'STA', (folder / 'student',), place, known, training)
    return None


def maps_of_line(ours: Line, place: Place) -> Job:
    """The job of a line's maps themselves, made with the tag, which are of the videos of the run's own data alone."""
    row, folders = VARIANTS[ours.variant].name, variant_folders(ours.variant, stage_folders(place.run), place.run / 'variants')
    known = Known(place.run / 'scores' / 'scores.json', row, place.run, 'scores')
    folder, own = folders[maps_stage(ours.variant)], place.is_data(run_field(place.run, 'data', 'root') or '')
    score = functools.partial(_score_maps, place, row, folder / 'test') if own else None
    return Job(f'maps_{ours.variant}', row, (folder / 'test',), '', score, known, state_of(folder))


def _method(ours, place, levels):
    run = place.run / 'coarse' / 'S' if ours.name in CLASS_MAPS else None
    samples = place.samples if ours.name == 'ss_cam' else 0
    key = f'{ours.name}_{samples}' if samples else ours.name
    row = f'{ours.name}, threshold {ours.threshold:g}' if ours.threshold is not None else ours.name
    score = functools.partial(_score_frames, place, functools.partial(open_predictor, [run] if run else [], ours.name, samples=samples),
                              ours.name)
    chosen = tuple(levels) if ours.threshold is not None else ()
    return Job(key + '_thresholds' * bool(chosen), row, (run,) if run else (), _pipeline(place), score,
               about=state_of(run) if run else (), levels=chosen)


def _students(ours, place):
    plus, sta = place.run / 'sta_plus', place.run / 'sta'
    nets = run_field(plus, 'nets') or ()
    runs = (sta,) if not nets and ours.map == 'STA' else (plus,) if 'STA' in nets else (sta, plus)
    known = Known(place.run / 'scores' / 'scores.json', STUDENT_ROWS[ours.map], place.run, runs[-1].name)
    return _of_runs('students' if plus in runs else 'sta', ours.map, runs, place, known, _pipeline(place))


def _of_runs(key, row, runs, place, known, command):
    score = functools.partial(_score_students, place, functools.partial(open_predictor, list(runs)))
    return Job(key, row, tuple(runs), command, score, known, tuple(state_of(run) for run in runs))


def _pipeline(place):
    own = f' --config.data.root={place.data}' if (place.data / 'settings.json').exists() else ''  # SynthAVE; others are to score on
    return f'stanet run --config=stanet{own} --workdir={place.run}'


# ---------------------------------------------------------------------------------------------------------------- scoring


def chosen_frames(place: Place, first: int, frames: int) -> range:
    """The frames of a video of so many that are scored, from the protocol's first on."""
    return range(first, frames, place.every)


def frame_by_frame(method: FilmPredictor, name: str, place: Place, first: int,
                   video: FilmVideo) -> Iterator[dict[str, Float[np.ndarray, 'h w'] | None]]:
    """Yields {name: map} of each frame of a video, by a method that looks at frames alone; None for those that are not scored."""
    chosen = chosen_frames(place, first, video.frames)
    moments = moments_of_frames(map(video.frame, chosen), None, video.fps, method.side, method.front_end)
    maps = (np.asarray(map_) for _, of in method.predict_blocks(moments, video.fps) for map_ in next(iter(of.values())))
    for k in range(video.frames):
        yield {name: next(maps) if k in chosen else None}


def _score_frames(place, opened, name, found, protocol, cache):
    maps = functools.partial(frame_by_frame, opened(), name, place, protocol.first)
    return score_all(maps, found.videos, protocol, name, cache)


def _score_students(place, opened, found, protocol, cache):
    return _score_chosen(place, student_maps(opened(), found.videos), 'students', found, protocol, cache)


def _score_maps(place, row, folder, found, protocol, cache):
    maps = open_map_folders({row: folder}, found.videos, protocol.first)
    return _score_chosen(place, maps.maps_of_video, row, found, protocol, cache)


def _score_chosen(place, maps_of_video, name, found, protocol, cache):
    def maps(video: SetVideo) -> Iterator[Mapping[str, Float[np.ndarray, 'h w'] | None]]:
        chosen = chosen_frames(place, protocol.first, video.frames)
        for k, of_frame in enumerate(maps_of_video(video)):
            yield of_frame if k in chosen else dict.fromkeys(of_frame)

    return score_all(maps, found.videos, protocol, name, cache)


def _score_references(place, found, protocol, cache):
    del cache  # they take seconds
    frames = {video.name: chosen_frames(place, protocol.first, video.frames) for video in found.videos}
    return reference_rows(place.data, found.videos, protocol, frames.__getitem__)
