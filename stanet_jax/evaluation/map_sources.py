"""Sources of the maps that are scored: folders of files, and students."""
import functools
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import PIL.Image
from jaxtyping import Float, Num, UInt8

from stanet_jax import InputError
from stanet_jax.evaluation import fixations, protocols
from stanet_jax.evaluation.fixations import GazeVideo
from stanet_jax.evaluation.results import SetScores
from stanet_jax.evaluation.scoring import ScoreCache, score_all
from stanet_jax.inference.films import FilmPredictor
from stanet_jax.media.moments import moments_of_frames
from stanet_jax.media.overlay import MAP_NAMES
from stanet_jax.workdir import hidden_name

SOUNDS = ('own', 'muted', 'other')  # that a student is given: the video's own, none, that of another video

# --------------------------------------------------------------------------------------------------------- folders of files


def find_map_files(folder: pathlib.Path, frames: int, first: int) -> Sequence[pathlib.Path | None]:
    """The files of a video's maps, in the order of their numbers.

    They are `<folder>/maps/eyeMap_%05d.png` (or jpg), or else all images in the folder. Frames before `first`, counted from 0, are not
    scored and may lack a map: if there are fewer files than `frames`, and their numbers, counted from 1, are those of the last frames,
    the list begins with None for each frame that has none.
    """
    inside = [path for path in (folder / 'maps').glob('eyeMap_*') if path.suffix in ('.png', '.jpg')]
    inside = inside or [path for path in folder.iterdir() if path.suffix.lower() in ('.png', '.jpg', '.jpeg') and path.name[0] != '.']
    files = sorted(inside, key=lambda path: [int(x) if x.isdecimal() else x for x in re.split(r'(\d+)', path.name)])
    numbers, start = [int((re.findall(r'\d+', path.stem) or [0])[-1]) for path in files], frames - len(files)
    return [*[None] * start, *files] if 0 < start <= first and numbers == list(range(start + 1, frames + 1)) else files


class MatchedMaps(NamedTuple):
    """The maps of a folder that belong to videos of a set.

    Attributes:
        files: {video's name: the files of its maps, None for a frame that needs none}.
        mismatched: lines on videos without a map for each frame, and on maps of no video.
    """
    files: dict[str, Sequence[pathlib.Path | None]]
    mismatched: list[str]


def match_maps(folder: str | os.PathLike, videos: Sequence[GazeVideo], first: int = 0) -> MatchedMaps:
    """Finds the maps of a set's videos in a folder; frames before `first` need none.

    Raises:
        InputError: no such folder, or no video has all its maps there.
    """
    if not pathlib.Path(folder).is_dir():
        raise InputError(f'--maps={folder}: no such folder; give the one that holds <video>/maps/eyeMap_%05d.png')
    there = fixations.list_folders(pathlib.Path(folder))
    files, lines = {}, []
    for video in videos:
        found = find_map_files(there[video.name], video.frames, first) if video.name in there else []
        if len(found) == video.frames:
            files[video.name] = found
        else:
            lines.append(f'{video.name}: {len(found)} maps for {video.frames} frames' if found else f'{video.name}: no maps')
    known = {video.name for video in videos}
    lines += [f'{name}: maps, but not in the set' for name in there if name not in known]
    if not files:
        raise InputError(f'--maps={folder}: the maps of no video match the set; the first: {lines[0]}')
    return MatchedMaps(files, lines)


class FolderMaps(NamedTuple):
    """The maps of one or several folders, ready to be scored.

    Attributes:
        maps_of_video: reads them, as `scoring.score_all` takes it.
        videos: those that have all their maps in every folder.
        mismatched: lines on what does not match, of all folders.
    """
    maps_of_video: Callable[[GazeVideo], Iterator[dict[str, Num[np.ndarray, 'h w'] | None]]]
    videos: list[fixations.Video]
    mismatched: list[str]


def open_map_folders(folders: Mapping[str, str | os.PathLike], videos: Sequence[fixations.Video], first: int = 0) -> FolderMaps:
    """Opens folders of maps {name: folder}; frames before `first` are not scored and need no map. InputError as `match_maps`."""
    matched = {name: match_maps(folder, videos, first) for name, folder in folders.items()}
    files = {name: maps.files for name, maps in matched.items()}
    complete = [video for video in videos if all(video.name in of_folder for of_folder in files.values())]
    return FolderMaps(functools.partial(read_maps, files), complete, [line for maps in matched.values() for line in maps.mismatched])


def read_maps(files: Mapping[str, Mapping[str, Sequence[pathlib.Path | None]]],
              video: GazeVideo) -> Iterator[dict[str, Num[np.ndarray, 'h w'] | None]]:
    """Yields {name: map} for each frame of a video from `files` {name: {video's name: paths}}; None where there is no path."""
    for paths in zip(*(of_folder[video.name] for of_folder in files.values()), strict=True):
        yield {name: path and fixations.read_image(path, 'L') for name, path in zip(files, paths, strict=True)}


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

    A video of one frame, with which nothing is heard, goes through them together with those that follow it in the list.

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
        for block, predicted in students.predict_blocks(moments, video.fps):
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
            low, high = maps[name].min(), maps[name].max()
            levels = np.uint8(np.rint((maps[name] - low) * (255 / (high - low) if high > low else 0)))
            PIL.Image.fromarray(levels).save(scratch / MAP_NAMES['stavis'].format(k + 1), quality=95)
        yield maps
    shutil.rmtree(folder / video.name, ignore_errors=True)
    scratch.rename(folder / video.name)


def _has_sound(video):
    try:
        return video.wave() is not None
    except InputError:  # it is raised when that video is scored
        return True


def score_students(students: FilmPredictor, videos: Sequence[fixations.Video], protocol: protocols.Protocol,
                   cache: ScoreCache | None = None, save: str | os.PathLike = '') -> dict[str, SetScores]:
    """Scores students with the videos' own sound, without sound and, where there are several videos, with another video's.

    Where no video has sound, or the students do not hear, the latter two are left out, as they would be the same. Rows of a single
    student are named by the sound. Of three students there are a row for each, for both fusions, and, without their own sound, for STA
    and the final fusion.

    Args:
        students, videos: see `student_maps`.
        protocol, cache: see `scoring.score_all`.
        save: folder for the maps of the last of the students' `names`, predicted with the own sound, see `save_maps`; '' for none.
    Returns:
        {name of the row: scores}
    """
    rows, sounds = {}, SOUNDS[:2 + (len(videos) > 1)]
    if not students.hears or not any(map(_has_sound, videos)):
        sounds = SOUNDS[:1]
        print('muted and with another sound the scores are the same: ' + ('no video has sound' if students.hears else 'nothing is heard'))
    for sound in sounds:
        chosen = students.names if sound == 'own' else dict.fromkeys((students.names[0], students.names[-1]))
        maps_of_video = student_maps(students, videos, sound)
        if save and sound == 'own':
            maps_of_video = functools.partial(save_maps, maps_of_video, students.names[-1], pathlib.Path(save), protocol.first)

        def chosen_maps(video, maps_of_video=maps_of_video, chosen=chosen):
            return ({name: maps[name] for name in chosen} for maps in maps_of_video(video))

        for name, row in score_all(chosen_maps, videos, protocol, sound, cache).items():
            rows[sound if len(students.names) == 1 else name if sound == 'own' else f'{name}, {sound} sound'] = row
    return rows
