"""Folders of videos and CSV files that list them: what is found, how it is cut into clips and split, and what is skipped."""
import pathlib
import shutil

import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.data import folders, preparation, sets
from stanet_jax.data.check import check_set
from stanet_jax.data.folders import Video
from stanet_jax.media.sound import read_sound
from stanet_jax.media.video import read_frames
from tests.data.test_ave import write

REAL = pathlib.Path(__file__).parents[3] / 'shared' / 'real'
SIDE, RATE = 32, 8


@pytest.fixture(scope='module')
def media(tmp_path_factory):
    """A long video with sound, a short one, one without sound, and one that is damaged."""
    root = tmp_path_factory.mktemp('media')
    write(root / 'long.mkv', 5.4, 'libopus', 48000, format='matroska')
    write(root / 'short.mp4', 1, 'aac', seed=1)
    write(root / 'silent.mp4', 1.5, seed=2)
    (root / 'broken.mp4').write_bytes((root / 'short.mp4').read_bytes()[:900])
    return root


@pytest.fixture
def root(media, tmp_path):
    root = tmp_path / 'videos'
    for tag, names in {'dog': ('long.mkv', 'short.mp4', 'broken.mp4'), 'rain & wind': ('silent.mp4',)}.items():
        (root / tag).mkdir(parents=True)
        for name in names:
            shutil.copy(media / name, root / tag / name)
    (root / 'dog' / 'notes.txt').write_text('no video')
    (root / 'dog' / '.hidden.mp4').write_text('no video')
    (root / 'prepared').mkdir()
    return root


def ids(splits):
    return {split: [clip['id'] for clip in clips.clips] for split, clips in splits.items()}


def test_folders_of_tags(root, capsys):
    splits = sets.open_splits('folders', root, SIDE, RATE, clip_seconds=2.0, shares=(1.0, 0.0, 0.0))
    assert ids(splits) == {'train': ['dog__long_0', 'dog__long_2', 'dog__long_4', 'dog__short', 'rain & wind__silent']}
    clips = splits['train']
    assert clips.categories == ['dog', 'rain & wind']
    assert [(c['tags'], c['frames'], c['samples'] > 0) for c in clips.clips] == [
        ([0], 16, True), ([0], 16, True), ([0], 11, True), ([0], 8, True), ([1], 12, False)]
    assert {c['source'] for c in clips.clips[:3]} == {'dog/long.mkv'} and {c['kind'] for c in clips.clips} == {'clip'}
    out = capsys.readouterr().out
    assert 'prepared 5 clips, 63 frames; skipped 1: cannot be read (1): dog__broken' in out
    frames, wave = list(read_frames(root / 'dog' / 'long.mkv', RATE, SIDE)), read_sound(root / 'dog' / 'long.mkv')
    assert abs(clips.frame(1, 3).astype(int) - frames[19]).mean() < 2
    heard = clips.sound(1, .5)
    assert max(np.corrcoef(heard[99:-99], wave[32099 + lag:47901 + lag])[0, 1] for lag in range(-16, 17)) > .95  # of Matroska's times
    assert not clips.sound(4, 0.5).any()
    assert sorted(p.name for p in (root / 'prepared' / 'folders').iterdir()) == ['32px_8fps_2s']


def test_the_same_again_and_what_changes(root):
    first = folders.source(root, 2.0)
    assert first.fingerprint == folders.source(root, 2.0).fingerprint
    assert len({of.fingerprint for of in (first, folders.source(root, 3.0), folders.source(root, 2.0, seed=1),
                                          folders.source(root, 2.0, (.6, .2, .2)))}) == 4
    sets.open_splits('folders', root, SIDE, RATE)
    assert folders.source(root, 2.0).fingerprint == first.fingerprint  # the records are none of it
    shutil.copy(root / 'dog' / 'short.mp4', root / 'dog' / 'more.mp4')
    with pytest.raises(InputError, match='prepared from other files or settings'):
        sets.open_splits('folders', root, SIDE, RATE)


def test_given_splits(media, tmp_path):
    for split, tag, name in (('train', 'dog', 'short.mp4'), ('train', 'cat', 'silent.mp4'), ('test', 'dog', 'long.mkv')):
        (tmp_path / split / tag / 'more').mkdir(parents=True)
        shutil.copy(media / name, tmp_path / split / tag / 'more' / name)
    splits = sets.open_splits('folders', tmp_path, SIDE, RATE)
    assert ids(splits) == {'train': ['cat__more__silent', 'dog__more__short'], 'test': ['dog__more__long']}
    assert splits['test'].tag_names(0) == 'dog' and splits['test'].clips[0]['frames'] == 43
    (tmp_path / 'bus').mkdir()  # then train and test are things that are seen
    shutil.copy(media / 'short.mp4', tmp_path / 'bus' / 'short.mp4')
    assert folders.source(tmp_path).read().categories == ['bus', 'test', 'train']


def test_csv_file(media, tmp_path, capsys):
    shutil.copytree(media, tmp_path / 'set')
    (tmp_path / 'set.csv').write_text(
        '\ufefffile,tag,start,end,comment,source_video\nlong.mkv,dog; cat;dog,1,3.25,x,a film\nlong.mkv,dog,4,,,a film\nshort.mp4,dog,,,,\n'
        'short.mp4,,,,,\n\nshort.mp4,dog,2,1,,\nshort.mp4,dog,a,1,,\ngone.mp4,cat\n"silent.mp4","a, b",0,1\nlong.mkv,dog,50,60,,a film\n')
    splits = sets.open_splits('folders', tmp_path / 'set.csv', SIDE, RATE, shares=(1, 0, 0))
    clips = splits['train']
    assert ids(splits) == {'train': ['long_1', 'long_4', 'short', 'silent_0']} and clips.categories == ['a, b', 'cat', 'dog']
    assert [(c['tags'], c['frames'], c['source']) for c in clips.clips] == [
        ([2, 1], 18, 'a film'), ([2], 11, 'a film'), ([2], 8, 'short.mp4'), ([0], 8, 'silent.mp4')]
    assert clips.multi_hot(0).tolist() == [0, 1, 1] and clips.tag_names(0) == 'dog;cat'
    assert clips.of_tag(1) == [0] and clips.of_tag(2) == [0, 1, 2]
    frames = list(read_frames(media / 'long.mkv', RATE, SIDE))
    assert abs(clips.frame(0, 5).astype(int) - frames[13]).mean() < 2
    out = capsys.readouterr().out
    assert 'bad line (3): short.mp4,,,,, (no tag), ' in out and '(the end is not after the start)' in out
    assert '(start or end is no number)' in out and 'missing file (1): gone' in out
    assert 'long_50 (no frame of it decodes from 50 s on)' in out
    assert sorted(p.name for p in (tmp_path / 'set' / 'prepared').iterdir()) == ['folders']


@pytest.mark.parametrize('beside', [True, False])
def test_a_csv_file_speaks_for_its_folder(media, tmp_path, beside):
    root = shutil.copytree(media, tmp_path / 'set')
    path = tmp_path / 'set.csv' if beside else root / 'clips.csv'
    path.write_text('file,tag,split,kind\nshort.mp4,dog,train,easy\nlong.mkv,dog,test,\n')
    assert folders.find_table(root) == path
    splits = sets.open_splits('folders', root, SIDE, RATE)
    assert ids(splits) == {'train': ['short'], 'test': ['long']} and splits['train'].clips[0]['kind'] == 'easy'
    path.write_text('another,table\n')
    assert folders.find_table(root) is None


def test_without_a_line_of_names(media, tmp_path):
    (tmp_path / 'list.csv').write_text(f'{media}/short.mp4,dog\n{media}/long.mkv,dog;cat,0,2\n')
    listing = folders.source(tmp_path / 'list.csv', shares=(1, 0, 0)).read()
    assert [(clip.tags, clip.start, clip.end) for clip in listing.splits['train']] == [((1,), 0, None), ((1, 0), 0, 2)]


@pytest.mark.parametrize('start, end, length, expected', [
    (0, None, None, [(0, None)]), (0, None, 3, [(0, None)]), (0, None, 10.4, [(0, None)]), (0, None, 10, [(0, None)]),
    (0, None, 20, [(0, 10), (10, None)]), (0, None, 31.5, [(0, 10), (10, 20), (20, 30), (30, None)]),
    (0, None, 30.9, [(0, 10), (10, 20), (20, None)]), (5, 26, 99, [(5, 15), (15, 25), (25, 26)]), (5, 25.5, 99, [(5, 15), (15, 25.5)]),
    (0, 12, 3, [(0, 12)]), (50, None, 3, [(50, None)])])
def test_cut(start, end, length, expected):
    assert folders.cut(start, end, length, 10.0) == expected
    short = folders.cut(0.0, None, 2.0, 0.5)
    assert short == [(0, .5), (.5, 1), (1, 1.5), (1.5, None)]


@pytest.mark.parametrize('films, shares, expected', [
    (10, (.8, .1, .1), [8, 1, 1]), (3, (.8, .1, .1), [1, 1, 1]), (2, (.8, .1, .1), [1, 1, 0]), (1, (.8, .1, .1), [1, 0, 0]),
    (0, (.8, .1, .1), [0, 0, 0]), (4, (.1, .45, .45), [1, 2, 1]), (7, (.8, 0, .2), [6, 0, 1]), (100, (.7, .1, .2), [70, 10, 20]),
    (5, (1, 0, 0), [5, 0, 0])])
def test_split_counts(films, shares, expected):
    assert folders.split_counts(films, shares) == expected


def test_films_lie_in_one_split_and_every_tag_in_all():
    videos = [Video(f'{k}.mp4', f'{k}.mp4', (f'tag{k % 3}',), f'film{k // 6 * 3 + k % 3}') for k in range(60)]  # two of each film
    drawn = folders.draw_splits(videos, [True] * 60, (.6, .2, .2), 0)
    assert drawn == folders.draw_splits(videos[::-1], [True] * 60, (.6, .2, .2), 0)[::-1]
    assert drawn != folders.draw_splits(videos, [True] * 60, (.6, .2, .2), 1)
    by_film = {video.source: split for video, split in zip(videos, drawn, strict=True)}
    assert all(by_film[video.source] == split for video, split in zip(videos, drawn, strict=True))
    for tag in range(3):
        of = [by_film[f'film{k}'] for k in range(30) if k % 3 == tag]
        assert [of.count(split) for split in folders.SPLITS] == [6, 2, 2]
    # Those that cannot be read take no place of others, and a given split is the film's.
    one = [Video(f'{k}', f'{k}', ('a',), f'{k}') for k in range(4)]
    drawn = folders.draw_splits(one, [True, True, False, True], (.8, .1, .1), 0)
    assert drawn[2] == 'train' and sorted(drawn[:2] + drawn[3:]) == ['test', 'train', 'validation']
    one[0] = one[0]._replace(split='test', source='1')
    assert folders.draw_splits(one, [True] * 4, (.8, .1, .1), 0)[:2] == ['test', 'test']


def test_a_film_in_two_splits_is_refused(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text('file,tag,source_video,split\na.mp4,x,film,train\nb.mp4,x,film,test\nc.mp4,x,film,\nd.mp4,x,,dev\n')
    videos, skipped = folders.read_table(path)
    assert [video.name for video in videos] == ['a.mp4', 'c.mp4']
    assert [of['detail'] for of in skipped] == ['its film is in the split train', 'its split is none of train, validation, test']


@pytest.mark.parametrize('change, text', [
    (lambda root: root / 'none', 'none: no such folder, nor a CSV file; put videos into folders'),
    (lambda root: root / 'dog' / 'empty', 'holds no folders with videos; put videos'),
    (lambda root: root / 'no.csv', 'no.csv: has no column tag, only file, label')])
def test_wrong_input(root, change, text):
    (root / 'dog' / 'empty').mkdir()
    (root / 'no.csv').write_text('file,label\n')
    with pytest.raises(InputError, match=text) as caught:
        preparation.prepare(folders.source(change(root)), SIDE, RATE)
    assert '\n' not in str(caught.value)
    with pytest.raises(InputError, match='clip_seconds'):
        folders.source(root, 0.0)


def test_check(root):
    lines, used = check_set(folders.source(root, shares=(1, 0, 0)), 'videos')
    assert used and lines[0] == f'videos in {root}'
    assert lines[1:] == ['  train: 3 of 4 clips can be used, 2 categories, 1 without sound (rain & wind__silent)',
                         '    skipped, cannot be read (1): dog__broken']


@pytest.mark.skipif(not REAL.is_dir(), reason='the shared clips are not here')
def test_real_clips():
    listing = folders.source(REAL / 'clips').read()
    assert len(listing.categories) == 8 and not listing.skipped
    films = {split: {clip.source for clip in clips} for split, clips in listing.splits.items()}
    assert len({clip.path for clips in listing.splits.values() for clip in clips}) == 116
    assert not films['train'] & films['test'] and not films['train'] & films['validation'] and not films['validation'] & films['test']
    assert all({tag for clip in clips for tag in clip.tags} == set(range(8)) for clips in listing.splits.values())
    assert folders.source(REAL / 'clips.csv').read() == listing
