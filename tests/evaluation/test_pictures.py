"""Sets of images, which are films of one frame: scored and predicted in batches, with the numbers of one after the other."""
import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from stanet_jax import InputError
from stanet_jax.evaluation import protocols, scoring
from stanet_jax.evaluation.fixation_cache import FixationCache

DHF1K, MIT, NTIRE, STAVIS = (protocols.PROTOCOLS[name] for name in ('dhf1k', 'mit', 'ntire', 'stavis'))


@dataclasses.dataclass(frozen=True)
class Picture:
    """A photograph of a fixation set, in memory."""
    name: str
    shape: tuple[int, int]
    broken: bool = False
    frames: int = 1

    def counts(self, k):
        if self.broken:
            raise InputError(f'{self.name}: is broken')
        rng = np.random.default_rng(sum(self.name.encode()))
        return rng.integers(0, 40, self.shape) // 38

    def fixations(self, k):
        return self.counts(k) > 0

    def density(self, k):
        return scipy.ndimage.gaussian_filter(np.float32(self.counts(k)), 3)


PICTURES = [Picture(f'picture {k}', (24, 32) if k % 3 else (20, 20), broken=k == 4) for k in range(11)]


def maps_of(picture):
    rng = np.random.default_rng(len(picture.name) + picture.shape[0])
    size = (12, 9) if picture.name == 'picture 7' else (16, 16)
    yield {kind: scipy.ndimage.gaussian_filter(rng.random(size), 2) - (kind == 'signed') for kind in ('maps', 'signed')}


@pytest.mark.parametrize('rules', [DHF1K, MIT, NTIRE], ids=lambda rules: rules.name)
def test_pictures_in_batches_score_as_one_after_the_other(rules):
    found = scoring.score_all(maps_of, PICTURES, rules, 'maps')
    cache = FixationCache(PICTURES, rules.repeated)
    alone = {k: scoring.score_one(maps_of, PICTURES, rules, cache, k, lambda n: None) for k in range(len(PICTURES))}
    good = [k for k in alone if k != 4]
    assert [row.video for row in found['maps'].videos] == [PICTURES[k].name for k in good]
    for kind, row in found.items():
        assert [of.why for of in row.failed] == [alone[4].why] == ['picture 4: is broken']
        np.testing.assert_allclose([list(of.scores.values()) for of in row.videos],
                                   [list(alone[k].rows[kind].scores.values()) for k in good], rtol=1e-6)
    assert found['signed'].undefined['kl_div'] == (0 if rules.normalised else 10) and not found['maps'].undefined['kl_div']


def test_maps_that_do_not_fit_fail_alone():
    wrong = {'picture 1': [], 'picture 2': [np.ones((4, 4))] * 2, 'picture 3': [np.full((4, 4), np.nan)], 'picture 5': [np.ones(4)]}
    found = scoring.score(lambda video: wrong.get(video.name, [np.eye(5)]), PICTURES[:7], MIT)
    assert {of.video for of in found.failed} == {*wrong, 'picture 4'} and [of.video for of in found.videos] == ['picture 0', 'picture 6']
    assert sum('the number of maps is not 1' in of.why for of in found.failed) == 2
    with pytest.raises(InputError, match='scores from frame 9 on'):
        scoring.score(lambda video: [np.eye(5)], PICTURES[:2], STAVIS)


def test_jobs_are_videos_or_several_pictures():
    film = dataclasses.replace(PICTURES[0], frames=3)
    videos = [film, film, *[PICTURES[0]] * 20, film, PICTURES[1]]
    assert scoring.split_jobs(videos, range(24)) == [[0], [1], list(range(2, 18)), list(range(18, 22)), [22], [23]]
