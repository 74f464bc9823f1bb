"""Maps of anybody in files: which are whose, of which frames, and reading them.

    <video>/maps/eyeMap_%05d.png    or under any other names that have a number, in <video>/maps or <video>: .png, .jpg, .jpeg, .npy
    <video>/<any>.mp4, <video>.mp4  a film of maps, one for each frame, of whatever FFmpeg reads
    <video>.png, .jpg, .jpeg, .npy  of a video of one frame

Maps may be of another size than the frames, of 8 or 16 bit or floats. Frames count from 0 in Python, from 1 in names and messages.
"""
import dataclasses
import os
import pathlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Num

from stanet_jax import InputError
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.fixations import GazeVideo
from stanet_jax.media.video import VIDEO_SUFFIXES, read_frames

SUFFIXES = frozenset(['.png', '.jpg', '.jpeg', '.npy'])


class FoundMaps(NamedTuple):
    """The files of a video's maps.

    Attributes:
        frames: those that have a map, rising.
        files: of each of them; or one film of all.
    """
    frames: Sequence[int]
    files: Sequence[pathlib.Path]


def find_maps(path: pathlib.Path, frames: int) -> FoundMaps:
    """The maps of a video of so many frames, in a folder or a file; InputError, which names the video, where it cannot be told whose."""
    places = [(folder, kind) for kind in (SUFFIXES, VIDEO_SUFFIXES) for folder in (path / 'maps', path)]
    files = [path] if path.is_file() else next(filter(None, (list_files(folder, kind) for folder, kind in places)), [])
    if not files:
        raise InputError(f'{path.name}: no maps')
    if files[0].suffix.lower() in VIDEO_SUFFIXES:
        if len(files) > 1:
            raise InputError(f'{path.name}: {len(files)} films of maps, as {files[0].name} and {files[1].name}; leave one')
        return FoundMaps(range(frames), files)
    numbers = [0] if len(files) == frames == 1 else number_files([file.stem for file in files], frames, path.name)
    order = np.argsort(numbers)
    return FoundMaps([numbers[k] for k in order], [files[k] for k in order])


def list_files(folder: pathlib.Path, suffixes: Container[str]) -> list[pathlib.Path]:
    """The files of some suffixes in a folder without the hidden ones, sorted; none where there is no such folder."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in inside if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith('.')]


def number_files(stems: Sequence[str], frames: int, video: str) -> list[int]:
    """The frame that each file's map is of, by the number in its name that differs from file to file.

    As many files as frames are all of them in order, whatever their numbers begin with. Of fewer, the numbers count from 1, or from 0
    where one is 0.

    Raises:
        InputError: names have no such number, or more than one; or there are other frames than the video's `frames`.
    """
    found = [[int(number) for number in re.findall(r'\d+', stem)] for stem in stems]
    if len(set(map(len, found))) > 1:  # of names that differ in form the last number
        found = [numbers[-1:] or [-1] for numbers in found]
    columns = [column for column in zip(*found, strict=True) if len(set(column)) == len(column) and min(column) >= 0]
    if not columns:
        raise InputError(f'{video}: {len(stems)} maps for {frames} frames, and no number that differs from name to name; number them, as '
                         'eyeMap_00001.png')
    if len(stems) == frames:
        ranks = {tuple(np.argsort(np.argsort(column)).tolist()) for column in columns}
    else:
        ranks = {tuple(number - (min(column) > 0) for number in column) for column in columns if max(column) - (min(column) > 0) < frames}
    if not ranks:
        raise InputError(f'{video}: {len(stems)} maps for {frames} frames, whose numbers are {min(columns[-1])} to {max(columns[-1])}')
    if len(ranks) > 1:
        raise InputError(f'{video}: maps with two numbers in their names, as {stems[0]}; leave that of the frame')
    return list(ranks.pop())


class MatchedMaps(NamedTuple):
    """The maps of a folder that belong to videos of a set.

    Attributes:
        found: {video's name: its maps}.
        mismatched: lines on frames without a map, on videos without maps, and on maps of no video.
    """
    found: dict[str, FoundMaps]
    mismatched: list[str]


def match_maps(folder: str | os.PathLike, videos: Sequence[GazeVideo], first: int = 0) -> MatchedMaps:
    """Finds the maps of a set's videos in a folder; frames before `first` are not scored and need none.

    Raises:
        InputError: no such folder, or no video has maps there.
    """
    if not pathlib.Path(folder).is_dir():
        raise InputError(f'--maps={folder}: no such folder; give the one that holds <video>/maps/eyeMap_%05d.png')
    there = {fixations.normalise_name(path.stem): path for path in list_files(pathlib.Path(folder), SUFFIXES | VIDEO_SUFFIXES)}
    there |= fixations.list_folders(pathlib.Path(folder))
    found, lines = {}, []
    for video in videos:
        try:
            if video.name not in there:
                raise InputError(f'{video.name}: no maps')
            maps = find_maps(there[video.name], video.frames)
            scored = [k for k in maps.frames if k >= first]
            if not scored:
                raise InputError(f'{video.name}: maps of frames {describe_frames(maps.frames)} alone; the protocol scores from frame '
                                 f'{first + 1} on')
        except InputError as error:
            lines.append(str(error))
            continue
        found[video.name] = maps
        if len(scored) < video.frames - first:
            lines.append(f'{video.name}: {video.frames - first - len(scored)} of {video.frames - first} frames, without a map; scored are '
                         f'{describe_frames(scored)}')
    known = {video.name for video in videos}
    lines += [f'{name}: maps, but not in the set' for name in there if name not in known]
    if not found:
        raise InputError(f'--maps={folder}: the maps of no video match the set; the first: {lines[0]}')
    return MatchedMaps(found, lines)


def describe_frames(frames: Sequence[int], most: int = 6) -> str:
    """Frames, which count from 0, in words and from 1: '9 to 60', '1, 31 ... 241', '2, 5, 7 to 12'; `most` such parts."""
    parts: list[str] = []
    rest = [k + 1 for k in frames]
    while rest:
        step = rest[1] - rest[0] if len(rest) > 1 else 1
        run = next((k for k in range(1, len(rest)) if rest[k] - rest[k - 1] != step), len(rest))
        run = 1 if run == 2 and step > 1 else run
        words = str(rest[0]) if run == 1 else f'{rest[0]} to {rest[run - 1]}' if step == 1 else f'{rest[0]}, {rest[1]} ... {rest[run - 1]}'
        parts, rest = [*parts, words], rest[run:]
    return ', '.join(parts[:most]) + (f' and {len(parts) - most} more such' if len(parts) > most else '')


# ------------------------------------------------------------------------------------------------------------------ reading


@dataclasses.dataclass(frozen=True)
class MapReader:
    """Reads the maps of one or several folders, as `scoring.score_all` takes them; `found` is {name: {video's name: maps}}."""
    found: Mapping[str, Mapping[str, FoundMaps]]

    def frames(self, video: str) -> set[int]:
        """The frames of a video that have a map in every folder."""
        return set.intersection(*(set(of_folder[video].frames) for of_folder in self.found.values()))

    def made(self) -> int:
        """When the newest first map of a video was made, in nanoseconds."""
        return max(of_video.files[0].stat().st_mtime_ns for of_folder in self.found.values() for of_video in of_folder.values())

    def __call__(self, video: GazeVideo) -> Iterator[dict[str, Num[np.ndarray, 'h w'] | None]]:
        """Yields {name: map} for each frame of a video, None for a map that is not there; InputError where one cannot be read."""
        return (dict(zip(self.found, maps, strict=True)) for maps in
                zip(*(read_maps(of_folder[video.name], video.frames) for of_folder in self.found.values()), strict=True))


def read_maps(maps: FoundMaps, frames: int) -> Iterator[Num[np.ndarray, 'h w'] | None]:
    """Yields the map of each frame of a video, None where there is none.

    Raises:
        InputError: a file cannot be read, or a film has another number of frames.
    """
    if maps.files[0].suffix.lower() in VIDEO_SUFFIXES:
        count = 0
        for count, frame in enumerate(read_frames(maps.files[0]), 1):  # noqa: B007
            if count <= frames:
                yield frame.mean(axis=2, dtype=np.float32)
        if count != frames:
            raise InputError(f'{maps.files[0]}: {count} maps for {frames} frames, and a film does not say which; give them as images')
        return
    files = dict(zip(maps.frames, maps.files, strict=True))
    yield from (read_map(files[k]) if k in files else None for k in range(frames))


def read_map(path: pathlib.Path) -> Num[np.ndarray, 'h w']:
    """The map in an image or in a NumPy file; InputError where it is none."""
    if path.suffix.lower() != '.npy':
        return fixations.read_image(path, 'L')
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f'{path}: cannot be read as a NumPy array ({error}); write it again') from None
    if array.ndim != 2 and array.squeeze().ndim == 2:
        array = array.squeeze()
    if array.ndim != 2 or array.dtype.kind not in 'buif':
        raise InputError(f'{path}: {array.dtype} {array.shape}; must be one map [h, w] of numbers')
    return array
