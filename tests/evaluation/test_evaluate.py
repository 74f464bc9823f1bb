"""Whole evaluations: the protocol's stages against NumPy, SynthAVE read from disk, what goes wrong, and the script itself."""
import csv
import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

from benchmarks import metrics as plain
from stanet_jax import InputError
from stanet_jax.data import synthave
from stanet_jax.evaluation import evaluate, fixations, metrics, protocols, scoring
from stanet_jax.evaluation.fixations import open_set
from stanet_jax.evaluation.map_files import match_maps
from stanet_jax.evaluation.map_sources import open_map_folders, score_students, student_maps
from stanet_jax.evaluation.references import HalfOfObservers, reference_rows
from stanet_jax.evaluation.resizing import resize, resize_matrix
from stanet_jax.evaluation.results import FailedVideo, SetResults, SetScores, VideoScores
from stanet_jax.evaluation.tables import format_scores, write_scores
from stanet_jax.media.frame import resize_frame
from stanet_jax.media.sound import audio_window, log_spectrogram
from tests import forked

STAVIS, DHF1K, MIT, NTIRE = (protocols.PROTOCOLS[name] for name in ('stavis', 'dhf1k', 'mit', 'ntire'))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp('made') / 'set'
    synthave.generate(root, synthave.Settings(train=2, validation=0, test=3, seconds=2.0, side=48, observers=6), workers=1)
    return root


@pytest.fixture
def world(made, tmp_path):
    return shutil.copytree(made, tmp_path / 'set')


def write_maps(folder, videos, side=32, seed=0):
    """Random smooth maps of every frame, as `distill.py` writes them."""
    rng = np.random.default_rng(seed)
    for video in videos:
        (folder / video.name / 'maps').mkdir(parents=True)
        for k in range(video.frames):
            map_ = scipy.ndimage.gaussian_filter(rng.random((side, side)), 3)
            map_ = np.uint8(255 * (map_ - map_.min()) / (map_.max() - map_.min()))
            PIL.Image.fromarray(map_).save(folder / video.name / 'maps' / f'eyeMap_{k + 1:05d}.png')


# ---------------------------------------------------------------------------------------------------------------- protocol


@pytest.mark.parametrize('shape', [(40, 50), (20, 26), (61, 33)])
def test_stavis_blurs_then_resizes(shape):
    maps = np.random.default_rng(0).random((2, 20, 26)) * 90 - 30
    maps[1, 5:9] = 200
    offsets = np.arange(-6, 7)
    kernel = np.exp(-(offsets[:, None]**2 + offsets**2) / 8)  # fspecial('gaussian', 13, 2)
    rows, columns = resize_matrix(20, shape[0]), resize_matrix(26, shape[1])
    expected = [rows @ scipy.ndimage.correlate(plain.min_max(m), kernel / kernel.sum(), mode='reflect') @ columns.T for m in maps]
    np.testing.assert_allclose(STAVIS.prepare(np.float32(maps), shape), expected, atol=1e-5)
    assert not np.any(STAVIS.prepare(np.full((1, 20, 26), 0.3, np.float32), shape))


def test_stavis_negatives_and_averages():
    frames = [np.array([1, 5]), np.array([5, 9]), np.zeros(0, int), np.array([7])]
    negatives = STAVIS.negatives([([np.array([3])], (4, 4)), (frames, (4, 4))], 1)
    assert [negatives(k).tolist() for k in range(4)] == [[7, 9], [1, 7], [1, 5, 7, 9], [1, 5, 9]]
    nan = np.nan
    assert STAVIS.average([1.5, 4.0, nan], [2, 1, 0]) == (1.5 + 4) / 2
    assert np.isnan(STAVIS.average([nan], [0]))


def test_dhf1k_negatives_are_ten_frames_of_the_whole_set():
    sets = [([np.array([0, 15])] * 3, (4, 4)), ([np.array([9])] * 30, (8, 8)), ([np.zeros(0, int)], (1, 1))]
    of = DHF1K.negatives(sets, 0)
    assert of(1).tolist() in ([0], [0, 15]) and of(1).tolist() == DHF1K.negatives(sets, 0)(1).tolist()  # (1, 1) of 8 x 8 is (0, 0)
    drawn = {tuple(DHF1K.negatives(sets, 1)(k)) for k in range(30)}
    assert drawn <= {(9,), (0, 9, 54), (0, 54)} and len(drawn) > 1  # (3, 3) of 4 x 4 is (6, 6) of 8 x 8
    lonely = DHF1K.negatives([([np.array([3])], (2, 2))], 0)
    assert lonely(0).size == 0


def test_mit_negatives_are_all_other_frames_as_often_as_they_occur():
    sets = [([np.array([0, 3, 3]), np.array([3])], (2, 2)), ([np.array([15, 15, 5])], (4, 4))]
    of = MIT.negatives(sets, 0)
    assert of(0).tolist() == [1, 0, 0, 3] and of(1).tolist() == [2 - 1 + 1, 0, 0, 4]
    assert np.flatnonzero(MIT.negatives(sets, 1)(0)).tolist() == [0, 10] and MIT.negatives(sets, 1)(0)[10] == 3


def test_averages():
    of = [2.0, 5.0, np.nan], [3, 1, 0]  # videos of 1 2 3, of 5 and an undefined one, of undefined ones alone
    assert NTIRE.average is STAVIS.average and STAVIS.average(*of) == 3.5
    assert DHF1K.average(*of) == MIT.average(*of) == 11 / 4
    assert np.isnan(DHF1K.average([np.nan], [0]))
    assert 'shuffled_auc' not in NTIRE.metrics and STAVIS.metrics == MIT.metrics == DHF1K.metrics == metrics.METRICS


def test_what_is_done_to_maps():
    maps = np.float32([[[0, 4], [8, 12]]])
    np.testing.assert_allclose(NTIRE.prepare(maps, (1, 4))[0], [[0, .25, .75, 1]], atol=1e-6)  # OpenCV's half pixels
    np.testing.assert_allclose(NTIRE.prepare(np.arange(16, dtype=np.float32).reshape(1, 4, 4), (2, 2))[0],
                               [[0, .2], [.8, 1]], atol=1e-6)  # the four in the middle of each, as OpenCV has it
    for rules in (DHF1K, MIT):
        np.testing.assert_allclose(rules.prepare(maps, (5, 3))[0], resize(maps[0], (5, 3)), atol=1e-5)
        np.testing.assert_array_equal(rules.prepare(np.full((1, 7, 5), 0.3, np.float32), (9, 11)), np.full((1, 9, 11), np.float32(0.3)))
    assert not np.any(NTIRE.prepare(np.full((1, 7, 5), 0.3, np.float32), (9, 11)))


def test_protocols_differ_where_they_should(made):
    """One set under all four, each frame against what the protocol's page says, in float64."""
    _, videos, _ = fixations.open_set(made)
    rng = np.random.default_rng(3)
    maps = {video.name: scipy.ndimage.gaussian_filter(rng.random((16, 24, 32)), (0, 3, 3)) for video in videos}
    found = {name: scoring.score(lambda video: iter(maps[video.name]), videos, rules) for name, rules in protocols.PROTOCOLS.items()}
    assert {name: of.frames for name, of in found.items()} == {'stavis': 24, 'dhf1k': 48, 'mit': 48, 'ntire': 48}
    counts = np.stack([[video.counts(k) for k in range(16)] for video in videos])
    assert counts.max() > 1
    expected = []
    for v, video in enumerate(videos):
        for k in range(16):
            s, n = np.float64(resize(maps[video.name][k].astype(np.float32), (48, 48))), counts[v, k]
            others = counts.sum((0, 1)) - n
            pairs = [plain_pairs(s, n, of) for of in (np.ones_like(n), others)]
            p, q = s / s.sum(), np.float64(video.density(k)) / video.density(k).sum()
            expected.append([*pairs, ((s - s.mean()) / s.std() * n).sum() / n.sum(), np.minimum(p, q).sum()])
    scores = found['mit'].scores
    np.testing.assert_allclose([scores[m] for m in ('auc_judd', 'shuffled_auc', 'nss', 'sim')], np.mean(expected, 0), atol=1e-4)
    judd = [plain.auc_judd(np.float64(DHF1K.prepare(maps[video.name][k][None].astype(np.float32), (48, 48))[0]), counts[v, k] > 0)
            for v, video in enumerate(videos) for k in range(16)]
    np.testing.assert_allclose(found['dhf1k'].scores['auc_judd'], np.mean(judd), atol=1e-4)
    assert 'shuffled_auc' not in found['ntire'].scores and found['ntire'].scores.keys() == found['ntire'].undefined.keys()
    constant = scoring.score(lambda video: np.full((16, 8, 8), 0.3), videos, MIT)
    np.testing.assert_allclose([constant.scores[m] for m in ('auc_judd', 'shuffled_auc')], 0.5, atol=1e-6)
    assert not any(constant.undefined[m] for m in ('auc_judd', 'shuffled_auc', 'sim')) and constant.undefined['nss'] == 48


def plain_pairs(s, positive, negative):
    """The share of pairs (a fixation, a negative) in which the fixation's value is higher, ties half."""
    a, b = np.repeat(s.ravel(), positive.ravel()), np.repeat(s.ravel(), negative.ravel())
    return np.mean([(x > b).mean() + (x == b).mean() / 2 for x in a])


# ----------------------------------------------------------------------------------------------------------------- scoring


def test_score_is_the_definition_frame_by_frame(made):
    _, videos, _ = open_set(made)
    rng = np.random.default_rng(1)
    maps = {video.name: scipy.ndimage.gaussian_filter(rng.random((16, 24, 32)), (0, 3, 3)) for video in videos}
    results = scoring.score(lambda video: iter(maps[video.name]), videos, STAVIS)
    assert results.frames == 3 * 8 and not results.failed and not any(results.undefined.values())
    means = []
    for number, (video, row) in enumerate(zip(videos, results.videos, strict=True)):
        fixations, frames = np.stack([video.fixations(k) for k in range(16)]), []
        for k in range(8, 16):
            saliency, density = plain.prepare(maps[video.name][k], (48, 48)), np.float64(video.density(k))
            negatives = np.delete(fixations, k, 0).any(0) & ~fixations[k]
            drawn = metrics.draw(negatives.sum(), min(fixations[k].sum(), negatives.sum()), 100, (number, k))
            frames.append([plain.auc_judd(saliency, fixations[k]), plain.shuffled_auc(saliency, fixations[k], negatives, drawn),
                           plain.nss(saliency, fixations[k]), plain.cc(saliency, density), plain.sim(saliency, density),
                           plain.kl_div(saliency, density)])
        assert row.video == video.name and row.frames == 8
        np.testing.assert_allclose(list(row.scores.values()), np.mean(frames, 0), atol=2e-4)
        means.append(np.mean(frames, 0))
    np.testing.assert_allclose([results.scores[metric] for metric in metrics.METRICS], np.mean(means, 0), atol=2e-4)


def test_undefined_frames_are_left_out_and_counted(world):
    _, videos, _ = fixations.open_set(world)
    video = videos[0]
    (video.notes / 'fixMap_00010.mat').unlink()
    (video.notes / 'maps' / 'eyeMap_00011.jpg').unlink()
    maps = np.random.default_rng(0).random((16, 12, 12))
    maps[11] = 0.5
    results = scoring.score(lambda video: maps, videos[:1], STAVIS)
    assert results.frames == 8 and np.isfinite(list(results.scores.values())).all()
    assert results.undefined == {'auc_judd': 1, 'shuffled_auc': 2, 'nss': 2, 'cc': 2, 'sim': 2, 'kl_div': 1}


def test_a_bad_video_is_listed_and_all_bad_is_an_error(world):
    _, videos, _ = fixations.open_set(world)
    (videos[1].notes / 'fixMap_00012.mat').write_bytes(b'broken')
    good = np.random.default_rng(0).random((17, 12, 12))

    def maps_of_video(video):
        return good[:16] if video is not videos[2] else good
    results = scoring.score(maps_of_video, videos, STAVIS)
    assert [row.video for row in results.videos] == [videos[0].name]
    assert [failed.video for failed in results.failed] == [videos[1].name, videos[2].name]
    assert 'fixMap_00012.mat: cannot be read' in results.failed[0].why and 'is not 16' in results.failed[1].why
    few, gaps, sizes = good[:15], good[:16].copy(), [*good[:15], np.ones((3, 3))]
    gaps[9, 0, 0] = np.nan
    for wrong, text in ((few, 'is not 16'), (gaps, 'finite'), (sizes, 'of one size'), (good[:16, None], r'must be \[h, w\]')):
        with pytest.raises(InputError, match=f'no video could be scored.*{text}'):
            scoring.score(lambda video, wrong=wrong: wrong, videos[:1], STAVIS)


def test_references(made):
    _, videos, _ = fixations.open_set(made)
    rows = reference_rows(made, videos, STAVIS)
    assert list(rows) == ['ceiling', 'centre_prior', 'mean_map']
    assert rows['ceiling'].scores['nss'] > rows['centre_prior'].scores['nss'] > 0
    half = HalfOfObservers(videos[0], 1)
    points = videos[0].observers(9)[1::2]
    np.testing.assert_array_equal(half.fixations(9), synthave.fixation_map(points, 48) > 0)
    density = half.density(9)
    np.testing.assert_allclose(density / density.max(), synthave.density_map(points, 48), atol=1e-9)
    other = list(HalfOfObservers(videos[0], 0).maps())[9]
    np.testing.assert_allclose(other / other.max(), synthave.density_map(videos[0].observers(9)[::2], 48), atol=1e-9)


# ------------------------------------------------------------------------------------------------------------- checkpoints


class Recorder:
    """In a predictor's place: keeps what it is given; its maps are the frame's grey and the opposite."""
    side, names, front_end, hears = 24, ('a', 'b'), 'log_spectrogram', True

    def __init__(self):
        self.seen = []

    def predict_blocks(self, moments, fps):
        self.seen, self.fps = list(moments), fps
        for start in range(0, len(self.seen), 16):
            block = self.seen[start:start + 16]
            grey = np.float32([moment.picture.mean(axis=2) for moment in block])
            yield block, {'a': grey, 'b': -grey}

    def predict_pictures(self, pictures):
        yield from ({'a': grey, 'b': -grey} for grey in (np.float32(picture.mean(axis=2)) for picture in pictures))


def test_a_checkpoint_sees_frames_and_sound(made):
    _, videos, _ = fixations.open_set(made)
    videos = [videos[0], videos[1]]
    given = {}
    for sound in ('own', 'muted', 'other'):
        predictor = Recorder()
        maps = list(student_maps(predictor, videos, sound)(videos[1]))
        assert len(maps) == 16 and maps[0]['a'].shape == (24, 24) and predictor.fps == 8
        given[sound] = predictor.seen
    for k, moment in enumerate(given['own']):
        np.testing.assert_array_equal(moment.picture, resize_frame(videos[1].frame(k), 24))
        assert moment.time == k / 8 and given['muted'][k].phi == 0 and not given['muted'][k].audio.any()
    for sound, wave in (('own', videos[1].wave()), ('other', videos[0].wave())):
        for k in (0, 7, 15):
            np.testing.assert_allclose(given[sound][k].audio, log_spectrogram(audio_window(wave, k / 8)))
        assert all(moment.phi == 1 for moment in given[sound])


def test_long_videos_and_silent_ones(made):
    class Long:
        name, frames, fps = 'long', 37, 25.0

        def __init__(self):
            self.reads = 0

        def wave(self):
            return None

        def frame(self, k):
            self.reads += 1
            return np.full((30, 40, 3), k, np.uint8)
    video, predictor = Long(), Recorder()
    maps = list(student_maps(predictor, [video])(video))
    np.testing.assert_array_equal([m['a'][0, 0] for m in maps], np.arange(37))
    assert video.reads == 37 and not any(moment.phi or moment.audio.any() for moment in predictor.seen)


def test_rows_of_three_students(made):
    _, videos, _ = fixations.open_set(made)
    rows = score_students(Recorder(), videos[:2], STAVIS)
    assert list(rows) == ['a', 'b', 'a, muted sound', 'b, muted sound', 'a, other sound', 'b, other sound']
    maps = student_maps(Recorder(), videos[:2])
    alone = scoring.score(lambda video: (m['b'] for m in maps(video)), videos[:2], STAVIS)
    assert rows['b'] == alone and rows['a'] != alone


def test_maps_are_saved_under_the_names_that_the_release_of_stavis_reads(made, tmp_path):
    """From the ninth frame on, as that release predicts them; scored as a folder, they score about as they did."""
    _, videos, _ = fixations.open_set(made)
    rows = score_students(Recorder(), videos[:2], STAVIS, save=tmp_path)
    names = sorted(path.name for path in (tmp_path / videos[0].name).iterdir())
    assert names == [f'pred_sal_{k:06d}.jpg' for k in range(9, 17)] and sorted(p.name for p in tmp_path.iterdir()) == sorted(
        video.name for video in videos[:2])
    maps, there, lines = open_map_folders({'maps': tmp_path}, videos, STAVIS.first)
    assert [video.name for video in there] == [video.name for video in videos[:2]] and lines == [f'{videos[2].name}: no maps']
    again = scoring.score_all(maps, there, STAVIS, 'maps')['maps']
    assert again.frames == rows['b'].frames == 16 and rows['a'].scores != rows['b'].scores
    np.testing.assert_allclose(list(again.scores.values()), list(rows['b'].scores.values()), atol=0.05)
    assert match_maps(tmp_path, videos[:2], 8).mismatched == []
    lines = match_maps(tmp_path, videos[:2], 0).mismatched  # under a protocol that scores all frames
    assert lines == [f'{video.name}: 8 of 16 frames, without a map; scored are 9 to 16' for video in videos[:2]]


# ----------------------------------------------------------------------------------------------------------------- folders


def test_folders_of_maps(made, tmp_path):
    _, videos, _ = fixations.open_set(made)
    first, second, third = videos
    write_maps(tmp_path, videos[:1])
    for name, count in ((second.name, 16), (third.name, 15), ('stranger', 3)):  # numbers without leading zeros
        (tmp_path / name).mkdir()
        for k in range(count):
            PIL.Image.fromarray(np.full((8, 8), k, np.uint8)).save(tmp_path / name / f'{k + 1}.png')
    found, lines = match_maps(tmp_path, videos)
    assert list(found) == [first.name, second.name, third.name]
    assert lines == [f'{third.name}: 1 of 16 frames, without a map; scored are 1 to 15', 'stranger: maps, but not in the set']
    assert [path.name for path in found[first.name].files[:2]] == ['eyeMap_00001.png', 'eyeMap_00002.png']
    assert [int(fixations.read_image(path, 'L')[0, 0]) for path in found[second.name].files] == list(range(16))
    for video in videos:
        shutil.rmtree(tmp_path / video.name)
    with pytest.raises(InputError, match=f'no video match the set; the first: {first.name}: no maps'):
        match_maps(tmp_path, videos)


def test_side_by_side_and_where_it_was_interrupted(made, tmp_path):
    """Several processes, and an evaluation that is cut off and goes on, give what one process gives at once."""
    _, videos, _ = fixations.open_set(made)
    rules, kind = protocols.choose_protocol('dhf1k', (0.5,)), 'maps, threshold 0.5'
    write_maps(tmp_path / 'maps', videos)
    maps, videos, _ = open_map_folders({'maps': tmp_path / 'maps'}, videos)
    (tmp_path / 'maps' / videos[1].name / 'maps' / 'eyeMap_00012.png').write_bytes(b'broken')
    expected = scoring.score_all(maps, videos, rules, 'maps')
    assert [failed.video for failed in expected[kind].failed] == [videos[1].name]
    beside = scoring.score_all(maps, videos, rules, 'maps', workers=2)
    assert beside[kind].failed == expected[kind].failed
    np.testing.assert_allclose(*([list(of[kind].scores.values()) for of in (beside, expected)]), atol=1e-5)

    which, seen = {'protocol': 'dhf1k'}, []

    def interrupted(video):
        seen.append(video.name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return maps(video)
    with pytest.raises(KeyboardInterrupt):
        scoring.score_all(interrupted, videos, rules, 'maps', scoring.ScoreCache(tmp_path / 'x.partial', which))
    with open(tmp_path / 'x.partial', 'a') as file:
        file.write('{"name": "maps", "vid')  # as a kill may leave it
    seen = []
    assert scoring.score_all(interrupted, videos, rules, 'maps', scoring.ScoreCache(tmp_path / 'x.partial', which)) == expected
    assert seen == [videos[1].name, videos[2].name]  # the one that failed is tried again
    assert scoring.ScoreCache(tmp_path / 'x.partial', which).rows('maps') == {
        row.video: {kind: row} for row in expected[kind].videos}
    assert not scoring.ScoreCache(tmp_path / 'x.partial', {'protocol': 'mit'}).rows('maps')


def test_all_sets(made, tmp_path):
    root = tmp_path / 'sets'
    for name in ('Mine', 'AVAD', 'SumMe'):
        shutil.copytree(made / 'annotations' / 'SynthAVE', root / 'annotations' / name)
        if name != 'SumMe':
            write_maps(tmp_path / 'maps' / name, fixations.open_set(root, name)[1])
    out = tmp_path / 'new' / 'scores.json'
    done = script(f'--maps={tmp_path / "maps"}', f'--data={root}', '--set=all', '--protocol=ntire', f'--out={out}', '--compare')
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(
        ['scores.json', *(f'scores_{name}.{kind}' for name in ('AVAD', 'Mine') for kind in ('json', 'csv'))])
    block = done.stdout[done.stdout.rindex('AVAD '):]
    found, one = json.loads(out.read_text()), json.loads((out.parent / 'scores_AVAD.json').read_text())
    assert found['protocol'] == 'ntire' and found['sets']['AVAD']['maps'] == one['rows']['maps']['scores']
    assert 'Mine' in block and 'SumMe: --maps=' in block  # the papers' sets first, others after
    paper = next(line.split() for line in block.splitlines() if 'STANet+ (paper)' in line)
    assert paper == ['STANet+', '(paper)', '0.887', '0.361', '0.595', '0.490', '2.318']
    ours = next(line.split() for line in block.splitlines() if line.startswith('  maps'))
    assert ours[3] == '-' and float(ours[-1]) == round(found['sets']['AVAD']['maps']['nss'], 3)  # s-AUC is not scored


def script(*arguments):
    return forked.python('evaluate.py', *arguments, '--workers=1', before=forked.ERRORS)


def test_the_script(world, tmp_path):
    _, videos, _ = fixations.open_set(world)
    write_maps(tmp_path / 'maps', videos)
    (videos[0].notes / 'fixMap_00009.mat').unlink()
    shutil.rmtree(tmp_path / 'maps' / videos[1].name)
    out = tmp_path / 'new' / 'scores.json'
    done = script(f'--maps={tmp_path / "maps"}', f'--data={world}', '--set=SynthAVE', '--protocol=stavis', f'--out={out}')
    assert done.returncode == 0, done.stderr
    for text in ('SynthAVE, protocol stavis', 'ceiling', 'centre_prior', 'mean_map', 'undefined: 1 AUC-J, 1 s-AUC, 1 NSS',
                 f'{videos[1].name}: no maps'):
        assert text in done.stdout, done.stdout
    results = json.loads(out.read_text(), parse_constant=lambda constant: pytest.fail(constant))
    assert results['protocol'] == 'stavis' and list(results['rows']) == ['maps', 'ceiling', 'centre_prior', 'mean_map']
    row = results['rows']['maps']
    assert row['frames'] == 16 and len(row['videos']) == 2 and row['undefined']['nss'] == 1
    with out.with_suffix('.csv').open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 4 * 3 and float(table[0]['nss']) == row['scores']['nss'] and table[1]['video'] == videos[0].name
    assert sorted(p.name for p in out.parent.iterdir()) == ['scores.csv', 'scores.json']


def test_scores_that_were_kept_are_of_the_maps_as_they_are(world, tmp_path, monkeypatch, capsys):
    """An evaluation that broke off goes on, but not where the maps were made anew meanwhile."""
    _, videos, _ = fixations.open_set(world)
    given = {'data': world, 'set_name': '', 'protocol': 'stavis', 'out': tmp_path / 'scores.json', 'maps': tmp_path / 'maps'}

    def break_off():
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(evaluate, 'publish_scores', stop)
            evaluate.evaluate(**given)

    def stop(*_):
        raise KeyboardInterrupt
    write_maps(tmp_path / 'maps', videos)
    break_off()
    evaluate.evaluate(**given)
    assert f'goes on after {len(videos)} videos' in capsys.readouterr().out and not (tmp_path / 'scores.partial').exists()
    break_off()
    for path in (tmp_path / 'maps').rglob('*.png'):
        os.utime(path)
    evaluate.evaluate(**given)
    assert 'goes on' not in capsys.readouterr().out


def test_undefined_scores_are_null(tmp_path):
    empty = {'frames': 1, 'scores': dict.fromkeys(metrics.METRICS, float('nan')), 'undefined': dict.fromkeys(metrics.METRICS, 1)}
    row = SetScores(**empty, failed=[FailedVideo('c', 'it is broken')], videos=[VideoScores('é, "b"', **empty)])
    results = SetResults('stavis', 'Ü', 'sets', 'maps of mine', ['d: no maps'], {'maps': row})
    write_scores(tmp_path / 'x.json', results)
    written = json.loads((tmp_path / 'x.json').read_text())
    assert written['rows']['maps']['scores']['nss'] is None
    assert list(written) == ['protocol', 'set', 'data', 'of', 'mismatched', 'rows']
    assert list(written['rows']['maps']) == ['frames', 'scores', 'undefined', 'failed', 'videos']
    assert written['rows']['maps']['failed'] == [{'video': 'c', 'why': 'it is broken'}]
    assert list(written['rows']['maps']['videos'][0]) == ['video', 'frames', 'scores', 'undefined']
    lines = list(csv.reader((tmp_path / 'x.csv').read_text().splitlines()))
    assert lines[2][3] == 'é, "b"' and lines[2][5:11] == [''] * 6
    assert 'nan' in format_scores(results)


def test_mistakes_are_told(made, tmp_path):
    ok = {'data': made, 'set_name': '', 'protocol': 'stavis', 'out': tmp_path / 'x.json', 'maps': tmp_path}
    for text, wrong in {'must end in .json': {'out': tmp_path / 'x.csv'}, '--protocol=mine: must be one of stavis': {'protocol': 'mine'},
                        '--set=DIEM': {'set_name': 'DIEM'}, 'nowhere: holds no annotations': {'data': 'nowhere'},
                        '--maps=nowhere: no such folder': {'maps': 'nowhere'}, 'no video match the set': {}}.items():
        with pytest.raises(InputError, match=text):
            evaluate.evaluate(**{**ok, **wrong})
    assert not list(tmp_path.iterdir())


def test_wrong_flags_end_in_one_line(made, tmp_path):
    maps, data, out = f'--maps={tmp_path}', f'--data={made}', f'--out={tmp_path / "x.json"}'
    for text, arguments in {'--maps, --checkpoint: one of them': [maps, '--checkpoint=run', data, out],
                            '--data: needed with --maps': [maps, out],
                            '--split: not with --maps': [maps, data, out, '--split=test'],
                            '--data, --out: needs a value, and --maps, --checkpoint or --method': [data, out],
                            '--checkpoint, --method: one of them': ['--checkpoint=run', '--method=centre', data, out],
                            '--data: needed with --method': ['--method=centre', out],
                            '--method: not with --task=segmentation': ['--task=segmentation', '--method=centre', data, out],
                            'no video match the set': [maps, data, out],
                            'frmaes': ['--frmaes=1']}.items():
        done = forked.stanet('evaluate', *arguments)
        assert done.returncode == 1 and text in done.stderr and len(done.stderr.strip().splitlines()) == 1, (text, done.stderr)
