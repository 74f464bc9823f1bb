"""Results of an evaluation: the scores of a video, those of a set of videos, and all rows of a set's table."""
import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class VideoScores:
    """The scores of one kind of maps on a video.

    Attributes:
        video: the video's name.
        frames: number of frames that are scored.
        scores: {metric: mean over the frames where it is defined}; NaN where it is defined in no frame.
        undefined: {metric: number of frames where it is undefined}.
    """
    video: str
    frames: int
    scores: dict[str, float]
    undefined: dict[str, int]


@dataclasses.dataclass(frozen=True)
class FailedVideo:
    """A video that cannot be scored, by its name, and the reason."""
    video: str
    why: str


@dataclasses.dataclass(frozen=True)
class SetScores:
    """The scores of one kind of maps on a set of videos, averaged as the protocol says: a row of a table.

    Attributes:
        frames: number of frames that are scored, of all videos.
        scores: {metric: mean}; NaN where the metric is undefined everywhere.
        undefined: {metric: number of frames where it is undefined}, which the mean leaves out.
        failed: videos that could not be scored.
        videos: the scores of the others, in the set's order.
    """
    frames: int
    scores: dict[str, float]
    undefined: dict[str, int]
    failed: list[FailedVideo]
    videos: list[VideoScores]


@dataclasses.dataclass(frozen=True)
class SetResults:
    """All that is scored on a fixation set under one protocol: a table.

    Attributes:
        protocol: a key of `protocols.PROTOCOLS`.
        set_name: the set's name.
        data: folder of the fixation sets.
        source: the folder of maps, or the runs, that are evaluated.
        mismatched: lines on videos without maps, maps without a video and videos that are listed but missing.
        rows: {name: scores} of the maps and of the references.
    """
    protocol: str
    set_name: str
    data: str
    source: str
    mismatched: list[str]
    rows: dict[str, SetScores]

    def to_dict(self) -> dict[str, Any]:
        """The content of the JSON file: dicts, lists, strings and numbers, NaN where a score is undefined."""
        return {'protocol': self.protocol, 'set': self.set_name, 'data': self.data, 'of': self.source, 'mismatched': self.mismatched,
                'rows': {name: dataclasses.asdict(row) for name, row in self.rows.items()}}
