"""References that other scores are compared to: half of the observers against the other half, a Gaussian, the training set's mean."""
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Container, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from stanet_jax import InputError
from stanet_jax.baselines.classical import centre_gaussian
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.fixations import SetVideo, blurred_density, count_points
from stanet_jax.evaluation.protocols import Protocol
from stanet_jax.evaluation.results import SetScores
from stanet_jax.evaluation.scoring import score

REFERENCES = ('ceiling', 'centre_prior', 'mean_map')  # names of their rows


@dataclasses.dataclass(frozen=True)
class HalfOfObservers:
    """A video with the fixations of every second observer, whose density is `fixations.blurred_density`.

    Attributes:
        video: with all observers.
        first: 0 or 1, the first observer that counts.
    """
    video: SetVideo
    first: int

    @property
    def name(self) -> str:
        """The video's name."""
        return self.video.name

    @property
    def frames(self) -> int:
        """The number of the video's frames."""
        return self.video.frames

    def counts(self, k: int) -> Int[np.ndarray, 'h w'] | None:
        """How many of these observers fixate each pixel of frame k; None where the observers are not known."""
        points, fixations = self.video.observers(k), self.video.fixations(k)
        if points is None or fixations is None:
            return None
        return count_points(points[self.first::2], fixations.shape)

    def fixations(self, k: int) -> Bool[np.ndarray, 'h w'] | None:
        """Whether one of these observers fixates each pixel of frame k; None where the observers are not known."""
        counts = self.counts(k)
        return None if counts is None else counts > 0

    def density(self, k: int) -> Float[np.ndarray, 'h w'] | None:
        """The blurred `counts` of frame k; None where the observers are not known."""
        counts = self.counts(k)
        return None if counts is None else blurred_density(counts)

    def maps(self) -> Iterator[Float[np.ndarray, 'h w']]:
        """Yields the density of each frame as a map to score; zeros where there is none."""
        shape = next((counts.shape for counts in map(self.counts, range(self.frames)) if counts is not None), (1, 1))
        for k in range(self.frames):
            density = self.density(k)
            yield np.zeros(shape) if density is None else density


def knows_observers(video: SetVideo) -> bool:
    """Whether the first frame of a video that has fixations also has those of each observer."""
    try:
        first = next((k for k in range(video.frames) if video.fixations(k) is not None), None)
        return first is not None and video.observers(first) is not None
    except InputError:
        return False


def reference_rows(root: str | os.PathLike, videos: Sequence[SetVideo], protocol: Protocol,
                   frames: Callable[[str], Container[int]] | None = None) -> dict[str, SetScores]:
    """The scores of the references, {name: scores}.

    `ceiling`, one half of the observers as a map for the other, is there where observers are known, `centre_prior` always, and `mean_map`
    where the folder `root` of the sets holds `train_mean_density.png`. `frames` tells which frames of the video of a name are scored, by
    default all of them.
    """
    rows, observed = {}, [video for video in videos if knows_observers(video)]
    if observed:
        others = [HalfOfObservers(video, 1) for video in observed]
        rows['ceiling'] = score(lambda half: _chosen(HalfOfObservers(half.video, 0).maps(), half.name, frames), others, protocol, 'ceiling')
    fixed = {'centre_prior': np.asarray(centre_gaussian(np.zeros((64, 64, 3))))}
    if (pathlib.Path(root) / 'train_mean_density.png').exists():
        fixed['mean_map'] = fixations.read_image(pathlib.Path(root) / 'train_mean_density.png', 'L')
    for name, map_ in fixed.items():
        rows[name] = score(functools.partial(_repeat, map_, frames), videos, protocol, name)
    return rows


def _repeat(map_, frames, video):
    return _chosen(itertools.repeat(map_, video.frames), video.name, frames)


def _chosen(maps, video, frames):
    """The maps of the frames that are scored, None for the others."""
    chosen = frames(video) if frames else None
    return (map_ if chosen is None or k in chosen else None for k, map_ in enumerate(maps))
