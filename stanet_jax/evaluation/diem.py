"""Makes a fixation set, as `fixations` reads it, from the raw gaze of the DIEM project.

    stanet data diem --root=DIEM --out=fixations --blur=20                            sigma of the density in pixels
    stanet data diem --root=DIEM --out=fixations --blur=1 --pixels_per_degree=35      in degrees of visual angle

DIEM has a folder for each video: `<video>/event_data/*.txt`, a file for each observer, and `<video>/video/<video>.*`. The lines are

    frame  left_x left_y left_dilation left_event  right_x right_y right_dilation right_event

with frames counted from 1, 30 a second, coordinates in pixels of the screen in whose middle the video was shown, and events -1 (lost),
0 (blink), 1 (fixation), 2 (saccade). A video that is converted already is kept; one that cannot be read is skipped and reported. To score
students, add the frames, sounds and fold lists of the STAViS release: where there is no list, a video counts as one of 25 frames a second.
"""
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import scipy.io
import scipy.ndimage
import tqdm
from jaxtyping import Float, Int

from stanet_jax import InputError
from stanet_jax.evaluation.fixations import count_points, list_folders
from stanet_jax.media import box
from stanet_jax.media.header import count_frames
from stanet_jax.scratch import hidden_name

SCREEN = 960, 1280  # (h, w) of the project's screen, in pixels
FIXATION = 1


class Gaze(NamedTuple):
    """The fixations of one observer of a video.

    Attributes:
        frames: the frame of each, counted from 0.
        points: (y, x) in pixels of the screen.
    """
    frames: Int[np.ndarray, ' n']
    points: Float[np.ndarray, 'n 2']


def read_gaze(path: str | os.PathLike) -> Gaze:
    """The fixations of one observer from a file of `event_data`.

    The point of a frame is the mean of the eyes that fixate in it; frames in which neither eye does are left out.

    Raises:
        InputError: no such file, or a line does not hold nine numbers.
    """
    try:
        lines = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: cannot be read as gaze ({str(error).splitlines()[0]}); fetch it again') from error
    if lines.shape[1] != 9:
        raise InputError(f'{path}: must hold nine numbers in a line, has {lines.shape[1]}; give a file of event_data')
    eyes = lines[:, 1:].reshape(-1, 2, 4)  # [n, left and right, (x, y, dilation, event)]
    fixates = (eyes[..., 3] == FIXATION) & np.isfinite(eyes[..., :2]).all(axis=-1)
    chosen = fixates.any(axis=1)
    points = np.where(fixates[..., None], eyes[..., 1::-1], 0).sum(axis=1)[chosen] / fixates[chosen].sum(axis=1)[:, None]
    return Gaze(lines[chosen, 0].astype(int) - 1, points)


def on_video(points: Float[np.ndarray, 'n 2'], shape: tuple[int, int], screen: tuple[int, int] = SCREEN) -> Float[np.ndarray, 'k 2']:
    """Those of the points, (y, x) on the screen, that fall on the video of `shape` (h, w) in its middle, in pixels of the video."""
    moved = points - (np.array(screen) - shape) / 2
    inside = [(values >= 0) & (values <= np.array(size) - 1) for values, size in ((points, screen), (moved, shape))]
    return moved[np.all(inside, axis=(0, 2))]


def density_map(points: Float[np.ndarray, 'n 2'], shape: tuple[int, int], sigma: float) -> Float[np.ndarray, 'h w']:
    """The density of points (y, x): a Gaussian of `sigma` pixels about each, summed and divided by the maximum; zeros without points."""
    density = scipy.ndimage.gaussian_filter(count_points(points, shape).astype(np.float64), sigma, mode='constant')
    return density / max(density.max(), 1e-300)


def write_video(name: str, observers: Sequence[Gaze], frames: int, shape: tuple[int, int], sigma: float, out: pathlib.Path,
                screen: tuple[int, int] = SCREEN) -> None:
    """Writes `fixMap_%05d.mat` and `maps/eyeMap_%05d.png` of every frame into `out/<name>`, which appears when all are written.

    Args:
        name: of the video.
        observers: the gaze of each.
        frames: number of the video's frames.
        shape: (h, w) of its frames.
        sigma: of the density, in pixels.
        out: folder of the set's annotations.
        screen: (h, w) of the screen that the video was shown on.
    """
    scratch = out / hidden_name(name)
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / 'maps').mkdir(parents=True)
    for k in range(frames):
        points = on_video(np.concatenate([gaze.points[gaze.frames == k] for gaze in observers]), shape, screen)
        fixated = count_points(points, shape) > 0
        scipy.io.savemat(scratch / f'fixMap_{k + 1:05d}.mat', {'eyeMap': np.uint8(fixated), 'observers': points}, do_compression=True)
        density = np.uint8(np.round(255 * density_map(points, shape, sigma)))
        PIL.Image.fromarray(density).save(scratch / 'maps' / f'eyeMap_{k + 1:05d}.png')
    scratch.rename(out / name)


def convert(root: str | os.PathLike, out: str | os.PathLike, sigma: float, screen: tuple[int, int] = SCREEN) -> list[str]:
    """Writes every video of DIEM's folder `root` that is not in `out/annotations/DIEM` yet, and returns a line on each that is skipped.

    Args:
        sigma: of the density, in pixels.
        screen: (h, w) of the screen that the videos were shown on.
    Raises:
        InputError: `root` is not DIEM's folder.
    """
    folders = {name: path for name, path in list_folders(pathlib.Path(root)).items() if (path / 'event_data').is_dir()}
    if not folders:
        raise InputError(f'--root={root}: holds no <video>/event_data; give the folder of DIEM\'s videos')
    target, skipped = pathlib.Path(out) / 'annotations' / 'DIEM', []
    target.mkdir(parents=True, exist_ok=True)
    for name, folder in tqdm.tqdm(folders.items(), 'DIEM', unit='video', mininterval=1):
        try:
            if (target / name).exists():
                continue
            films = sorted(path for path in (folder / 'video').glob('[!.]*') if path.is_file())
            if not films:
                raise InputError(f'{folder}/video: holds no video; unpack it again')
            frames, shape = box.call(count_frames, films[0])
            observers = [read_gaze(path) for path in sorted((folder / 'event_data').glob('[!.]*.txt'))]
            if not observers:
                raise InputError(f'{folder}/event_data: holds no gaze; unpack it again')
            write_video(name, observers, frames, shape, sigma, target, screen)
        except InputError as error:
            skipped.append(f'{name}: {error}')
    return skipped


if __name__ == '__main__':
    from stanet_jax import cli  # here, as this file is a door only when it is run
    cli.main(['data', 'diem', *sys.argv[1:]])
