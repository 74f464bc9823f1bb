"""Sets of images, which are films of one frame: scored and predicted in batches, with the numbers of one after the other."""
import dataclasses
import json

import numpy as np
import PIL.Image
import pytest
import scipy.io
import scipy.ndimage

from stanet_jax import InputError
from stanet_jax.evaluation import evaluate, fixations, protocols, scoring
from stanet_jax.evaluation.fixation_cache import FixationCache
from stanet_jax.evaluation.map_sources import score_students, student_maps

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


# -------------------------------------------------------------------------------------------------------------- prediction


class Recorder:
    """In a predictor's place: notes how many pictures come at once; its map is the picture's grey."""
    side, names, front_end, hears = 24, ('grey',), 'log_spectrogram', True

    def __init__(self):
        self.blocks, self.films = [], 0

    def predict_pictures(self, pictures):
        self.blocks.append(len(pictures))
        yield from ({'grey': picture.mean(axis=2)} for picture in pictures)

    def predict_blocks(self, moments, fps):
        self.films += 1
        block = list(moments)
        yield block, {'grey': np.stack([moment.picture.mean(axis=2) for moment in block])}


@pytest.fixture
def photographs(tmp_path):
    """A set of 20 photographs on disk, the layout that of the STAViS release."""
    rng = np.random.default_rng(0)
    for k, picture in enumerate([Picture(f'{k:04d}', (24, 32)) for k in range(20)]):
        images, notes = (tmp_path / 'set' / kind / 'Photographs' / picture.name for kind in ('video_frames', 'annotations'))
        images.mkdir(parents=True)
        (notes / 'maps').mkdir(parents=True)
        PIL.Image.fromarray(np.kron(rng.integers(0, 256, (3, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))).save(images / 'img_00001.jpg')
        scipy.io.savemat(notes / 'fixMap_00001.mat', {'eyeMap': np.float64(picture.fixations(k))})
        density = picture.density(0)
        PIL.Image.fromarray(np.uint8(255 * density / density.max())).save(notes / 'maps' / 'eyeMap_00001.png')
    return tmp_path / 'set'


def test_pictures_of_a_set_are_predicted_together(photographs, capsys):
    _, videos, _ = fixations.open_set(photographs)
    (photographs / 'video_frames' / 'Photographs' / '0007' / 'img_00001.jpg').write_bytes(b'broken')
    students = Recorder()
    found = score_students(students, videos, MIT)
    assert list(found) == ['own'] and 'the scores are the same: no video has sound' in capsys.readouterr().out
    assert students.blocks == [15, 4] and not students.films
    assert [of.video for of in found['own'].failed] == ['0007'] and len(found['own'].videos) == 19
    alone = scoring.score(lambda video: [video.frame(0).mean(axis=2)], videos, MIT)
    assert alone.failed == found['own'].failed
    np.testing.assert_allclose(list(found['own'].scores.values()), list(alone.scores.values()), rtol=1e-6)


def test_a_picture_with_sound_is_a_film(photographs):
    _, videos, _ = fixations.open_set(photographs)
    heard = [dataclasses.replace(video) for video in videos[:3]]
    for video in heard:
        object.__setattr__(video, 'wave', lambda: np.zeros(16000, np.float32))
    students = Recorder()
    maps = [list(student_maps(students, heard, sound)(heard[1])) for sound in ('own', 'muted')]
    assert (students.films, students.blocks) == (1, [2]) and maps[0][0]['grey'].shape == (24, 24)


def test_a_method_without_training_is_evaluated(photographs, tmp_path, capsys):
    out = tmp_path / 'centre.json'
    evaluate.evaluate(photographs, '', 'mit', out, method='centre', save=tmp_path / 'maps')
    rows = json.loads(out.read_text())['rows']
    assert list(rows) == ['centre', 'centre_prior'] and json.loads(out.read_text())['of'] == 'centre'
    np.testing.assert_allclose(list(rows['centre']['scores'].values()), list(rows['centre_prior']['scores'].values()), rtol=1e-5)
    assert 'the scores are the same: nothing is heard' in capsys.readouterr().out
    assert (tmp_path / 'maps' / 'Photographs' / '0003' / 'pred_sal_000001.jpg').is_file()
