"""The fixation sets (AVAD, Coutrot 1 and 2, DIEM, ETMD, SumMe, SynthAVE) in the layout of the STAViS release.

    video_frames/<set>/<video>/img_%05d.jpg              from 1
    video_audio/<set>/<video>/<video>.wav                absent: a silent video
    annotations/<set>/<video>/maps/eyeMap_%05d.jpg       density, 8 bit; png will do too
    annotations/<set>/<video>/fixMap_%05d.mat            key eyeMap, binary; SynthAVE adds observers [n, 2], (y, x) in pixels
    fold_lists/<set>_list_test_{1,2,3}_fps.txt           or <set>_list_test_fps.txt; lines: <video> <frames> <fps>

Without fold lists every video is in the set. In Python frames count from 0: frame k is img_{k + 1}.
"""
import dataclasses
import os
import pathlib
import re
import unicodedata
import zlib
from typing import Any, NamedTuple, Protocol, runtime_checkable

import h5py
import numpy as np
import scipy.io
import scipy.ndimage
from jaxtyping import Bool, Float, Int, Num, UInt8

from stanet_jax import InputError
from stanet_jax.data.lists import read_text
from stanet_jax.media import box
from stanet_jax.media.picture import open_picture, to_rgb
from stanet_jax.media.sound import read_sound

MAT_VARIABLES = ('eyeMap', 'observers')
LARGEST_MAP = 2 ** 28  # pixels; a damaged file may tell of any number
FPS = 25.0  # frames a second of a video that is in no fold list


@runtime_checkable
class GazeVideo(Protocol):
    """A video whose fixations are known, so that its maps can be scored: a `Video`, or what has these members of it."""

    @property
    def name(self) -> str: ...

    @property
    def frames(self) -> int: ...

    def fixations(self, k: int) -> Bool[np.ndarray, 'h w'] | None: ...

    def counts(self, k: int) -> Bool[np.ndarray, 'h w'] | Int[np.ndarray, 'h w'] | None: ...

    def density(self, k: int) -> Float[np.ndarray, 'h w'] | None: ...


@runtime_checkable
class SetVideo(GazeVideo, Protocol):
    """A video of a set, which can also be seen and heard: a `Video`, or what has these members of it."""

    @property
    def fps(self) -> float: ...

    def frame(self, k: int) -> UInt8[np.ndarray, 'h w 3']: ...

    def wave(self) -> Float[np.ndarray, ' n'] | None: ...

    def observers(self, k: int) -> Num[np.ndarray, 'n 2'] | None: ...


@dataclasses.dataclass(frozen=True)
class Video:
    """One video of a set, whose files are read when they are asked for.

    Attributes:
        name: as on disk, with composed accents, so that names are equal whichever system wrote them.
        frames: number of frames.
        fps: frames a second.
        images, notes: folders of its frames and of its annotations.
        sound: path of its wav file, whether or not there is one.
    """
    name: str
    frames: int
    fps: float
    images: pathlib.Path
    notes: pathlib.Path
    sound: pathlib.Path

    def frame(self, k: int) -> UInt8[np.ndarray, 'h w 3']:
        """Frame k in RGB; InputError where it is missing or broken."""
        path = self.images / f'img_{k + 1:05d}.jpg'
        if not path.exists():
            raise InputError(f'{path}: no such frame; fetch the set\'s video_frames again')
        return read_image(path, 'RGB')

    def wave(self) -> Float[np.ndarray, ' n'] | None:
        """The sound, mono, 16 kHz; None for a silent video."""
        return box.call(read_sound, self.sound) if self.sound.exists() else None

    def density(self, k: int) -> Float[np.ndarray, 'h w'] | None:
        """The fixation density of frame k, from 0 to 255; None where the file is missing."""
        paths = (self.notes / 'maps' / f'eyeMap_{k + 1:05d}{suffix}' for suffix in ('.jpg', '.png'))
        path = next((path for path in paths if path.exists()), None)
        return None if path is None else read_image(path, 'L').astype(np.float32)

    def fixations(self, k: int) -> Bool[np.ndarray, 'h w'] | None:
        """Whether at least one observer fixates each pixel of frame k; None where the file is missing."""
        gaze = self._gaze(k)
        return None if gaze is None else gaze.fixated

    def observers(self, k: int) -> Num[np.ndarray, 'n 2'] | None:
        """The fixation of each observer in frame k, (y, x) in pixels; None where they are not known."""
        gaze = self._gaze(k)
        return None if gaze is None else gaze.points

    def counts(self, k: int) -> Bool[np.ndarray, 'h w'] | Int[np.ndarray, 'h w'] | None:
        """How many observers fixate each pixel of frame k; where they are not known, `fixations`."""
        gaze = self._gaze(k)
        if gaze is None:
            return None
        return gaze.fixated if gaze.points is None else count_points(gaze.points, gaze.fixated.shape)

    def _gaze(self, k: int) -> 'Gaze | None':
        path = self.notes / f'fixMap_{k + 1:05d}.mat'
        return box.call(read_gaze, path) if path.exists() else None  # in its memory, whatever a damaged file says of its size


class Gaze(NamedTuple):
    """What is known of the fixations in a frame.

    Attributes:
        fixated: whether at least one observer fixates each pixel.
        points: the fixation of each observer, (y, x) in pixels; None where they are not known.
    """
    fixated: Bool[np.ndarray, 'h w']
    points: Num[np.ndarray, 'n 2'] | None


def read_gaze(path: str | os.PathLike) -> Gaze:
    """The fixations of a frame, from its .mat file; InputError as `read_mat`, and where these are none."""
    content = read_mat(path)
    fixations = np.asarray(content.get('eyeMap'))
    if fixations.ndim != 2 or fixations.dtype.kind not in 'buif':
        raise InputError(f'{path}: holds no map eyeMap; fetch the set\'s annotations again')
    if content.get('observers') is None:
        return Gaze(fixations > 0, None)
    points = np.asarray(content['observers'])
    if points.size and (points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in 'buif'):
        raise InputError(f'{path}: its observers are no points (y, x); fetch the set\'s annotations again')
    return Gaze(fixations > 0, points if points.size else np.zeros((0, 2)))


def read_mat(path: str | os.PathLike) -> dict[str, Any]:
    """The fixations in a .mat file, {name: array}, of either format: up to v7, or v7.3, which is HDF5 with the axes in reverse order.

    Raises:
        InputError: it is damaged, or says that it is larger than memory.
    """
    try:
        return {name: x for name, x in scipy.io.loadmat(path, variable_names=MAT_VARIABLES).items() if name in MAT_VARIABLES}
    except NotImplementedError:
        pass  # v7.3
    except (ValueError, TypeError, KeyError, EOFError, OSError, MemoryError, zlib.error, scipy.io.matlab.MatReadError) as error:
        raise InputError(f'{path}: cannot be read ({error}); fetch the set\'s annotations again') from None
    try:
        with h5py.File(path) as file:
            found = {name: file[name] for name in MAT_VARIABLES if isinstance(file.get(name), h5py.Dataset)}
            if any(data.size > LARGEST_MAP for data in found.values()):
                raise ValueError(f'a map of more than {LARGEST_MAP:,} pixels')
            return {name: np.asarray(data).T for name, data in found.items()}
    except (ValueError, TypeError, KeyError, OSError, MemoryError, RuntimeError) as error:
        raise InputError(f'{path}: cannot be read ({error}); fetch the set\'s annotations again') from None


def count_points(points: Num[np.ndarray, 'n 2'], shape: tuple[int, int]) -> Int[np.ndarray, 'h w']:
    """How many of the points, (y, x) in pixels, are nearest to each pixel of a frame of `shape` (h, w).

    Points that are off the frame or not finite, as of an eye that is lost, are left out.
    """
    counts = np.zeros(shape, int)
    places = points[((points > -0.5) & (points < np.array(shape))).all(axis=1)]
    np.add.at(counts, tuple(np.minimum(np.round(places).astype(int), np.array(shape) - 1).T), 1)
    return counts


def blurred_density(counts: Num[np.ndarray, 'h w']) -> Float[np.ndarray, 'h w']:
    """The density of fixations: how many there are in each pixel, blurred by a Gaussian with sigma 5 % of the height."""
    return scipy.ndimage.gaussian_filter(np.float64(counts), 0.05 * len(counts), mode='constant')


def read_image(path: str | os.PathLike, mode: str) -> Num[np.ndarray, 'h w *channels']:
    """An image file as an array: uint8 [h, w, 3] for mode 'RGB'; [h, w] for mode 'L', uint8 unless the file has 16 bits or floats.

    Raises:
        InputError: the file is missing or cannot be read as an image.
    """
    with open_picture(path) as image:
        deep = mode == 'L' and image.mode[0] in 'IF'  # 16 bits or floats, which conversion would clip
        return np.asarray(image if deep else to_rgb(image) if mode == 'RGB' else image.convert(mode))


def normalise_name(name: str) -> str:
    """A video's name as names are compared: with composed accents, and bytes that are not UTF-8 replaced."""
    return unicodedata.normalize('NFC', name).encode('utf-8', 'replace').decode()


def list_folders(path: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders in a folder without the hidden ones, sorted: {`normalise_name` of it: path}; empty where there is no such folder."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return {normalise_name(folder.name): folder for folder in inside if folder.is_dir() and not folder.name.startswith('.')}


def highest_number(folder: pathlib.Path, pattern: str) -> int:
    """The highest number, the first group of `pattern`, in the names of a folder's files that match it; 0 where none matches."""
    names = (re.fullmatch(pattern, path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return max((int(name[1]) for name in names if name), default=0)


def read_fold_lists(root: pathlib.Path, name: str) -> dict[str, tuple[int, float]]:
    """The test lists of a set together, {video's name: (frames, frames a second)}; empty where there are none.

    Raises:
        InputError: a line is not `<video> <frames> <fps>`.
    """
    listed = {}
    for path in [root / 'fold_lists' / f'{name}_list_test{fold}_fps.txt' for fold in ('', '_1', '_2', '_3')]:
        if path.exists():
            for number, line in enumerate(read_text(path).split('\n'), 1):
                fields = re.fullmatch(r'\s*(.*\S)\s+(\d+)\s+(\d+\.?\d*)\s*', line)
                if fields and float(fields[3]) > 0:
                    listed[normalise_name(fields[1])] = int(fields[2]), float(fields[3])
                elif line.strip():
                    raise InputError(f'{path}, line {number}: must be <video> <frames> <fps>, got {line.strip()!r}')
    return listed


class FixationSet(NamedTuple):
    """A fixation set on disk.

    Attributes:
        name: the set's name.
        videos: those that its fold lists name, or else all; in that order.
        missing: lines on videos that are listed but have no annotations.
    """
    name: str
    videos: list[Video]
    missing: list[str]


def open_set(root: str | os.PathLike, name: str = '') -> FixationSet:
    """Finds the videos of a fixation set.

    Args:
        root: the folder that holds `annotations`.
        name: of the set; may be left out where there is only one.
    Raises:
        InputError: no such folder or set, no name among several sets, a broken fold list, or no video.
    """
    root = pathlib.Path(root)
    sets = list_folders(root / 'annotations')
    if not sets:
        raise InputError(f'{root}: holds no annotations/<set>; give the folder that has the layout of the STAViS release')
    if name not in sets and (name or len(sets) > 1):
        raise InputError(f'--set={name}: {root} holds {", ".join(sets)}; give one of them')
    name = name or next(iter(sets))
    annotated, listed = list_folders(sets[name]), read_fold_lists(root, name)
    images, sounds = list_folders(root / 'video_frames' / name), list_folders(root / 'video_audio' / name)
    videos, missing = [], []
    for video in listed or annotated:
        if video not in annotated:
            missing.append(f'{video}: in the fold list, but without annotations')
            continue
        notes = annotated[video]
        pictures, sound = images.get(video, root / 'video_frames' / name / video), sounds.get(video, root / 'video_audio' / name / video)
        frames = max(highest_number(pictures, r'img_(\d+)\.jpg'), highest_number(notes, r'fixMap_(\d+)\.mat'))
        count, fps = listed.get(video, (frames, FPS))
        videos.append(Video(video, min(count, frames), fps, pictures, notes, sound / f'{sound.name}.wav'))
    if not videos:
        raise InputError(f'{sets[name]}: holds none of the set\'s videos; fetch its annotations')
    return FixationSet(name, videos, missing)
