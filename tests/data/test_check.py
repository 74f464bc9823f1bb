"""What `python -m stanet_jax.data.check` says of folders of AVE and of fixation sets."""
import shutil

import pytest

from stanet_jax.data import check, synthave
from stanet_jax.evaluation.check import check_sets
from tests import forked


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp('made') / 'set'
    synthave.generate(root, synthave.Settings(train=4, validation=2, test=3, seconds=1.0, side=48, observers=4), workers=1)
    return root


def run(root):
    return forked.python('-m', 'stanet_jax.data.check', f'--root={root}')


def test_all_is_there(made):
    done = run(made)
    assert done.returncode == 0 and 'train: 4 of 4 clips' in done.stdout and 'test: 3 of 3 clips' in done.stdout, done.stderr
    assert 'SynthAVE: 3 videos, 24 frames, listed in SynthAVE_list_test_fps.txt' in done.stdout
    assert 'skipped' not in done.stdout and 'without' not in done.stdout.replace('0 without sound', '')


def test_what_is_missing_is_named(made, tmp_path):
    root = shutil.copytree(made, tmp_path / 'set')
    ave = root / 'AVE_Dataset'
    ids = [line.split('&')[1] for line in (ave / 'trainSet.txt').read_text().splitlines()]
    (ave / 'AVE' / f'{ids[0]}.mp4').unlink()
    (ave / 'AVE' / f'{ids[1]}.mp4').write_bytes(b'no video')
    with open(ave / 'trainSet.txt', 'a') as file:
        file.write('Cat&half a line\n')
    (ave / 'valSet.txt').unlink()
    lines, used = check.check_ave(root)
    text = '\n'.join(lines)
    assert used and 'missing: valSet.txt; their clips are not used' in text and 'train: 2 of 5 clips' in text
    assert f'skipped, missing file (1): {ids[0]}' in text and f'skipped, cannot be read (1): {ids[1]}' in text
    assert 'skipped, bad lines (1): 5: not 5 fields' in text

    videos = sorted((root / 'annotations' / 'SynthAVE').iterdir())
    shutil.rmtree(videos[0])
    (videos[1] / 'fixMap_00001.mat').write_bytes(b'broken')
    next((videos[2] / 'maps').iterdir()).unlink()
    shutil.rmtree(root / 'video_audio')
    lines, used = check_sets(root)
    text = '\n'.join(lines)
    assert used and f'{videos[0].name}: in the fold list, but without annotations' in text and '2 videos' in text
    assert 'without sound (2)' in text and f'without fixations (1): {videos[1].name}' in text
    assert f'without some density maps (1): {videos[2].name}' in text


def test_nothing_is_there(made, tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1 and 'neither AVE, VGGSound, folders of videos nor fixation sets' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    root = shutil.copytree(made, tmp_path / 'set')
    shutil.rmtree(root / 'annotations')
    shutil.rmtree(root / 'AVE_Dataset' / 'AVE')
    done = run(root)
    assert done.returncode == 1 and 'train: 0 of 4 clips' in done.stdout and 'Traceback' not in done.stderr
