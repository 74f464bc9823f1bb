"""Where a table's data, runs and scores are."""
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from stanet_jax import InputError
from stanet_jax.evaluation.fixations import SetVideo
from stanet_jax.workdir import made_at, read_config


class VideoSet(NamedTuple):
    """A fixation set, or the part of it that is scored, by its name."""
    name: str
    videos: Sequence[SetVideo]

    @property
    def protocol(self) -> str:
        """How it is scored: as the papers' tables, which leaves a video's first frames out; pictures as the MIT benchmark does."""
        return 'stavis' if any(video.frames > 1 for video in self.videos) else 'mit'


@dataclasses.dataclass(frozen=True)
class Place:
    """The folders that a table is made from, and how much of the data is scored.

    Attributes:
        data: folder of the fixation sets, or of a set in VOC's layout.
        run: of the pipeline, whose nets and students are scored; of EPS, see `segmentation`.
        workdir: folder in which scores are kept.
        sets: names of the fixation sets; () for all that there are.
        samples: of SS-CAM, see `classifier.class_maps`.
        every: frames of a video of which one is scored.
        videos: how many of a set are scored, the first ones; 0 for all.
    """
    data: pathlib.Path
    run: pathlib.Path
    workdir: pathlib.Path
    sets: tuple[str, ...] = ()
    samples: int = 2
    every: int = 1
    videos: int = 0

    def is_data(self, other: str | os.PathLike) -> bool:
        """Whether another path is that of the data."""
        return os.path.realpath(other) == os.path.realpath(self.data)

    def whole(self) -> bool:
        """Whether every frame of every video is scored."""
        return self.every == 1 and not self.videos


def state_of(folder: pathlib.Path) -> tuple[str, int]:
    """Where the folder of a net or of a run is, and when what is in it was made, in nanoseconds: 0 where nothing is."""
    return os.path.realpath(folder), made_at(folder)


def run_data(run: pathlib.Path, default: str) -> str:
    """The data that a run was trained on, where it is there, else a default."""
    try:
        return str(read_config(run).data.root)
    except InputError:
        return default


def run_field(run: pathlib.Path, *path: str) -> Any:
    """A field of a run's config; None where there is no run, or it has no such field."""
    try:
        found: Any = read_config(run)
    except InputError:
        return None
    for name in path:
        if not hasattr(found, 'keys') or name not in found:
            return None
        found = found[name]
    return found
