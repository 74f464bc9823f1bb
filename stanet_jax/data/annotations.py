"""What earlier stages found out about each frame, for the trainings that follow: the switch's labels, boxes, pseudo-fixations."""
import collections
import json
import pathlib

import numpy as np
import PIL.Image

from stanet_jax import InputError


def read_lines(path, remedy):
    """A JSON-lines file as a list; InputError with the remedy where there is none."""
    try:
        with open(path, encoding='utf-8') as f:
            return [json.loads(line) for line in f]
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: {getattr(error, "strerror", None) or error}; {remedy}') from error


def clip_names(clips):
    """A folder's name for each clip: its id, with the clip's number where several clips share it."""
    count = collections.Counter(clip['id'] for clip in clips.clips)
    return [clip['id'] if count[clip['id']] == 1 else f'{clip["id"]}_{i}' for i, clip in enumerate(clips.clips)]


class Annotations:
    """`(clip, frame) -> dict` of what is known of a frame, as `fragments.Examples` takes it.

    Args:
        clips: an `clips.Clips`.
        switch: folder of a run of `configs/audio_switch.py`: its labels stand for `phi`; '' leaves `phi` 1 where there is sound.
        boxes: folder that a stage of `pseudo_gt` wrote: gives each frame's `box` (y0, x0, y1, x1), shares of the frame.
        maps: such a folder: gives `target`, a PIL image, the pseudo-fixation, and a `mask`, False where it is empty.
    Raises:
        InputError: one of the folders is not there, or was made from other clips.
    """

    def __init__(self, clips, switch='', boxes='', maps=''):
        self._names = clip_names(clips)
        self._phi = labels(switch, clips) if switch else None
        self._boxes = manifest(boxes, clips, 'box') if boxes else None
        self._maps = pathlib.Path(maps) / clips.split if maps else None
        self._empty = manifest(maps, clips, 'empty') if maps else None

    def __call__(self, clip, frame):
        result = {}
        if self._phi:
            result['phi'] = self._phi[clip][frame]
        if self._boxes:
            result['box'] = tuple(self._boxes[clip][frame])
        if self._maps:
            with PIL.Image.open(map_path(self._maps, self._names[clip], frame)) as image:
                result['target'] = image.copy()
            result['mask'] = np.bool_(not self._empty[clip][frame])
        return result


def map_path(folder, name, frame):
    """Where the map of a clip's frame (from 0) is; the files count from 1, as in the STAViS layout."""
    return pathlib.Path(folder) / name / 'maps' / f'eyeMap_{frame + 1:05d}.png'


def labels(folder, clips):
    """The audio switch's label of each frame of each clip: a list of float32 [t] in {0, 1}."""
    path = pathlib.Path(folder) / 'labels.jsonl'
    remedy = 'train the switch first: python train.py --config=configs/audio_switch.py'
    lines = [line for line in read_lines(path, remedy) if line['split'] == clips.split]
    if [(line['id'], len(line['labels'])) for line in lines] != [(clip['id'], clip['frames']) for clip in clips.clips]:
        raise InputError(f'{path}: made from other {clips.split} clips than these; {remedy}')
    return [np.float32(line['labels']) for line in lines]


def manifest(folder, clips, field):
    """A field of a stage's manifest, for each frame of each clip: a list of lists."""
    path = pathlib.Path(folder) / clips.split / 'manifest.jsonl'
    remedy = 'make the maps first: python distill.py --config=configs/pseudo_gt.py'
    found = collections.defaultdict(list)
    for line in read_lines(path, remedy):
        found[line['clip']].append(line[field])
    values = [found[name] for name in clip_names(clips)]
    if [len(v) for v in values] != [clip['frames'] for clip in clips.clips]:
        raise InputError(f'{path}: made from other {clips.split} clips than these; {remedy}')
    return values
