"""What frozen encoders give of every frame of a prepared set, computed once (`stages/features.py`) and read at random."""
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float16

LEVELS = ('C3', 'C4', 'C5')  # of images; of sound there is `embedding`, and `logits` where the encoder has classes


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of the clips of one split, kept as float16: `<folder>/<first record of the clip>/<feature>.npy`, frame by frame.

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
        result = {}
        for level in levels:
            stored = self.of_clip(clip, level)
            if self.crops:
                result[level] = stored[middle][1:2] if count == 1 else stored[middle]
            else:
                result[level] = np.stack([stored[k] for k in around]) if level == 'C5' else stored[[middle]]
        return result

    def heard(self, clip: Mapping[str, Any], frame: int) -> Float16[np.ndarray, ' d']:
        """Reads the embedding of the second of sound around a frame, or around the clip's first or last frame beyond its ends."""
        return np.array(self.of_clip(clip, 'embedding')[self._inside(clip, frame)])

    def of_clip(self, clip: Mapping[str, Any], name: str) -> Float16[np.ndarray, 'n ...']:
        """Opens a feature of all n frames of a clip; what of it is used is read."""
        return np.load(self.folder / str(clip['first']) / f'{name}.npy', mmap_mode='r')

    @staticmethod
    def _inside(clip, frame):
        return min(max(frame, 0), clip['frames'] - 1)
