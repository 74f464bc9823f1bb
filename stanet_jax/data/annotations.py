"""What earlier stages found for each frame, as later trainings read it: labels of the audio switch, boxes and pseudo-fixations."""
import collections
import json
import os
import pathlib
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float

from stanet_jax import InputError
from stanet_jax.data.clips import Clips, distinct
from stanet_jax.media.picture import open_picture

LABELS, ANSWERS = 'labels.jsonl', 'answers.jsonl'  # of the audio switch: what it learns, and what its net answers


def read_lines(path: str | os.PathLike, remedy: str) -> list[dict[str, Any]]:
    """Reads a file of JSON objects, one a line; InputError, with the remedy, where it is missing or damaged."""
    try:
        with open(path, encoding='utf-8') as f:
            return [json.loads(line) for line in f]
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: {getattr(error, "strerror", None) or error}; {remedy}') from error


class Annotations:
    """A function `(clip, frame) -> dict` of what earlier stages found for a frame, as `fragments.Examples` takes it.

    Args:
        clips: whose frames are asked for, by their index.
        switch: folder of a run of the audio switch, whose labels become `phi`; with '' `phi` is 1 where there is sound.
        hears_by: which file of it: `LABELS`, which the switch learned, or `ANSWERS`, what its net says of the same frames.
        boxes: folder that a stage of `configs/pseudo_gt.py` wrote, which gives each frame's `box` (y0, x0, y1, x1), as shares of the
            frame's height and width.
        maps: such a folder, which gives the pseudo-fixation `target`, a PIL image of the frames' size, and a `mask`, False where the
            map is empty.
    Raises:
        InputError: one of the folders is missing, or was made from other clips.
    """

    def __init__(self, clips: Clips, switch: str | os.PathLike = '', boxes: str | os.PathLike = '', maps: str | os.PathLike = '',
                 hears_by: str = LABELS):
        self._names, self._size = clips.names, (clips.side, clips.side)
        self._phi = labels(switch, clips, hears_by) if switch else None
        self._boxes = manifest(boxes, clips, 'box') if boxes else None
        self._maps = pathlib.Path(maps) / clips.split if maps else None
        self._empty = manifest(maps, clips, 'empty') if maps else None

    def __call__(self, clip: int, frame: int) -> dict[str, Any]:
        """Gives the `phi`, `box`, `target` and `mask` of a frame, as far as their folders were named."""
        result: dict[str, Any] = {}
        if self._phi:
            result['phi'] = self._phi[clip][frame]
        if self._boxes:
            result['box'] = tuple(self._boxes[clip][frame])
        if self._maps and self._empty:
            with open_picture(map_path(self._maps, self._names[clip], frame)) as image:
                result['target'] = image.copy() if image.size == self._size else image.resize(self._size, PIL.Image.Resampling.BILINEAR)
            result['mask'] = np.bool_(not self._empty[clip][frame])
        return result


def map_path(folder: str | os.PathLike, name: str, frame: int) -> pathlib.Path:
    """Gives the path of the map of frame 0, 1, ... of the clip `name`; the files count from 1, as in the layout of STAViS."""
    return pathlib.Path(folder) / name / 'maps' / f'eyeMap_{frame + 1:05d}.png'


def labels(folder: str | os.PathLike, clips: Clips, file: str = LABELS) -> list[Float[np.ndarray, ' _']]:
    """Reads the label, 0 or 1, that the audio switch has for each frame of each clip, see `Annotations`; InputError as there."""
    path = pathlib.Path(folder) / file
    remedy = 'train the switch first: stanet train --config=audio_switch; one that is there is finished by the same command'
    lines = [line for line in read_lines(path, remedy) if line['split'] == clips.split]
    found = dict(zip(distinct([line['id'] for line in lines]), (line['labels'] for line in lines), strict=True))
    values = [found.get(name, ()) for name in clips.names]
    _check_frames(values, clips, path, remedy)
    return [np.array(of, np.float32) for of in values]


def manifest(folder: str | os.PathLike, clips: Clips, field: str) -> list[list[Any]]:
    """Reads a field of the manifest of a stage's maps for each frame of each clip; InputError as `Annotations`."""
    path = pathlib.Path(folder) / clips.split / 'manifest.jsonl'
    remedy = 'make the maps first: stanet distill --config=pseudo_gt'
    found = collections.defaultdict(list)
    for line in read_lines(path, remedy):
        found[line['clip']].append(line[field])
    values = [found[name] for name in clips.names]
    _check_frames(values, clips, path, remedy)
    return values


def _check_frames(values, clips, path, remedy):
    if [len(of) for of in values] != [clip['frames'] for clip in clips.clips]:
        raise InputError(f'{path}: made from other {clips.split} clips than these; {remedy}')
