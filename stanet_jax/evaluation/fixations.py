"""The fixation sets (AVAD, Coutrot 1 and 2, DIEM, ETMD, SumMe, SynthAVE) in the layout of the STAViS release.

    video_frames/<set>/<video>/img_%05d.jpg              from 1
    video_audio/<set>/<video>/<video>.wav                absent: a silent video
    annotations/<set>/<video>/maps/eyeMap_%05d.jpg       density, 8 bit; png will do too
    annotations/<set>/<video>/fixMap_%05d.mat            key eyeMap, binary; SynthAVE adds observers [n, 2], (y, x) in pixels
    fold_lists/<set>_list_test_{1,2,3}_fps.txt           or <set>_list_test_fps.txt; lines: <video> <frames> <fps>

Without fold lists every video is in the set. In Python frames count from 0: frame k is img_{k + 1}.
"""
import dataclasses
import pathlib
import re
import unicodedata
import zlib

import h5py
import numpy as np
import PIL.Image
import scipy.io

from stanet_jax import InputError
from stanet_jax.media.sound import read_sound

FPS = 25.0  # of a video that no fold list tells of


@dataclasses.dataclass(frozen=True)
class Video:
    """One video of a set; its files are read when they are asked for.

    Attributes:
        name: as on disk; accents composed, so that a name is equal whichever system wrote it.
        frames: how many it has.
        fps: frames a second.
        images, notes: folders of its frames and of its annotations.
        sound: its wav, whether or not there is one.
    """
    name: str
    frames: int
    fps: float
    images: pathlib.Path
    notes: pathlib.Path
    sound: pathlib.Path

    def frame(self, k):
        """Frame k, uint8 RGB [h, w, 3]; InputError where it is missing or broken."""
        path = self.images / f'img_{k + 1:05d}.jpg'
        if not path.exists():
            raise InputError(f'{path}: no such frame; fetch the set\'s video_frames again')
        return read_image(path, 'RGB')

    def wave(self):
        """The sound, float32 [n], mono, 16 kHz; None for a silent video."""
        return read_sound(self.sound) if self.sound.exists() else None

    def density(self, k):
        """The density of frame k, float32 [h, w], 0 to 255; None where it is missing."""
        paths = (self.notes / 'maps' / f'eyeMap_{k + 1:05d}{suffix}' for suffix in ('.jpg', '.png'))
        path = next((path for path in paths if path.exists()), None)
        return None if path is None else read_image(path, 'L').astype(np.float32)

    def fixations(self, k):
        """Where at least one observer looks in frame k, bool [h, w]; None where the file is missing."""
        content = self._mat(k)
        if content is None:
            return None
        fixations = np.asarray(content.get('eyeMap'))
        if fixations.ndim != 2 or fixations.dtype.kind not in 'buif':
            raise InputError(f'{self._mat_path(k)}: holds no map eyeMap; fetch the set\'s annotations again')
        return fixations > 0

    def observers(self, k):
        """Where each observer looks in frame k, float [n, 2] (y, x) in pixels; None where that is not known."""
        content = self._mat(k)
        return None if content is None else content.get('observers')

    def counts(self, k):
        """How many look at each pixel in frame k, int [h, w]: of the observers where they are known, else 1 where anybody looks."""
        fixations, points = self.fixations(k), self.observers(k)
        return fixations if fixations is None or points is None else count_points(points, fixations.shape)

    def _mat_path(self, k):
        return self.notes / f'fixMap_{k + 1:05d}.mat'

    def _mat(self, k):
        path = self._mat_path(k)
        if not path.exists():
            return None
        try:
            return read_mat(path)
        except (ValueError, TypeError, KeyError, EOFError, OSError, zlib.error, scipy.io.matlab.MatReadError) as error:
            raise InputError(f'{path}: cannot be read ({error}); fetch the set\'s annotations again') from None


def read_mat(path):
    """The variables of a .mat file of either format, {name: array}: up to v7, and v7.3, which is HDF5 with the axes the other way round."""
    try:
        return scipy.io.loadmat(path)
    except NotImplementedError:
        with h5py.File(path) as file:
            return {name: np.asarray(of).T for name, of in file.items() if isinstance(of, h5py.Dataset)}


def count_points(points, shape):
    """To how many of the points [n, 2], (y, x) in pixels, each pixel of a frame of shape (h, w) is the nearest one: int [h, w]."""
    counts, places = np.zeros(shape, int), np.round(points).astype(int)
    np.add.at(counts, tuple(np.clip(places, 0, np.array(shape) - 1).T), 1)
    return counts


def read_image(path, mode):
    """An image file: uint8 [h, w, 3] for mode RGB; [h, w] for mode L, uint8 unless it is deeper. InputError where it cannot be read."""
    try:
        with PIL.Image.open(path) as image:
            deep = mode == 'L' and image.mode[0] in 'IF'  # 16 bits or floats, which conversion would clip
            return np.asarray(image if deep else image.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f'{path}: cannot be read as an image ({error}); fetch or make it again') from None


def normalise_name(name):
    """A video's name as it is compared: accents composed; bytes that are no UTF-8 replaced."""
    return unicodedata.normalize('NFC', name).encode('utf-8', 'replace').decode()


def list_folders(path):
    """The folders in a folder, `{plain name: path}`, sorted; hidden ones are left out."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return {normalise_name(folder.name): folder for folder in inside if folder.is_dir() and not folder.name.startswith('.')}


def highest_number(folder, pattern):
    """The highest number in the names of the files in a folder that match; 0 without any."""
    names = (re.fullmatch(pattern, path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return max((int(name[1]) for name in names if name), default=0)


def read_fold_lists(root, name):
    """The test lists of a set as `{plain video name: (frames, fps)}`; empty without lists."""
    listed = {}
    for path in [root / 'fold_lists' / f'{name}_list_test{fold}_fps.txt' for fold in ('', '_1', '_2', '_3')]:
        if path.exists():
            for number, line in enumerate(path.read_text('utf-8', 'surrogateescape').split('\n'), 1):
                fields = re.fullmatch(r'\s*(.*\S)\s+(\d+)\s+(\d+\.?\d*)\s*', line)
                if fields and float(fields[3]) > 0:
                    listed[normalise_name(fields[1])] = int(fields[2]), float(fields[3])
                elif line.strip():
                    raise InputError(f'{path}, line {number}: must be <video> <frames> <fps>, got {line.strip()!r}')
    return listed


def open_set(root, name=''):
    """A fixation set: (its name, the list of its videos, the list of lines about what is listed but missing).

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
    there, listed = list_folders(sets[name]), read_fold_lists(root, name)
    images, sounds = list_folders(root / 'video_frames' / name), list_folders(root / 'video_audio' / name)
    videos, missing = [], []
    for video in listed or there:
        if video not in there:
            missing.append(f'{video}: in the fold list, but without annotations')
            continue
        notes = there[video]
        pictures, sound = images.get(video, root / 'video_frames' / name / video), sounds.get(video, root / 'video_audio' / name / video)
        frames = max(highest_number(pictures, r'img_(\d+)\.jpg'), highest_number(notes, r'fixMap_(\d+)\.mat'))
        count, fps = listed.get(video, (frames, FPS))
        videos.append(Video(video, min(count, frames), fps, pictures, notes, sound / f'{sound.name}.wav'))
    if not videos:
        raise InputError(f'{sets[name]}: holds none of the set\'s videos; fetch its annotations')
    return name, videos, missing
