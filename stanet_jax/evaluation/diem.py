"""Raw gaze of the DIEM project to a fixation set: who looked where, frame by frame, as `fixation_sets` reads it.

    python -m stanet_jax.data.diem --root=DIEM --out=fixations --blur=20                            sigma of the density in pixels
    python -m stanet_jax.data.diem --root=DIEM --out=fixations --blur=1 --pixels_per_degree=35      in degrees of visual angle

DIEM has a folder for each video: `<video>/event_data/*.txt`, a file for each observer, and `<video>/video/<video>.*`. The lines are

    frame  left_x left_y left_dilation left_event  right_x right_y right_dilation right_event

with frames counted from 1, 30 a second, pixels of a screen on which the video was shown in the middle, and events -1 (lost), 0 (blink),
1 (fixation), 2 (saccade). A video that is there already is left; one that cannot be read is skipped, counted and reported.
"""
import pathlib
import shutil
import sys

import numpy as np
import PIL.Image
import scipy.io
import scipy.ndimage
import tqdm

from stanet_jax import InputError
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.fixations import count_points
from stanet_jax.media.video import decode, open_media, video_stream

SCREEN = 960, 1280  # (h, w) of the project's screen, in pixels
FIXATION = 1


def read_gaze(path):
    """The fixations of one observer: frames int [n], counted from 0, and points float [n, 2], (y, x) in pixels of the screen.

    The point of a frame is the mean of the eyes that fixate in it; frames in which neither does are left out.

    Raises:
        InputError: no such file, or lines of other than nine numbers.
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
    return lines[chosen, 0].astype(int) - 1, points


def on_video(points, shape, screen=SCREEN):
    """Points [n, 2], (y, x) on the screen -> those that are on it and on the video of (h, w) in its middle, in the video's pixels."""
    moved = points - (np.array(screen) - shape) / 2
    inside = [(values >= 0) & (values <= np.array(size) - 1) for values, size in ((points, screen), (moved, shape))]
    return moved[np.all(inside, axis=(0, 2))]


def density_map(points, shape, sigma):
    """Where points [n, 2], (y, x), are dense: a Gaussian of `sigma` pixels about each, over the maximum; zeros without points."""
    density = scipy.ndimage.gaussian_filter(np.float64(fixations.count_points(points, shape)), sigma, mode='constant')
    return density / max(density.max(), 1e-300)


def write_video(name, observers, frames, shape, sigma, out, screen=SCREEN):
    """Writes `fixMap_%05d.mat` and `maps/eyeMap_%05d.png` of every frame into `out/<name>`, which appears when all are there.

    Args:
        observers: list of what `read_gaze` gives; frames: how many the video has; shape: (h, w); sigma: of the density, in pixels;
            screen: (h, w) of what it was shown on.
    """
    scratch = out / f'.{name}'
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / 'maps').mkdir(parents=True)
    for k in range(frames):
        points = on_video(np.concatenate([points[which == k] for which, points in observers]), shape, screen)
        fixations = count_points(points, shape) > 0
        scipy.io.savemat(scratch / f'fixMap_{k + 1:05d}.mat', {'eyeMap': np.uint8(fixations), 'observers': points}, do_compression=True)
        density = np.uint8(np.round(255 * density_map(points, shape, sigma)))
        PIL.Image.fromarray(density).save(scratch / 'maps' / f'eyeMap_{k + 1:05d}.png')
    scratch.rename(out / name)


def size_of(path):
    """(frames, (h, w)) of a video file, by decoding it."""
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f'{path}: no video in it; fetch it again')
        count = sum(1 for _ in decode(container, [stream]))
        return count, (stream.codec_context.height, stream.codec_context.width)


def convert(root, out, sigma, screen=SCREEN):
    """Writes every video of DIEM's folder that is not in `out/annotations/DIEM` yet; -> lines on those that were skipped."""
    folders = {name: path for name, path in fixations.list_folders(pathlib.Path(root)).items() if (path / 'event_data').is_dir()}
    if not folders:
        raise InputError(f'--root={root}: holds no <video>/event_data; give the folder of DIEM\'s videos')
    target, skipped = pathlib.Path(out) / 'annotations' / 'DIEM', []
    target.mkdir(parents=True, exist_ok=True)
    for name, folder in tqdm.tqdm(folders.items(), 'DIEM', unit='video', mininterval=1):
        try:
            if (target / name).exists():
                continue
            films = sorted(path for path in (folder / 'video').glob('*') if path.is_file())
            if not films:
                raise InputError(f'{folder}/video: holds no video')
            frames, shape = size_of(films[0])
            observers = [read_gaze(path) for path in sorted((folder / 'event_data').glob('*.txt'))]
            if not observers:
                raise InputError(f'{folder}/event_data: holds no gaze')
            write_video(name, observers, frames, shape, sigma, target, screen)
        except InputError as error:
            skipped.append(f'{name}: {error}')
    return skipped


if __name__ == '__main__':
    from stanet_jax import cli  # here, as this file is a door only when it is run
    cli.main(['data', 'diem', *sys.argv[1:]])
