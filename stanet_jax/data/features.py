"""What frozen encoders give of every frame of a prepared set, computed once (`stages/features.py`) and read at random."""
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
from jaxtyping import Float16

LEVELS = ('C3', 'C4', 'C5')  # of images; of sound there is `embedding`, and `logits` where the encoder has classes


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of the clips of one split, kept as float16: `<folder>/<first record of the clip>.safetensors`, frame by frame.

    Attributes:
        folder: of the split.
        crops: whether pictures were cropped to a box of each frame. A frame then has the C5 of three pictures: its own and its
            neighbours', all cut to its box.
    """
    folder: pathlib.Path
    crops: bool = False

    def seen(self, clip: Mapping[str, Any], frame: int, count: int, levels: Sequence[str] = ('C5',),
             ) -> dict[str, Float16[np.ndarray, 't h w c']]:
        """Reads the features of pictures around a frame.

        Args:
            clip: a dict of `Clips.clips`.
            frame: the target; beyond the clip's ends its first or last frame stands for it.
            count: pictures, 1 or 3, with the target in the middle. Of levels other than C5 the target's alone is read, t = 1.
            levels: which features.
        """
        middle = self._inside(clip, frame)
        around = [self._inside(clip, frame + k - count // 2) for k in range(count)]
        if self.crops:
            found = self._read(clip, {level: (middle, middle + 1) for level in levels})
            return {level: x[0][1:2] if count == 1 else x[0] for level, x in found.items()}
        found = self._read(clip, {k: (around[0], around[-1] + 1) if k == 'C5' else (middle, middle + 1) for k in levels})
        return {level: x[np.array(around) - around[0]] if level == 'C5' else x for level, x in found.items()}

    def heard(self, clip: Mapping[str, Any], frame: int) -> Float16[np.ndarray, ' d']:
        """Reads the embedding of the second of sound around a frame, or around the clip's first or last frame beyond its ends."""
        k = self._inside(clip, frame)
        return self._read(clip, {'embedding': (k, k + 1)})['embedding'][0]

    def of_clip(self, clip: Mapping[str, Any], name: str) -> Float16[np.ndarray, 'n ...']:
        """Reads a feature of all n frames of a clip."""
        return self._read(clip, {name: (0, clip['frames'])})[name]

    def path(self, clip: Mapping[str, Any]) -> pathlib.Path:
        """The file of a clip."""
        return self.folder / f'{clip["first"]}.safetensors'

    def _read(self, clip, wanted):
        """Features from one frame of a clip up to another, {name: (from, to)} -> {name: array}."""
        with safetensors.safe_open(self.path(clip), 'numpy') as file:
            return {name: file.get_slice(name)[start:end] for name, (start, end) in wanted.items()}

    @staticmethod
    def _inside(clip, frame):
        return min(max(frame, 0), clip['frames'] - 1)
