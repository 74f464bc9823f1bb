"""Sources of the maps that are scored: folders of files, and students."""
import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from stanet_jax import InputError
from stanet_jax.evaluation import protocols
from stanet_jax.evaluation.fixation_cache import FixationCache
from stanet_jax.evaluation.fixations import SetVideo
from stanet_jax.evaluation.map_files import MapReader, match_maps
from stanet_jax.evaluation.results import SetScores
from stanet_jax.evaluation.scoring import ScoreCache, score_all
from stanet_jax.inference.films import FilmPredictor
from stanet_jax.inference.predictor import Predictor
from stanet_jax.media.moments import moments_of_frames
from stanet_jax.media.overlay import MAP_NAMES, save_map, scale_map
from stanet_jax.scratch import hidden_name

SOUNDS = ('own', 'muted', 'other')  # that a student is given: the video's own, none, that of another video

# --------------------------------------------------------------------------------------------------------- folders of files


class FolderMaps(NamedTuple):
    """The maps of one or several folders, ready to be scored.

    Attributes:
        maps_of_video: reads them, as `scoring.score_all` takes it, and says which frames have one.
        videos: those that have maps in every folder.
        mismatched: lines on what does not match, of all folders.
    """
    maps_of_video: MapReader
    videos: list[SetVideo]
    mismatched: list[str]


def open_map_folders(folders: Mapping[str, str | os.PathLike], videos: Sequence[SetVideo], first: int = 0) -> FolderMaps:
    """Opens folders of maps {name: folder}; frames before `first` are not scored and need no map. InputError as `match_maps`."""
    matched = {name: match_maps(folder, videos, first) for name, folder in folders.items()}
    reader = MapReader({name: maps.found for name, maps in matched.items()})
    known = [video for video in videos if all(video.name in maps.found for maps in matched.values())]
    return FolderMaps(reader, known, [line for maps in matched.values() for line in maps.mismatched])


# ----------------------------------------------------------------------------------------------------------------- students


@runtime_checkable
class FilmVideo(Protocol):
    """A video that students can see and hear: a `fixations.Video`, or what has these members of it."""

    @property
    def name(self) -> str: ...

    @property
    def frames(self) -> int: ...

    @property
    def fps(self) -> float: ...

    def frame(self, k: int) -> UInt8[np.ndarray, 'h w 3']: ...

    def wave(self) -> Float[np.ndarray, ' n'] | None: ...


# Gives {name: map} for each frame of a video, in order.
StudentMaps = Callable[[FilmVideo], Iterator[Mapping[str, Float[np.ndarray, 'h w']]]]


def student_maps(students: FilmPredictor, videos: Sequence[FilmVideo], sound: str = 'own') -> StudentMaps:
    """The maps that students predict for a video, as `scoring.score_all` takes them; a few frames at a time are in memory.

    STA+ long takes its long-term fragments from the whole video, as in its training. A video of one frame, with which nothing is heard,
    goes through them together with those that follow it in the list.

    Args:
        students: whose maps, by their `names`, are given.
        videos: those of the set.
        sound: what the students hear: 'own', the video's sound; 'muted', nothing, as if the video had no sound; 'other', the sound of
            the next video of the set.
    """
    pictures = PictureMaps(students, videos)
    following = {video.name: after for video, after in zip(videos, [*videos[1:], *videos[:1]], strict=True)}

    def maps_of_video(video):
        wave = {'own': video.wave, 'other': following[video.name].wave, 'muted': lambda: None}[sound]()
        if video.frames == 1 and wave is None:
            yield pictures.of(video)
            return
        moments = moments_of_frames(map(video.frame, range(video.frames)), wave, video.fps, students.side, students.front_end)
        further = {}
        if isinstance(students, Predictor) and 'STA_long' in students.names:
            further = {'bank': students.whole_film_bank(video.frame, video.frames, wave, video.fps)}
        for block, predicted in students.predict_blocks(moments, video.fps, **further):
            maps = {name: np.asarray(of_block) for name, of_block in predicted.items()}
            yield from ({name: of_block[k] for name, of_block in maps.items()} for k in range(len(block)))
    return maps_of_video


class PictureMaps:
    """The maps of videos of one frame, without sound, which students predict several at a time."""

    AHEAD = 16  # videos that are predicted together

    def __init__(self, students: FilmPredictor, videos: Sequence[FilmVideo]):
        """The maps are asked for about in the order of `videos`."""
        self._students, self._videos = students, videos
        self._places = {video.name: place for place, video in enumerate(videos)}
        self._ready: dict[str, Mapping[str, Float[np.ndarray, 'h w']]] = {}

    def of(self, video: FilmVideo) -> Mapping[str, Float[np.ndarray, 'h w']]:
        """The maps {name: map} of a video of the list, of one frame; InputError where the frame cannot be read."""
        if video.name not in self._ready:
            here = self._places[video.name]
            self._predict(video, [v for v in self._videos[here + 1:here + self.AHEAD] if v.frames == 1 and v.name not in self._ready])
        return self._ready.pop(video.name)

    def _predict(self, first: FilmVideo, others: Sequence[FilmVideo]) -> None:
        names, frames = [first.name], [first.frame(0)]
        for video in others:
            try:
                frames.append(video.frame(0))
                names.append(video.name)
            except InputError:  # it is raised when the turn of that video comes
                pass
        self._ready.update(zip(names, self._students.predict_pictures(frames), strict=True))


def save_maps(maps_of_video: StudentMaps, name: str, folder: pathlib.Path, first: int,
              video: FilmVideo) -> Iterator[Mapping[str, Float[np.ndarray, 'h w']]]:
    """Yields the maps of a video's frames and writes those of one name as `<folder>/<video>/pred_sal_%06d.jpg`, min-maxed, 8 bit.

    Frames before `first`, which are not scored, are not written. The video's folder appears when all maps are written.
    """
    scratch = folder / hidden_name(video.name)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for k, maps in enumerate(maps_of_video(video)):
        if k >= first:
            save_map(scale_map(maps[name], maps[name].shape[::-1]), scratch / MAP_NAMES['stavis'].format(k + 1))
        yield maps
    shutil.rmtree(folder / video.name, ignore_errors=True)
    scratch.rename(folder / video.name)


def _has_sound(video):
    try:
        return video.wave() is not None
    except InputError:  # it is raised when that video is scored
        return True


def score_students(students: FilmPredictor, videos: Sequence[SetVideo], protocol: protocols.Protocol,
                   cache: ScoreCache | None = None, save: str | os.PathLike = '') -> dict[str, SetScores]:
    """Scores students with the videos' own sound, without sound and, where there are several videos, with another video's.

    Where no video has sound, or the students do not hear, the latter two are left out, as they would be the same. Rows of a single
    student are named by the sound, that of a method which does not hear by its name. Of three students there are a row for each, for both
    fusions, and, without their own sound, for STA and the final fusion.

    Args:
        students, videos: see `student_maps`.
        protocol, cache: see `scoring.score_all`.
        save: folder for the maps of the last of the students' `names`, predicted with the own sound, see `save_maps`; '' for none.
    Returns:
        {name of the row: scores}
    """
    rows: dict[str, SetScores] = {}
    gaze = FixationCache(videos, protocol.repeated)
    sounds = SOUNDS[:2 + (len(videos) > 1)]
    if not students.hears or not any(map(_has_sound, videos)):
        sounds = SOUNDS[:1]
        print('muted and with another sound the scores are the same: ' + ('no video has sound' if students.hears else 'nothing is heard'))
    for sound in sounds:
        chosen = students.names if sound == 'own' else dict.fromkeys((students.names[0], students.names[-1]))
        maps_of_video = student_maps(students, videos, sound)
        if save and sound == 'own':
            maps_of_video = functools.partial(save_maps, maps_of_video, students.names[-1], pathlib.Path(save), protocol.first)

        alone = sound if students.hears else students.names[0]
        rows_of = {name: alone if len(students.names) == 1 else name if sound == 'own' else f'{name}, {sound} sound' for name in chosen}

        def chosen_maps(video, maps_of_video=maps_of_video, rows_of=rows_of):
            return ({row: maps[name] for name, row in rows_of.items()} for maps in maps_of_video(video))

        rows |= score_all(chosen_maps, videos, protocol, sound, cache, fixations=gaze)
    return rows
