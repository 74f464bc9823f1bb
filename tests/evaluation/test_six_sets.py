"""Miniatures of the six fixation sets, made by hand in the layout of the STAViS release, under every protocol."""
import json
import shutil
import wave

import numpy as np
import PIL.Image
import pytest
import scipy.io

from stanet_jax.evaluation import check, evaluate, fixations, protocols

SETS = {'AVAD': ('_1', '_2', '_3'), 'Coutrot_db1': ('_1',), 'Coutrot_db2': ('_1',), 'DIEM': ('',), 'ETMD_av': ('_1',), 'SumMe': ('_1',)}
NAMES = 'one & two', 'Zürich trip (2)'
FRAMES, SHAPE = 11, (24, 32)
UNSEEN, MASSLESS = 9, 10  # frames of the first video: nobody fixates; a density map of zero mass


def bell(k, v):
    """The density of a frame and where its three fixations are."""
    y, x = 6 + k, 8 + 2 * v + k
    density = np.exp(-((np.arange(SHAPE[0])[:, None] - y)**2 + (np.arange(SHAPE[1]) - x)**2) / 18)
    return density, [(y, x), (y - 2, x), (y, x + 3)]


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp('sets')
    (root / 'fold_lists').mkdir()
    for name, folds in SETS.items():
        for fold in folds:  # AVAD's three hold the videos once each, and one that is missing
            videos = NAMES if len(folds) == 1 else [[NAMES[0]], [NAMES[1]], ['missing']][int(fold[1]) - 1]
            (root / 'fold_lists' / f'{name}_list_test{fold}_fps.txt').write_text(''.join(f'{v} {FRAMES} 25\n' for v in videos))
        for v, video in enumerate(NAMES):
            notes, frames, sound = (root / part / name / video for part in ('annotations', 'video_frames', 'video_audio'))
            for folder in (notes / 'maps', frames, sound):
                folder.mkdir(parents=True)
            for k in range(FRAMES):
                density, points = bell(k, v)
                fixations = np.zeros(SHAPE)
                if (v, k) != (0, UNSEEN):
                    fixations[tuple(np.transpose(points))] = 1
                density = 0 * density if (v, k) == (0, MASSLESS) else density
                scipy.io.savemat(notes / f'fixMap_{k + 1:05d}.mat', {'eyeMap': fixations})
                PIL.Image.fromarray(np.uint8(np.round(255 * density))).save(notes / 'maps' / f'eyeMap_{k + 1:05d}.jpg', quality=100)
                PIL.Image.fromarray(np.full((*SHAPE, 3), 9 * k, np.uint8)).save(frames / f'img_{k + 1:05d}.jpg')
            if v == 0:  # the second one's sound is missing
                with wave.open(str(sound / f'{video}.wav'), 'wb') as file:
                    file.setnchannels(1), file.setsampwidth(2), file.setframerate(16000)
                    file.writeframes(bytes(32000))
    return root


def plain_scores(root):
    """CC, SIM and NSS of the density as the map of each frame, by hand: 1, 1, and the mean standardised value; NaN where undefined."""
    rows = []
    for v, video in enumerate(NAMES):
        for k in range(FRAMES):
            density = np.asarray(PIL.Image.open(root / 'annotations' / 'DIEM' / video / 'maps' / f'eyeMap_{k + 1:05d}.jpg'), float)
            values = [density[place] for place in bell(k, v)[1]]
            massless, unseen = (v, k) == (0, MASSLESS), (v, k) == (0, UNSEEN)
            nss = np.nan if massless or unseen else (np.mean(values) - density.mean()) / density.std(ddof=1)
            rows.append([np.nan if massless else 1.0, np.nan if massless else 1.0, nss])
    return np.array(rows).reshape(2, FRAMES, 3)


@pytest.mark.parametrize('protocol', protocols.PROTOCOLS)
def test_all_six_under_every_protocol(sets, tmp_path, protocol):
    for name in SETS:  # the density maps stand for a model's
        for video in NAMES:
            shutil.copytree(sets / 'annotations' / name / video / 'maps', tmp_path / 'maps' / name / video / 'maps')
    results = evaluate.evaluate(sets, 'all', protocol, tmp_path / 'scores.json', tmp_path / 'maps')
    assert results.keys() == SETS.keys() == json.loads((tmp_path / 'scores.json').read_text())['sets'].keys()
    rules, expected = protocols.PROTOCOLS[protocol], plain_scores(sets)[:, protocols.PROTOCOLS[protocol].first:]
    for name, result in results.items():
        row = result.rows['maps']
        assert row.frames == 2 * (FRAMES - rules.first) and not row.failed and len(row.videos) == 2
        assert result.mismatched == (['missing: in the fold list, but without annotations'] if name == 'AVAD' else [])
        assert np.isfinite(list(row.scores.values())).all() and row.scores.keys() == {*rules.metrics}
        assert [row.undefined[m] for m in ('sim', 'cc', 'kl_div')] == [1, 1, 1]
        assert row.undefined['nss'] == 2 and row.undefined['auc_judd'] == 1  # nobody fixates; the map is constant
        if protocol in ('dhf1k', 'mit'):  # nothing is done to a map of the frame's size; all frames count alike
            wanted = np.nanmean(expected.reshape(-1, 3), axis=0)
            np.testing.assert_allclose([row.scores[m] for m in ('cc', 'sim', 'nss')], wanted, rtol=2e-3)
        if protocol == 'ntire':  # min-max changes none of the three; frames to videos to set
            wanted = np.nanmean(np.nanmean(expected, axis=1), axis=0)
            np.testing.assert_allclose([row.scores[m] for m in ('cc', 'sim', 'nss')], wanted, rtol=2e-3)
        assert row.scores['auc_judd'] > 0.85 and row.scores['cc'] > 0.85
    assert (protocol == 'ntire') == ('shuffled_auc' not in row.scores)


def test_what_the_check_says(sets):
    lines, used = check.check_sets(sets)
    text = '\n'.join(lines)
    assert used and all(f'  {name}: 2 videos, 22 frames' in text for name in SETS)
    assert text.count(f'without sound (1): {NAMES[1]}') == 6 and 'missing: in the fold list, but without annotations' in text


def test_sound_and_frames(sets):
    _, videos, _ = fixations.open_set(sets, 'DIEM')
    assert [video.name for video in videos] == [*NAMES] and [video.wave() is None for video in videos] == [False, True]
    assert videos[0].frame(3).shape == (*SHAPE, 3) and videos[1].fps == 25
