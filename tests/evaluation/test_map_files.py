"""Anybody's maps: with gaps, under any numbering, in images, NumPy files and films; and what cannot be told apart."""
import json

import av
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

from stanet_jax import InputError
from stanet_jax.evaluation import evaluate, fixations, map_files, protocols, scoring
from stanet_jax.evaluation.map_files import describe_frames, find_maps, match_maps, number_files
from stanet_jax.evaluation.map_sources import open_map_folders
from stanet_jax.evaluation.references import reference_rows

SHAPE, FRAMES = (36, 48), 60
STAVIS, DHF1K = (protocols.PROTOCOLS[name] for name in ('stavis', 'dhf1k'))


class Gaze:
    """A video in memory whose fixations are random points."""
    fps = 25.0

    def __init__(self, name, frames=FRAMES, seed=0):
        self.name, self.frames = name, frames
        self._points = np.random.default_rng(seed).integers(0, SHAPE, (frames, 9, 2))

    def fixations(self, k):
        found = np.zeros(SHAPE, bool)
        found[tuple(self._points[k].T)] = True
        return found

    counts = fixations

    def observers(self, k):
        return None

    def frame(self, k):
        raise AssertionError('maps alone are scored')

    wave = frame

    def density(self, k):
        return scipy.ndimage.gaussian_filter(np.float64(self.fixations(k)), 3)


def saliency(k, size=(18, 24)):
    """The map of frame k, in 256 levels."""
    map_ = scipy.ndimage.gaussian_filter(np.random.default_rng(k).random(size), 2)
    return np.uint8(np.rint(255 * (map_ - map_.min()) / (map_.max() - map_.min())))


def write(folder, frames, name='eyeMap_{:05d}.png', kind='L'):
    """Writes the maps of frames, which count from 0, numbered from 1."""
    folder.mkdir(parents=True)
    for k in frames:
        path, map_ = folder / name.format(k + 1), saliency(k)
        if path.suffix == '.npy':
            np.save(path, np.float64(map_) / 17 - 3)
        else:
            PIL.Image.fromarray(np.uint16(map_) * 257 if kind == 'I;16' else map_).convert(None if kind == 'I;16' else kind).save(
                path, **({'quality': 100} if path.suffix == '.jpg' else {}))


def write_film(path, frames, gap=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as film:
        stream = film.add_stream('libx264', rate=25, options={'crf': '0'})
        stream.width, stream.height, stream.pix_fmt = 24, 18, 'yuv444p'
        for k in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.repeat(saliency(k)[..., None], 3, 2), format='rgb24')))
        film.mux(stream.encode())


def scores_of(maps, videos, rules=DHF1K):
    reader, known, lines = open_map_folders({'maps': maps}, videos, rules.first)
    return scoring.score_all(reader, known, rules, 'maps')['maps'], lines


def expected(frames, rules=DHF1K):
    """The scores of these frames alone, their maps given in memory."""
    video = Gaze('v')
    return scoring.score(lambda video: (saliency(k) if k in frames else None for k in range(FRAMES)), [video], rules)


# ------------------------------------------------------------------------------------------------------------------- gaps


@pytest.mark.parametrize('frames, words', [
    (range(1, FRAMES - 2), '3 of 60 frames, without a map; scored are 2 to 58'),
    (range(0, FRAMES, 30), '58 of 60 frames, without a map; scored are 1, 31'),
    ([4, 5, 6, 20, 30, 40, 50], '53 of 60 frames, without a map; scored are 5 to 7, 21, 31 ... 51')])
def test_maps_of_part_of_the_frames_are_scored_and_named(tmp_path, frames, words):
    write(tmp_path / 'v' / 'maps', frames)
    found, lines = scores_of(tmp_path, [Gaze('v')])
    assert lines == [f'v: {words}'] and found.frames == len(frames)
    assert found == expected(set(frames))


def test_frames_that_a_protocol_leaves_out_need_no_map(tmp_path):
    write(tmp_path / 'v', range(8, FRAMES))
    found, lines = scores_of(tmp_path, [Gaze('v')], STAVIS)
    assert not lines and found.frames == 52
    write(tmp_path / 'w', range(8))
    assert match_maps(tmp_path, [Gaze('v'), Gaze('w')], 8).mismatched == [
        'w: maps of frames 1 to 8 alone; the protocol scores from frame 9 on']


def test_the_references_are_scored_on_the_same_frames(tmp_path):
    write(tmp_path / 'v', [10, 20, 30])
    reader, videos, _ = open_map_folders({'maps': tmp_path}, [Gaze('v')])
    rows = reference_rows(tmp_path, videos, DHF1K, reader.frames)
    assert list(rows) == ['centre_prior'] and rows['centre_prior'].frames == 3


def test_several_folders_are_scored_where_all_have_maps(tmp_path):
    write(tmp_path / 'a' / 'v', range(0, 20))
    write(tmp_path / 'b' / 'v', range(10, 40))
    reader, videos, _ = open_map_folders({'a': tmp_path / 'a', 'b': tmp_path / 'b'}, [Gaze('v')])
    rows = scoring.score_all(reader, videos, DHF1K, 'maps')
    assert rows['a'].frames == rows['b'].frames == 10 and reader.frames('v') == set(range(10, 20))


# ------------------------------------------------------------------------------------------------------------------ naming


@pytest.mark.parametrize('stems, frames, numbers', [
    (['0001_sal', '0003_sal'], 5, [0, 2]), (['frame-0', 'frame-4'], 5, [0, 4]), (['a5', 'a2'], 5, [4, 1]),
    (['v2_007_of_60', 'v2_031_of_60'], 60, [6, 30]), (['img_00001', '00003'], 5, [0, 2]),
    (['101', '103', '102'], 3, [0, 2, 1]), (['pred_3_x3', 'pred_4_x4'], 9, [2, 3]), (['0', '1', '2'], 3, [0, 1, 2])])
def test_numbers_in_names(stems, frames, numbers):
    assert number_files(stems, frames, 'v') == numbers


@pytest.mark.parametrize('stems, text', [
    (['first', 'second'], '2 maps for 5 frames, and no number that differs'), (['a1', 'b1'], 'no number that differs'),
    (['1', '6'], 'whose numbers are 1 to 6'), (['0', '5'], 'whose numbers are 0 to 5'),
    (['1_2', '3_4'], 'two numbers in their names, as 1_2')])
def test_numbers_that_do_not_tell(stems, text):
    with pytest.raises(InputError, match=f'v: .*{text}'):
        number_files(stems, 5, 'v')


def test_words_for_frames():
    assert describe_frames([0]) == '1' and describe_frames([0, 1]) == '1 to 2' and describe_frames(range(0, 241, 30)) == '1, 31 ... 241'
    assert describe_frames([0, 2, 3, 7]) == '1, 3 to 4, 8'
    assert describe_frames([k * k for k in range(1, 12)]) == '2, 5, 10, 17, 26, 37 and 5 more such'


# ------------------------------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize('name, kind', [('{}.png', 'L'), ('sal-{:03d}.png', 'I;16'), ('{}_map.PNG', 'RGB'), ('f{}.npy', '')])
def test_kinds_of_files(tmp_path, name, kind):
    """8 and 16 bit, in colour, and numbers of any range: maps are compared up to a factor, which metrics do not see."""
    write(tmp_path / 'v', range(0, FRAMES, 4), name, kind)
    found, lines = scores_of(tmp_path, [Gaze('v')])
    assert len(lines) == 1
    for metric, value in expected(set(range(0, FRAMES, 4))).scores.items():
        if metric != 'kl_div':
            np.testing.assert_allclose(found.scores[metric], value, atol=1e-5)


@pytest.mark.parametrize('place', ['v.mp4', 'v/saliency.mkv'])
def test_a_film_of_maps(tmp_path, place):
    write_film(tmp_path / place, range(FRAMES))
    found, lines = scores_of(tmp_path, [Gaze('v')])
    assert not lines and found.frames == FRAMES
    np.testing.assert_allclose(found.scores['nss'], expected(set(range(FRAMES))).scores['nss'], atol=0.01)


@pytest.mark.parametrize('count', [FRAMES - 2, FRAMES + 3])
def test_a_film_of_another_length_is_refused(tmp_path, count):
    write_film(tmp_path / 'v.mp4', range(count))
    with pytest.raises(InputError, match=f'v.mp4: {count} maps for 60 frames, and a film does not say which'):
        scores_of(tmp_path, [Gaze('v')])


def test_images_of_a_set_lie_in_one_folder(tmp_path):
    videos = [Gaze(name, 1, k) for k, name in enumerate(('1001', '1002', '1003'))]
    for k, suffix in ((0, 'png'), (2, 'jpg')):
        PIL.Image.fromarray(saliency(k)).save(tmp_path / f'{videos[k].name}.{suffix}')
    found, lines = scores_of(tmp_path, videos)
    assert lines == ['1002: no maps'] and [row.video for row in found.videos] == ['1001', '1003']


def test_what_is_no_map_is_refused_in_a_line(tmp_path):
    for content, text in ((np.zeros((4, 5, 3)), r'float64 \(4, 5, 3\); must be one map'), (np.array([['a']]), '<U1'),
                          (b'broken', 'cannot be read as a NumPy array')):
        path = tmp_path / '1.npy'
        path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
        with pytest.raises(InputError, match=f'1.npy: {text}') as refused:
            map_files.read_map(path)
        assert len(str(refused.value).splitlines()) == 1
    np.save(tmp_path / '1.npy', np.ones((1, 4, 5)))
    assert map_files.read_map(tmp_path / '1.npy').shape == (4, 5)
    for name in ('a.mp4', 'b.mp4'):
        (tmp_path / 'v' / name).parent.mkdir(exist_ok=True)
        (tmp_path / 'v' / name).write_bytes(b'x')
    with pytest.raises(InputError, match='v: 2 films of maps, as a.mp4 and b.mp4; leave one'):
        find_maps(tmp_path / 'v', 5)


def test_sizes_may_differ_from_the_frames_but_not_in_a_video(tmp_path):
    write(tmp_path / 'v', range(5))
    PIL.Image.fromarray(saliency(9, (20, 20))).save(tmp_path / 'v' / 'eyeMap_00003.png')
    with pytest.raises(InputError, match=r'v: its maps must be \[h, w\] of one size'):
        scores_of(tmp_path, [Gaze('v')])


# -------------------------------------------------------------------------------------------------------------- thresholds


def test_what_is_below_a_threshold_is_nothing():
    """At the size at which maps are scored, just before the metric: against NumPy, frame by frame."""
    video, rules = Gaze('v', 12), protocols.choose_protocol('dhf1k', (0, 0.3, 0.7))
    rows = scoring.score_all(lambda video: ({'m': saliency(k, SHAPE)} for k in range(12)), [video], rules, 'm')
    assert list(rows) == ['m, threshold 0', 'm, threshold 0.3', 'm, threshold 0.7']
    for level in (0, 0.3, 0.7):
        nss, cc = [], []
        for k in range(12):
            z = saliency(k, SHAPE) / 255
            z[z < level] = 0
            nss.append(((z - z.mean()) / z.std(ddof=1))[video.fixations(k)].mean())
            cc.append(np.corrcoef(z.ravel(), video.density(k).ravel())[0, 1])
        found = rows[f'm, threshold {level:g}'].scores
        np.testing.assert_allclose([found['nss'], found['cc']], [np.mean(nss), np.mean(cc)], atol=1e-4)
    assert rows['m, threshold 0.7'].undefined['kl_div'] == 0


def test_an_evaluation_with_gaps_and_thresholds(tmp_path):
    """The whole command, on photographs' layout: the table says which frames were scored."""
    for k in range(3):
        notes = tmp_path / 'set' / 'annotations' / 'Mine' / 'v'
        (notes / 'maps').mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(notes / f'fixMap_{k + 1:05d}.mat', {'eyeMap': np.float64(Gaze('v').fixations(k))})
        density = Gaze('v').density(k)
        PIL.Image.fromarray(np.uint8(255 * density / density.max())).save(notes / 'maps' / f'eyeMap_{k + 1:05d}.png')
    write(tmp_path / 'maps' / 'v', [0, 2], 'map{}.npy')
    results = evaluate.evaluate(tmp_path / 'set', '', 'dhf1k', tmp_path / 'x.json', tmp_path / 'maps', thresholds=(0.5,))
    written = json.loads((tmp_path / 'x.json').read_text())
    assert written['mismatched'] == ['v: 1 of 3 frames, without a map; scored are 1, 3']
    assert {name: row['frames'] for name, row in written['rows'].items()} == {'maps, threshold 0.5': 2, 'centre_prior': 2}
    assert results.rows['centre_prior'].frames == 2 and fixations.open_set(tmp_path / 'set').videos[0].frames == 3


def test_thresholds_are_numbers():
    with pytest.raises(InputError, match='--protocol=mine: must be one of stavis'):
        protocols.choose_protocol('mine')
    assert protocols.choose_protocol('mit').thresholds == ()
