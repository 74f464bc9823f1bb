"""Rows to read other rows by: half of the observers against the other half, a Gaussian, the training set's mean."""
import dataclasses
import itertools
import pathlib

import numpy as np
import scipy.ndimage

from stanet_jax import InputError
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.fixations import count_points
from stanet_jax.evaluation.scoring import score

REFERENCES = ('ceiling', 'centre_prior', 'mean_map')  # rows to read others by


# -------------------------------------------------------------------------------------------------------- ceiling and floors


@dataclasses.dataclass(frozen=True)
class HalfOfObservers:
    """A video as every second observer saw it, from observer `first` (0 or 1) on; density: Gaussian, sigma 5 % of the height."""
    video: fixations.Video
    first: int

    @property
    def name(self):
        return self.video.name

    @property
    def frames(self):
        return self.video.frames

    def counts(self, k):
        """How many of them look at each pixel in frame k, int [h, w]; None where that is not known."""
        points, fixations = self.video.observers(k), self.video.fixations(k)
        if points is None or fixations is None:
            return None
        return count_points(points[self.first::2], fixations.shape)

    def fixations(self, k):
        counts = self.counts(k)
        return None if counts is None else counts > 0

    def density(self, k):
        counts = self.counts(k)
        return None if counts is None else scipy.ndimage.gaussian_filter(np.float64(counts), 0.05 * len(counts), mode='constant')

    def maps(self):
        """The densities of all frames, as maps to score; zeros where there is none."""
        shape = next((counts.shape for counts in map(self.counts, range(self.frames)) if counts is not None), (1, 1))
        for k in range(self.frames):
            density = self.density(k)
            yield np.zeros(shape) if density is None else density


def knows_observers(video):
    try:
        first = next((k for k in range(video.frames) if video.fixations(k) is not None), None)
        return first is not None and video.observers(first) is not None
    except InputError:
        return False


def centre_prior(side=64):
    """A Gaussian at the centre, its sigma a quarter of each side of the frame that it is resized to; [side, side]."""
    bell = np.exp(-((np.arange(side) + 0.5) / side - 0.5)**2 / (2 * 0.25**2))
    return np.outer(bell, bell)


def reference_rows(root, videos, protocol):
    """The rows to read others by, {name: results}: `ceiling` where observers are known, `centre_prior`, `mean_map` where there is one."""
    rows, observed = {}, [video for video in videos if knows_observers(video)]
    if observed:
        others = [HalfOfObservers(video, 1) for video in observed]
        rows['ceiling'] = score(lambda half: HalfOfObservers(half.video, 0).maps(), others, protocol, 'ceiling')
    fixed = {'centre_prior': centre_prior()}
    if (pathlib.Path(root) / 'train_mean_density.png').exists():
        fixed['mean_map'] = fixations.read_image(pathlib.Path(root) / 'train_mean_density.png', 'L')
    for name, map_ in fixed.items():
        rows[name] = score(lambda video, map_=map_: itertools.repeat(map_, video.frames), videos, protocol, name)
    return rows
