"""How many images a second are scored under the protocol `mit`, compared to pysaliency's metrics where it is installed.

    python -m benchmarks.images --images=334 --theirs=16

Makes images of 800x600 pixels with 90 fixations each, so that an image has about 30,000 negatives, and a map for each, all in memory. We
score all of them, by turns pysaliency (`pip install stanet-jax[pysaliency]`) scores the first `--theirs`: AUC, s-AUC with all
negatives, NSS, CC, SIM and KL. The scores of these have to agree. Prints images a second, medians of the rounds, and their ratio.
"""
import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import scipy.ndimage

from stanet_jax.evaluation import fixations, protocols, scoring

SHAPE, POINTS, ROUNDS = (600, 800), 90, 3
MIT = protocols.PROTOCOLS['mit']


class Image:
    """An image with its fixations, as `fixations.GazeVideo` says: a video of one frame."""
    frames = 1

    def __init__(self, number: int, rng: np.random.Generator):
        """Draws fixations around one point, and a map that is blurred noise."""
        self.name = str(number)
        places = rng.normal(rng.uniform(0.3, 0.7, 2), 0.15, (POINTS, 2)) * SHAPE
        self.points = np.clip(places.astype(int), 0, np.array(SHAPE) - 1)  # (y, x)
        self._density = np.float32(fixations.blurred_density(self.counts(0)))
        self.map = np.float32(scipy.ndimage.gaussian_filter(rng.random(SHAPE), 12))

    def counts(self, k: int) -> np.ndarray:
        """How many fixations lie in each pixel."""
        counts = np.zeros(SHAPE, int)
        np.add.at(counts, tuple(self.points.T), 1)
        return counts

    def fixations(self, k: int) -> np.ndarray:
        """Whether a fixation lies in each pixel."""
        return self.counts(k) > 0

    def density(self, k: int) -> np.ndarray:
        """The blurred `counts`."""
        return self._density


def ours(images: list[Image]) -> dict[str, float]:
    """Our mean scores of all images."""
    return scoring.score(lambda image: [image.map], images, MIT).scores


def their_scorer(images: list[Image], few: int) -> Callable[[], dict[str, float]]:
    """What computes pysaliency's mean scores of the first `few` images; negatives are of all. ImportError where it is not installed."""
    warnings.simplefilter('ignore')  # its own
    import pysaliency
    from pysaliency.saliency_map_models import FullShuffledNonfixationProvider

    class Given(pysaliency.SaliencyMapModel):
        """A model whose maps are known; the stimuli are made so that the first pixel tells the image."""

        def __init__(self, maps):
            super().__init__()
            self.maps = maps

        def _saliency_map(self, stimulus):
            return self.maps[int(stimulus[0, 0, 0]) * 256 + int(stimulus[0, 0, 1])]

    blank = [np.zeros((*SHAPE, 3), np.uint8) for _ in images]
    for k, image in enumerate(blank):
        image[0, 0, :2] = divmod(k, 256)
    stimuli = pysaliency.Stimuli(blank)
    points = np.concatenate([image.points for image in images])
    gaze = pysaliency.Fixations.create_without_history(points[:, 1], points[:, 0], np.repeat(np.arange(len(images)), POINTS))
    some, here = stimuli[:few], gaze[gaze.n < few]
    negatives = FullShuffledNonfixationProvider(stimuli, gaze)

    def score():
        model, density = Given([image.map for image in images]), Given([image.density(0) for image in images])  # nothing is cached
        return {'auc_judd': np.mean(model.AUCs(stimuli, here)), 'shuffled_auc': np.mean(model.AUCs(stimuli, here, nonfixations=negatives)),
                'nss': np.mean(model.NSSs(some, here)), 'cc': model.CC(some, density), 'sim': model.SIM(some, density),
                'kl_div': model.KLDiv(some, density)}
    return score


def timed(score: Callable[[], dict[str, float]], images: int) -> tuple[float, dict[str, float]]:
    """Images a second, and the scores."""
    start = time.perf_counter()
    scores = score()
    return images / (time.perf_counter() - start), scores


def main():
    """Measures both and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=334)
    parser.add_argument('--theirs', type=int, default=16, help='how many of them pysaliency scores')
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images = [Image(k, rng) for k in range(args.images)]
    try:
        theirs = their_scorer(images, args.theirs)
    except ImportError as error:
        print(f'pysaliency cannot be imported ({error}): ours alone', file=sys.stderr)
        theirs = None
    ours(images[:4])
    rates: dict[str, list[float]] = {'ours': [], 'pysaliency': []}
    for _ in range(ROUNDS):
        rate, scores = timed(lambda: ours(images), len(images))
        rates['ours'].append(rate)
        if theirs:
            rate, their_scores = timed(theirs, args.theirs)
            rates['pysaliency'].append(rate)
    if theirs:
        few = scoring.score_all(lambda image: [{'map': image.map}], images, MIT, 'map')['map'].videos[:args.theirs]
        for metric, score in their_scores.items():
            np.testing.assert_allclose(np.mean([row.scores[metric] for row in few]), score, rtol=1e-3, err_msg=metric)
    negatives = POINTS * (len(images) - 1)
    print(f'| {SHAPE[1]}x{SHAPE[0]}, {POINTS} fixations, {negatives:,} negatives | images a second | ours over it |\n|---|---|---|')
    for name, of_name in rates.items():
        if of_name:
            rate = statistics.median(of_name)
            print(f'| {name} | {rate:.2f} | {statistics.median(rates["ours"]) / rate:.1f} |')


if __name__ == '__main__':
    main()
