"""SynthAVE: the same seed gives the same files, they lie as the readers want them, and each kind holds what it promises."""
import dataclasses
import json

import numpy as np
import PIL.Image
import pytest
import scipy.io
import scipy.io.wavfile

from stanet_jax import InputError
from stanet_jax.data import synthave
from stanet_jax.data.synthave import HEAD, KINDS, Settings
from stanet_jax.media.sound import read_sound
from stanet_jax.media.video import read_frames
from tests import forked

# As many clips as kinds in validation and test, so that each kind comes once there.
TINY = Settings(train=8, validation=6, test=6, seconds=1.5, side=48, seed=3, **dict.fromkeys(KINDS, 1 / 6))
FRAMES = 12


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp('synthave') / 'new' / 'world'
    synthave.generate(out, TINY, workers=2)
    return out


@pytest.fixture(scope='module')
def truth(world):
    return [json.loads(line) for line in (world / 'truth.jsonl').read_text().splitlines()]


def contents(root):
    """Bytes of all files by name, of .mat files without the header's text, which holds the time."""
    return {str(path.relative_to(root)): path.read_bytes()[116 * (path.suffix == '.mat'):]
            for path in root.rglob('*') if path.is_file()}


def picture(path):
    """Mode and values of an image."""
    with PIL.Image.open(path) as image:
        return image.mode, np.asarray(image, float)


def many_clips(**fields):
    settings = Settings(train=48, **dict.fromkeys(KINDS, 1 / 6), **fields)
    return settings, [synthave.make_clip(settings, 'train', i) for i in range(48)]


def run(*args, limit=None):
    """The command line; `limit` is the largest file that it may write, in bytes."""
    limited = f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)'
    return forked.stanet('data', 'synthave', '--workers=1', *args, before=limited if limit else forked.ERRORS)


def error_line(result):
    """The one line of a failure, with the line of progress taken off."""
    assert result.returncode not in (0, 2) and 'Traceback' not in result.stderr and not result.stdout
    *before, line = result.stderr.splitlines()
    assert all(text.startswith('\rSynthAVE') or 'SynthAVE:' in text or not text for text in before)
    assert line.startswith('error: ')
    return line


def test_the_same_seed_gives_the_same_files(world, tmp_path):
    synthave.generate(tmp_path / 'again', TINY, workers=1)
    assert contents(tmp_path / 'again') == contents(world)
    assert [path.name for path in tmp_path.iterdir()] == ['again']


def test_another_seed_differs(world, truth, tmp_path):
    (tmp_path / 'AVE_Dataset' / 'AVE').mkdir(parents=True)
    for split in ('train', 'test'):
        own = next(t for t in truth if t['split'] == split)
        _, line, _ = synthave.write_clip(tmp_path, dataclasses.replace(TINY, seed=4), split, 0)
        other = json.loads(line)
        assert (other['kind'], other['tag']) == (own['kind'], own['tag'])
        assert other['id'] != own['id'] and other['objects'][0]['head'] != own['objects'][0]['head']
        first, second = (next(read_frames(folder / 'AVE_Dataset' / 'AVE' / f'{t["id"]}.mp4', 8, 48))
                         for folder, t in ((world, own), (tmp_path, other)))
        assert abs(first.astype(int) - second).mean() > 5
    points = [scipy.io.loadmat(folder / 'annotations' / 'SynthAVE' / t['id'] / 'fixMap_00005.mat')['observers']
              for folder, t in ((world, own), (tmp_path, other))]
    assert points[0].shape == points[1].shape and (points[0] != points[1]).mean() > .9


def test_make_clip_is_pure():
    clips = [synthave.make_clip(TINY, split, index) for split in synthave.SPLITS for index in range(6)]
    assert len({clip.id for clip in clips}) == 18
    again = [synthave.make_clip(TINY, split, index) for split in synthave.SPLITS for index in range(6)]
    for a, b in zip(clips, again, strict=True):
        assert (a.id, a.kind, a.tag, a.heard) == (b.id, b.kind, b.tag, b.heard)
        for p, q in zip(a.objects + a.distractors, b.objects + b.distractors, strict=True):
            np.testing.assert_array_equal(p.path, q.path)
            np.testing.assert_array_equal(p.visible, q.visible)
            assert p.look.uniform() == q.look.uniform()
    # Splits show different clips though kinds and tags are the same.
    assert all(abs(clips[i].objects[0].path - clips[6 + i].objects[0].path).max() > .1 for i in range(6))


def test_layout_of_training(world, truth):
    assert sorted(path.name for path in world.iterdir()) == [
        'AVE_Dataset', 'annotations', 'fold_lists', 'settings.json', 'train_mean_density.png', 'truth.jsonl', 'video_audio',
        'video_frames']
    folder = world / 'AVE_Dataset'
    assert sorted(path.name for path in folder.iterdir()) == [
        'AVE', 'Annotations.txt', 'testSet.txt', 'trainSet.txt', 'valSet.txt']
    lines = {split: (folder / name).read_text().splitlines() for split, name in synthave.SPLITS.items()}
    assert {split: len(found) for split, found in lines.items()} == {'train': 8, 'validation': 6, 'test': 6}
    assert (folder / 'Annotations.txt').read_text().splitlines() == [line for found in lines.values() for line in found]
    assert sorted(path.name for path in (folder / 'AVE').iterdir()) == sorted(f'{t["id"]}.mp4' for t in truth)
    expected = []
    for t in truth:
        assert len(t['id']) == 11
        shown = np.flatnonzero(t['objects'][0]['visible']) / 8
        expected.append(f'category_{t["tag"]:02d}&{t["id"]}&{t["kind"]}&{int(shown[0])}&{int(np.ceil(shown[-1] + 1 / 8))}')
    assert [line for found in lines.values() for line in found] == expected
    assert json.loads((world / 'settings.json').read_text()) == dataclasses.asdict(TINY)
    mode, mean = picture(world / 'train_mean_density.png')
    assert (mode, mean.shape, mean.max()) == ('L', (48, 48), 255)


def test_videos(world, truth):
    for t in truth[::5]:
        path = world / 'AVE_Dataset' / 'AVE' / f'{t["id"]}.mp4'
        frames = list(read_frames(path, 8, 48))
        assert len(frames) == FRAMES
        with synthave.av.open(str(path)) as container:
            video, sound = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, sound.codec_context.name, sound.rate) == ('h264', 'aac', 16000)
        assert abs(len(read_sound(path)) - 24000) <= 2048


def test_layout_of_fixations(world, truth):
    clips = [t for t in truth if t['split'] == 'test']
    ids = sorted(t['id'] for t in clips)
    fold = (world / 'fold_lists' / 'SynthAVE_list_test_fps.txt').read_text()
    assert fold == ''.join(f'{t["id"]} {FRAMES} 8\n' for t in clips)
    assert [path.name for path in (world / 'fold_lists').iterdir()] == ['SynthAVE_list_test_fps.txt']
    for name in ('video_frames', 'video_audio', 'annotations'):
        assert [path.name for path in (world / name).iterdir()] == ['SynthAVE']
        assert sorted(path.name for path in (world / name / 'SynthAVE').iterdir()) == ids

    def names(path):
        return sorted(p.name for p in path.iterdir())

    numbers = [f'{t:05d}' for t in range(1, FRAMES + 1)]
    for clip in ids:
        images, notes = world / 'video_frames' / 'SynthAVE' / clip, world / 'annotations' / 'SynthAVE' / clip
        assert names(images) == [f'img_{n}.jpg' for n in numbers]
        assert names(notes) == [f'fixMap_{n}.mat' for n in numbers] + ['maps']
        assert names(notes / 'maps') == [f'eyeMap_{n}.jpg' for n in numbers]
        rate, wave = scipy.io.wavfile.read(world / 'video_audio' / 'SynthAVE' / clip / f'{clip}.wav')
        assert (rate, wave.dtype, wave.shape) == (16000, np.int16, (24000,)) and wave.any()
        for n in numbers[::5]:
            mode, image = picture(images / f'img_{n}.jpg')
            assert (mode, image.shape) == ('RGB', (48, 48, 3))
            mode, density = picture(notes / 'maps' / f'eyeMap_{n}.jpg')
            assert (mode, density.shape) == ('L', (48, 48))
            mat = scipy.io.loadmat(notes / f'fixMap_{n}.mat')
            assert mat['observers'].shape == (16, 2) and 0 <= mat['observers'].min() <= mat['observers'].max() <= 47
            expected = np.zeros((48, 48))
            for y, x in mat['observers']:
                expected[int(round(y)), int(round(x))] = 1
            np.testing.assert_array_equal(mat['eyeMap'], expected)
            # The density is high where the fixations are.
            assert density.max() > 240 and density[expected > 0].mean() > 3 * density.mean()


def test_frames_of_the_two_layouts_agree(world, truth):
    clip = next(t['id'] for t in truth if t['split'] == 'test')
    for n, frame in enumerate(read_frames(world / 'AVE_Dataset' / 'AVE' / f'{clip}.mp4', 8, 48), 1):
        _, image = picture(world / 'video_frames' / 'SynthAVE' / clip / f'img_{n:05d}.jpg')
        assert abs(frame - image).mean() < 8


def test_shares_of_kinds():
    settings = Settings()
    shares = {kind: getattr(settings, kind) for kind in KINDS}
    assert min(shares.values()) >= .12 and abs(sum(shares.values()) - 1) < 1e-9
    assert settings.observers >= 12
    for split in synthave.SPLITS:
        found, count = synthave.assignment(settings, split), getattr(settings, split)
        assert len(found) == count
        for kind in KINDS:
            tags = [tag for k, tag in found if k == kind]
            assert abs(len(tags) - shares[kind] * count) <= 1
        # No category is the tag more often than others by more than the kinds' remainders.
        number = np.bincount([tag for _, tag in found], minlength=8)
        assert len(number) == 8 and np.ptp(number) <= len(KINDS)
    only = Settings(train=10, test=0, **{**dict.fromkeys(KINDS, 0.), 'still': 1.})
    assert {kind for kind, _ in synthave.assignment(only, 'train')} == {'still'}


def test_each_kind_holds_what_it_says():
    _, clips = many_clips(seconds=3.)
    foreign = set()
    for kind in KINDS:
        found = [clip for clip in clips if clip.kind == kind]
        assert len(found) == 8
        for clip in found:
            tag, *others = clip.objects
            assert tag.category == clip.tag and len(others) == kind.endswith('_decides')
            assert all(other.category != clip.tag for other in others)
            travel = [np.ptp(thing.head, axis=0).max() / 96 for thing in clip.objects]
            if kind == 'still':
                assert travel == [0]
            elif kind == 'motion_decides':
                assert travel[0] > HEAD and travel[1] == 0
            else:
                assert min(travel) > HEAD
            if kind in ('plain', 'still', 'sound_decides'):
                assert clip.heard == [clip.tag]
            elif kind == 'foreign_sound':
                assert len(clip.heard) == 1 and clip.heard != [clip.tag] and clip.heard[0] >= -2
                foreign.add(min(clip.heard[0], 0))
            else:
                assert clip.heard == [-3]
            if kind == 'context_decides':
                # Away at one end, for an eighth to a third of the time; the other one is there all the time.
                assert 3 <= (tag.visible == 0).sum() <= 8 and np.abs(np.diff(tag.visible)).sum() == 1
                assert others[0].visible.all()
            else:
                assert all(thing.visible.all() for thing in clip.objects)
            assert 2 <= len(clip.distractors) <= 4 and all(thing.category == -1 for thing in clip.distractors)
    assert len(foreign) == 3  # noise, music and another category


@pytest.mark.parametrize('fields', [{}, {'seconds': 10., 'side': 64, 'categories': 28}])
def test_heads_are_in_view_and_apart(fields):
    settings, clips = many_clips(**fields)
    radius, gaps = HEAD * settings.side, []
    for clip in clips:
        for thing in clip.objects:
            assert thing.head.shape == (settings.frames, 2)
            assert thing.head.min() > radius and thing.head.max() < settings.side - radius
            # The head sits on the body's edge and goes with it.
            offset = np.linalg.norm(thing.head - thing.path, axis=1)
            np.testing.assert_allclose(offset, thing.body + radius / 2, rtol=1e-6)
        if len(clip.objects) == 2:
            gaps.append(np.linalg.norm(clip.objects[0].head - clip.objects[1].head, axis=1).min() / radius)
    assert len(gaps) == 24 and min(gaps) > 2


def test_the_head_is_drawn_where_the_truth_says(world, truth):
    for t in truth:
        if t['kind'] != 'motion_decides' or t['split'] != 'test':
            continue
        colours = []
        for thing in t['objects']:
            bright = synthave.head_colours(thing['category'], 8)[0]
            for n, (y, x) in enumerate(thing['head'], 1):
                _, image = picture(world / 'video_frames' / 'SynthAVE' / t['id'] / f'img_{n:05d}.jpg')
                patch = image[round(y) - 2:round(y) + 3, round(x) - 2:round(x) + 3].mean((0, 1))
                colours.append(np.corrcoef(patch, bright)[0, 1])
        assert len(colours) == 2 * FRAMES and np.mean(colours) > .8


def test_observers_look_at_the_tagged_head(world, truth):
    rng = np.random.default_rng(0)
    on_head, elsewhere = [], []
    for t in truth:
        if t['split'] != 'test':
            continue
        assert t['head_radius'] == HEAD * 48
        for n in range(4, FRAMES):
            if not t['objects'][0]['visible'][n]:
                continue
            mat = scipy.io.loadmat(world / 'annotations' / 'SynthAVE' / t['id'] / f'fixMap_{n + 1:05d}.mat')
            for spot, shares in ((t['objects'][0]['head'][n], on_head), (rng.uniform(0, 48, 2), elsewhere)):
                near = np.linalg.norm(mat['observers'] - spot, axis=1) < 1.5 * t['head_radius']
                shares.append(near.mean())
    assert len(on_head) > 30 and np.mean(on_head) > .45 and np.mean(on_head) > 4 * np.mean(elsewhere)


def test_gaze_starts_at_the_centre_and_follows():
    settings = Settings(train=6, observers=200, **dict.fromkeys(KINDS, 1 / 6))
    clip = synthave.make_clip(settings, 'train', 0)
    points = synthave.gaze(clip, settings, np.random.default_rng(1))
    assert points.shape == (200, 16, 2) and abs(points[:, 0].mean(0) - 48).max() < 1
    head = clip.objects[0].head
    late = [np.median(np.linalg.norm(points[:, 4:] - np.roll(head, lag, axis=0)[4:], axis=-1)) for lag in (0, 1, 2, 3, 4)]
    assert np.argmin(late) == 0  # late at a change only, in step with what moves


@pytest.mark.parametrize('categories', [8, 28])
def test_a_categorys_pitch(categories):
    t = np.arange(32000) / 16000
    pitches = []
    for category in range(categories):
        wave = synthave.category_sound(category, categories, t, np.random.default_rng(category))
        pitches.append(np.argmax(np.abs(np.fft.rfft(wave))) / 2)
    expected = 220 * 2 ** (4 * np.arange(categories) / categories)
    np.testing.assert_allclose(pitches, expected, rtol=.02)
    assert min(np.diff(pitches) / pitches[:-1]) > .05


def test_what_is_heard(world, truth):
    heard = [t for t in truth if t['split'] == 'test' and t['heard'][0] >= 0]
    assert {t['kind'] for t in heard} >= {'plain', 'still', 'sound_decides'}
    for t in heard:
        _, wave = scipy.io.wavfile.read(world / 'video_audio' / 'SynthAVE' / t['id'] / f'{t["id"]}.wav')
        pitch = np.argmax(np.abs(np.fft.rfft(wave))) / 1.5
        np.testing.assert_allclose(pitch, 220 * 2 ** (t['heard'][0] / 2), rtol=.02)
    assert all(t['switch'] == (t['kind'] in ('plain', 'still', 'sound_decides')) for t in truth)


def test_command_line(tmp_path):
    out = tmp_path / 'world'
    tiny = ('--categories=28', '--train=1', '--validation=0', '--test=1', '--seconds=1', '--side=48', f'--out={out}')
    done = run(*tiny)
    assert done.returncode == 0 and done.stdout == f'wrote {out}\n' and 'Traceback' not in done.stderr
    assert len(list((out / 'AVE_Dataset' / 'AVE').glob('*.mp4'))) == 2
    assert json.loads((out / 'settings.json').read_text())['categories'] == 28
    before = contents(out)
    assert error_line(run(*tiny)) == f'error: {out}: exists already; delete it or give another folder'
    assert contents(out) == before and [path.name for path in tmp_path.iterdir()] == ['world']


def test_command_line_without_room(tmp_path):
    (tmp_path / 'file').touch()
    tiny = ('--train=1', '--validation=0', '--test=0', '--seconds=1', '--side=48')
    assert str(tmp_path / 'file') in error_line(run(*tiny, f'--out={tmp_path / "file" / "world"}'))
    line = error_line(run(*tiny, f'--out={tmp_path / "world"}', limit=1000))
    assert 'too large' in line and [path.name for path in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize('fields, message', [
    ({'categories': 1}, 'categories: from 2 to 28, got 1'),
    ({'categories': 29}, 'categories'),
    ({'plain': .5}, 'shares from 0 on that sum to 1'),
    ({'plain': -.15, 'still': .42}, 'shares from 0 on'),
    ({'seconds': .5}, 'seconds: at least 1, got 0.5'),
    ({'seconds': float('nan')}, 'seconds'),
    ({'rate': 0}, 'rate: at least 1, got 0'),
    ({'rate': 2}, 'at least 8 frames to a clip, got 4'),
    ({'side': 46}, 'side: an even number from 48 on, got 46'),
    ({'side': 49}, 'side'),
    ({'train': -1}, 'train, validation, test: none below 0'),
    ({'train': 0, 'validation': 0, 'test': 0}, 'one above'),
    ({'observers': 0}, 'observers: at least 1'),
    ({'seed': -1}, 'seed'),
])
def test_impossible_settings(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        synthave.generate(tmp_path / 'world', Settings(**fields))
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(synthave, 'pool', None)
    with pytest.raises(InputError, match=f'{tmp_path}: exists already'):
        synthave.generate(tmp_path)
    assert not list(tmp_path.iterdir())
