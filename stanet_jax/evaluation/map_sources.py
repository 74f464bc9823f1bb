"""Where the maps that are scored come from: a folder of files, or students."""
import functools
import pathlib
import re
import shutil

import numpy as np
import PIL.Image

from stanet_jax import InputError
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.scoring import score_all
from stanet_jax.media.moments import moments_of_frames
from stanet_jax.media.overlay import MAP_NAMES

SOUNDS = ('own', 'muted', 'other')  # that a student hears: the video's, none, another video's

# --------------------------------------------------------------------------------------------------------- where maps are from


def find_map_files(folder, frames, first):
    """A video's maps in order of their numbers: `<folder>/maps/eyeMap_%05d.png` (or jpg), or whatever images are in the folder.

    Where there are fewer than `frames`, and their numbers, from 1, are those of the frames from `first` (counted from 0) on or from an
    earlier one, None stands for the ones before.
    """
    inside = [path for path in (folder / 'maps').glob('eyeMap_*') if path.suffix in ('.png', '.jpg')]
    inside = inside or [path for path in folder.iterdir() if path.suffix.lower() in ('.png', '.jpg', '.jpeg')]
    found = sorted(inside, key=lambda path: [int(x) if x.isdecimal() else x for x in re.split(r'(\d+)', path.name)])
    numbers, start = [int((re.findall(r'\d+', path.stem) or [0])[-1]) for path in found], frames - len(found)
    return [None] * start + found if 0 < start <= first and numbers == list(range(start + 1, frames + 1)) else found


def match_maps(folder, videos, first=0):
    """A folder of maps and the videos of a set: ({video name: files}, lines that tell what does not match)."""
    if not pathlib.Path(folder).is_dir():
        raise InputError(f'--maps={folder}: no such folder; give the one that holds <video>/maps/eyeMap_%05d.png')
    there, files, lines = fixations.list_folders(pathlib.Path(folder)), {}, []
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
    return files, lines


def open_map_folders(folders, videos, first=0):
    """The maps of folders {name: folder} as `score_all` takes them, the videos that each has all maps of, and lines on what does not match.

    Frames before `first` are not scored and need no map.
    """
    found = {name: match_maps(folder, videos, first) for name, folder in folders.items()}
    files, lines = {name: of for name, (of, _) in found.items()}, [line for _, of in found.values() for line in of]
    there = [video for video in videos if all(video.name in of for of in files.values())]
    return functools.partial(read_maps, files), there, lines


def read_maps(files, video):
    """Yields {name: map} of each frame of a video, from `files` {name: {video's name: paths}}; None where there is no path."""
    for paths in zip(*(of[video.name] for of in files.values()), strict=True):
        yield {name: path and fixations.read_image(path, 'L') for name, path in zip(files, paths, strict=True)}


def student_maps(predictor, videos, sound='own'):
    """What students make of a video's frames, for `score_all`; a few frames at a time are in memory.

    Args:
        predictor: a `predictor.Predictor`.
        videos: the set's.
        sound: 'own'; 'muted', as if the video had none; 'other', that of the next video in the list.
    Returns:
        `video -> generator of {name: map [side, side]}`, the names those of the predictor.
    """
    following = {video.name: after for video, after in zip(videos, videos[1:] + videos[:1], strict=True)}

    def moments(video):
        wave = {'own': video.wave, 'other': following[video.name].wave, 'muted': lambda: None}[sound]()
        return moments_of_frames(map(video.frame, range(video.frames)), wave, video.fps, predictor.side)

    def maps_of_video(video):
        for block, maps in predictor.predict_blocks(moments(video), video.fps):
            maps = {name: np.asarray(of) for name, of in maps.items()}
            yield from ({name: of[k] for name, of in maps.items()} for k in range(len(block)))
    return maps_of_video


def save_maps(maps_of_video, name, folder, first, video):
    """Yields what `maps_of_video` gives and writes the maps of the name as `<folder>/<video>/pred_sal_%06d.jpg`, min-maxed, 8 bit.

    Those before frame `first`, which are not scored, are left out; the video's folder appears when all are there.
    """
    scratch = folder / f'.{video.name}'
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


def score_students(predictor, videos, protocol, kept=None, save=''):
    """The rows of students, {name: see `score`}: what they predict with their own, no and, where there are several videos, foreign sound.

    The rows of one are named by the sound. Of three there are each student's and both fusions', and STA's and the final one's without
    their sound. `save`: folder for the maps of the last name, with the videos' own sound, see `save_maps`; '' for none.
    """
    rows = {}
    for sound in SOUNDS[:2 + (len(videos) > 1)]:
        chosen = predictor.names if sound == 'own' else dict.fromkeys((predictor.names[0], predictor.names[-1]))
        maps = student_maps(predictor, videos, sound)
        if save and sound == 'own':
            maps = functools.partial(save_maps, maps, predictor.names[-1], pathlib.Path(save), protocol.first)
        found = score_all(lambda video, maps=maps, chosen=chosen: ({name: of[name] for name in chosen} for of in maps(video)),
                          videos, protocol, sound, kept)
        for name, row in found.items():
            rows[sound if len(predictor.names) == 1 else name if sound == 'own' else f'{name}, {sound} sound'] = row
    return rows
