"""Fragments and batches of them: a small SynthAVE, prepared and read at random, in any number of processes."""
import itertools

import av
import numpy as np
import PIL.Image
import pytest
from absl import flags

from stanet_jax.data import ave, preparation, synthave
from stanet_jax.data import clips as clips_module
from stanet_jax.data.batches import iterate_batches
from stanet_jax.data.clips import Clips
from stanet_jax.data.fragments import (
    WHOLE,
    Examples,
    crop_images,
    describe_shortage,
    random_box,
    read_fragment,
    sample_fragments,
    target_frame,
)
from stanet_jax.data.records import Records
from stanet_jax.data.stretches import read_stretch
from stanet_jax.media.sound import log_spectrogram, sliding_window

SIDE, RATE, FRAMES = 48, 8, 8
SILENT = 'no_sound_00'


def write_silent(path):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=RATE, width=SIDE, height=SIDE, pix_fmt='yuv420p')
        for i in range(10):
            image = np.full((SIDE, SIDE, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
        container.mux(stream.encode(None))


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Four clips of 8 frames with sound and one of 10 without."""
    root = tmp_path_factory.mktemp('fragments') / 'world'
    settings = synthave.Settings(categories=3, train=4, validation=0, test=0, seconds=1.0, side=SIDE)
    synthave.generate(root, settings, workers=1)
    write_silent(root / 'AVE_Dataset' / 'AVE' / f'{SILENT}.mp4')
    with open(root / 'AVE_Dataset' / 'trainSet.txt', 'a') as f:
        f.write(f'category_01&{SILENT}&good&0&1\n')
    found = Clips(preparation.prepare(ave.source(root), SIDE, RATE), 'train')
    assert [clip['frames'] for clip in found.clips] == [FRAMES] * 4 + [10] and found.clips[4]['samples'] == 0
    return found


class Numbered(Clips):
    """Seven clips of nine frames that are on no disk; what is read says which clip and frame it is."""
    categories, rate = ['a', 'b'], 8
    clips = [{'tags': [i % 2], 'frames': 9, 'samples': 0} for i in range(7)]

    def __init__(self):
        pass

    def image(self, index, k):
        return PIL.Image.new('RGB', (2, 2), (10 * index + min(max(k, 0), 8),) * 3)


def load(clips=None, *, batch=5, per_clip=2, frames=1, sound='', slots=None, least_crop=1.0, annotations=None, **fields):
    slots = range(batch) if slots is None else slots
    examples = Examples(clips or Numbered(), per_clip, frames, sound, annotations, least_crop=least_crop)
    return list(iterate_batches(examples, batch=batch, slots=slots, **fields))


def random_crop(images, least, rng):
    """As `Examples` crops for training."""
    return crop_images([PIL.Image.fromarray(image) for image in images], random_box(WHOLE, least, rng), rng.uniform() < 0.5)


def assert_equal(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            assert x[key].dtype == y[key].dtype
            np.testing.assert_array_equal(x[key], y[key], err_msg=key)


def seen(found):
    """(clip, frame) of all examples that the mask marks, in order."""
    values = np.concatenate([b['frames'][b['mask'], 0, 0, 0, 0] for b in found])
    return [divmod(int(v), 10) for v in values]


def test_frames_of_a_split_that_fits_are_decoded_once(clips, monkeypatch):
    frame, read = clips.frame(0, 1), []
    monkeypatch.setattr(clips._records, 'read', lambda *place: read.append(place))
    np.testing.assert_array_equal(clips.only([0]).frame(0, 1), frame)
    assert not read
    monkeypatch.undo()
    monkeypatch.setattr(clips_module, '_kept', {})  # as of another process, or of a split that does not fit
    monkeypatch.setattr(clips._records, 'read', lambda *place: read.append(place) or Records.read(clips._records, *place))
    for _ in range(2):
        np.testing.assert_array_equal(clips.frame(0, 1), frame)
    assert len(read) == 2


def test_target_without_rng_is_the_middle(clips):
    assert [target_frame(clips, 1, i) for i in range(5)] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 5)]
    assert [target_frame(clips, 4, i) for i in range(16, 20)] == [(4, 1), (4, 3), (4, 6), (4, 8)]
    assert [target_frame(clips, 16, i)[1] for i in range(16)] == [i // 2 for i in range(16)]  # more parts than frames


@pytest.mark.parametrize('per_clip', [1, 3, 4])
def test_targets_cover_their_parts(clips, per_clip):
    rng = np.random.default_rng(0)
    for index in range(len(clips) * per_clip):
        clip, part = divmod(index, per_clip)
        number = clips.clips[clip]['frames']
        drawn = [target_frame(clips, per_clip, index, rng) for _ in range(200)]
        first, last = part * number / per_clip, (part + 1) * number / per_clip
        assert {c for c, _ in drawn} == {clip}
        assert {k for _, k in drawn} == set(range(int(first), int(np.ceil(last)))) <= set(range(number))


@pytest.mark.parametrize('frame, frames, expected', [
    (4, 3, [3, 4, 5]), (4, 1, [4]), (0, 5, [0, 0, 0, 1, 2]), (7, 5, [5, 6, 7, 7, 7]), (1, 3, [0, 1, 2])])
def test_neighbours(clips, frame, frames, expected):
    found = read_fragment(clips, 1, frame, frames)
    assert found.keys() == {'tags', 'clip', 'frames'} and found['frames'].dtype == np.uint8
    np.testing.assert_array_equal(found['frames'], [clips.frame(1, k) for k in expected])
    assert (clips.frame(1, 4) != clips.frame(1, 5)).any()
    np.testing.assert_array_equal(found['frames'][frames // 2], clips.frame(1, frame))


def test_tags(clips):
    for index, clip in enumerate(clips.clips):
        found = read_fragment(clips, index, 0, frames=0)
        assert found.keys() == {'tags', 'clip'} and found['clip'] == index
        assert found['tags'].dtype == np.float32 and found['tags'].tolist() == [k == clip['tags'][0] for k in range(3)]


def test_sound(clips):
    assert {clips.categories[clip['tags'][0]] for clip in clips.clips} > {'category_00'}
    for index in range(5):
        found = read_fragment(clips, index, 6, frames=0, sound='log_spectrogram')
        assert found['audio'].shape == (257, 98) and found['audio'].dtype == np.float32
        np.testing.assert_array_equal(found['audio'], log_spectrogram(clips.sound(index, 6 / RATE)))
        assert found['phi'].dtype == np.float32 and found['phi'] == (index < 4)
        assert found['audio'].any() == (index < 4)


def test_the_releases_half_second_slides_over_the_clip(clips):
    wave = clips.raw(1).sound / np.float32(32768)
    count = clips.clips[1]['frames']
    for k in range(count):
        found = read_fragment(clips, 1, k, frames=0, sound='release')['audio']
        np.testing.assert_array_equal(found, log_spectrogram(sliding_window(wave, k, count)))
    assert found.shape == (257, 48)
    stretch = read_stretch(clips, lambda *_: {}, count + 1, 'release', (1, 0))
    np.testing.assert_array_equal(stretch['audio'][-2:], [found] * 2)


def test_crop_takes_the_same_box_from_all_frames():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    image = np.asarray(PIL.Image.fromarray(coarse).resize((40, 32)))
    for seed in range(20):
        found = random_crop(np.stack([image, 255 - image, image]), .5, np.random.default_rng(seed))
        assert found.shape == (3, 32, 40, 3) and found.dtype == np.uint8
        np.testing.assert_array_equal(found[0], found[2])
        assert abs(255 - found[1].astype(int) - found[0]).max() <= 1


def test_boxes_are_of_least_to_all_of_the_side():
    # Red grows along x and green along y: the ends of a crop tell its box.
    ramp = np.zeros((1, 200, 200, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(200), np.arange(200)[:, None]
    scales, starts, mirrored = [], [], 0
    for seed in range(200):
        found = random_crop(ramp, .4, np.random.default_rng(seed))[0].astype(int)
        width, height = found[0, -1, 0] - found[0, 0, 0], found[-1, 0, 1] - found[0, 0, 1]
        assert height > 0 and abs(abs(width) - height) <= 3  # never upside down, and as wide as high
        scales.append(height / 200)
        starts.append((min(found[0, 0, 0], found[0, -1, 0]), found[0, 0, 1]))
        mirrored += width < 0
    assert .38 < min(scales) < .45 and .93 < max(scales) <= 1 and 70 < mirrored < 130
    assert np.max(starts, axis=0).min() > 70 and np.min(starts, axis=0).max() < 5


def test_whole_crop_is_the_image_or_its_mirror():
    image = np.random.default_rng(1).integers(0, 256, (2, 6, 5, 3)).astype(np.uint8)
    found = {random_crop(image, 1., np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert found == {image.tobytes(), image[:, :, ::-1].tobytes()}


def test_a_box_is_cut_out_and_resized():
    image = np.zeros((1, 40, 80, 3), np.uint8)
    image[:, 10:30, 20:40] = 200
    cut = crop_images([PIL.Image.fromarray(image[0])], (.25, .25, .75, .5))
    assert cut.shape == image.shape and (cut[:, 2:-2, 4:-4] == 200).all() and cut.min() >= 90  # by its filter Pillow reaches over the edge
    rng = np.random.default_rng(0)
    for _ in range(50):
        y0, x0, y1, x1 = random_box((.2, .4, .6, .5), .5, rng)
        assert .2 <= y0 < y1 <= .6 and .4 <= x0 < x1 <= .5
        assert y1 - y0 >= .2 - 1e-9 and abs((y1 - y0) - 4 * (x1 - x0)) < 1e-9


@pytest.mark.parametrize('seed', [None, 8])
def test_annotations_replace_add_and_crop(clips, seed):
    def annotations(clip, frame):
        target = clips.image(clip, frame).getchannel(0)
        return {'phi': np.float32(.5), 'mask': np.bool_(clip != 2), 'box': (0, 0, .5, .5), 'target': target}
    found, = load(clips, per_clip=1, sound='log_spectrogram', annotations=annotations, seed=seed, least_crop=.6, steps=1)
    assert (found['phi'] == .5).all() and 'box' not in found
    np.testing.assert_array_equal(found['mask'], found['clip'] != 2)
    np.testing.assert_array_equal(found['target'], found['frames'][:, 0, ..., 0])  # the map's view is the frame's
    if seed is None:
        small = np.stack([clips.frame(i, clips.clips[i]['frames'] // 2)[:SIDE // 2, :SIDE // 2] for i in range(5)])
        assert abs(found['frames'][:, 0, ::2, ::2].astype(int) - small).mean() < 6


class Long(Numbered):
    """Clips of 30, 30, 30 and 7 frames; the last one's tag has no other clip."""
    clips = [{'tags': [tag], 'frames': frames, 'samples': 0} for tag, frames in ((0, 30), (0, 30), (0, 30), (1, 7))]


def test_short_fragments_are_the_nearest():
    assert sample_fragments(Long(), 1, 10, 1, 'short', 2) == [(1, 9), (1, 11)]
    assert sample_fragments(Long(), 1, 10, 3, 'short', 2) == [(1, 7), (1, 13)]  # the triples 6 to 8 and 12 to 14
    assert sample_fragments(Long(), 1, 10, 1, 'short', 3) == [(1, 9), (1, 11), (1, 8)]
    example = Examples(Long(), 1, 3, granularity='short').at(1, 1)
    assert example['frames'][:, :, 0, 0, 0].tolist() == [[10, 11, 12], [10, 10, 10], [13, 14, 15]]  # clamped one by one


@pytest.mark.parametrize('frames', [1, 3])
def test_long_fragments_are_outside_the_surroundings(frames):
    seen = set()
    for seed in range(200):
        found = sample_fragments(Long(), 2, 12, frames, 'long', 2, np.random.default_rng(seed))
        assert found[0] != found[1] and all(clip == 2 for clip, _ in found)
        seen |= {k for _, k in found}
    least = 5 + frames // 2
    assert seen == set(range(0, 12 - least + 1)) | set(range(12 + least, 30))
    assert {k for _, k in sample_fragments(Long(), 3, 3, frames, 'long', 2)} <= {0, 6}  # too short: the farthest


def test_cross_fragments_are_of_other_clips_of_the_tag():
    clips = {clip for seed in range(50) for clip, _ in sample_fragments(Long(), 1, 10, 1, 'cross', 2, np.random.default_rng(seed))}
    assert clips == {0, 2}
    assert len({clip for clip, _ in sample_fragments(Long(), 1, 10, 1, 'cross', 2)}) == 2
    assert {clip for clip, _ in sample_fragments(Long(), 3, 2, 1, 'cross', 2)} == {3}  # the tag has no other
    first, again, other = (sample_fragments(Long(), 1, frame, 3, 'cross', 2) for frame in (10, 10, 11))
    assert first == again != other


def test_fragments_of_sound_are_stacked(clips):
    found = Examples(clips, 1, 1, 'log_spectrogram', granularity='cross').at(0, 3)
    assert found['frames'].shape == (3, 1, SIDE, SIDE, 3) and found['audio'].shape == (3, 257, 98) and found['phi'].shape == (3,)
    np.testing.assert_array_equal(found['frames'][0], read_fragment(clips, 0, 3)['frames'])
    for place, frames, sound in zip(sample_fragments(clips, 0, 3, 1, 'cross', 2), found['frames'][1:], found['audio'][1:], strict=True):
        expected = read_fragment(clips, *place, 1, 'log_spectrogram')
        np.testing.assert_array_equal(frames, expected['frames'])
        np.testing.assert_array_equal(sound, expected['audio'])


def test_every_fragment_has_its_target():
    def annotations(clip, frame):  # frame 5 has none
        assert 0 <= frame < Long.clips[clip]['frames']
        return {'target': PIL.Image.new('L', (2, 2), 10 * clip + frame), 'mask': np.bool_(frame != 5), 'phi': np.float32(frame)}

    examples = Examples(Long(), 1, 3, annotations=annotations, granularity='short')
    found = examples.at(1, 8)
    assert found['target'].shape == (3, 2, 2) and found['target'][:, 0, 0].tolist() == [18, 15, 21] and found['phi'].tolist() == [8, 5, 11]
    assert found['known'].tolist() == [True, False, True] and found['mask']
    assert examples.at(1, 0)['target'][:, 0, 0].tolist() == [10, 10, 13]  # what lies before the clip is as its first frame
    alone = Examples(Long(), 1, 3, annotations=annotations).at(1, 5)
    assert 'known' not in alone and not alone['mask'] and alone['target'].shape == (2, 2)


def test_shortages_are_told():
    assert describe_shortage(Long(), 1, 'long', 2) == '1 of 4 clips are too short for long-term fragments: their farthest frames are taken'
    assert describe_shortage(Long(), 1, 'cross', 2).startswith('1 of 2 tags have one clip alone')
    assert not describe_shortage(Long(), 1, 'short', 2) and not describe_shortage(Long(), 3, '', 2)
    Long.clips[3]['frames'], before = 13, Long.clips[3]['frames']
    try:  # from the frame in the middle, 6, four of 13 lie further than 4, from 5 on either side for triples two
        assert not describe_shortage(Long(), 1, 'long', 4) and describe_shortage(Long(), 1, 'long', 5)
        assert not describe_shortage(Long(), 3, 'long', 2) and describe_shortage(Long(), 3, 'long', 3)
    finally:
        Long.clips[3]['frames'] = before


def test_one_pass_in_order():
    found = load()
    assert [b['mask'].tolist() for b in found] == [[True] * 5] * 2 + [[True] * 4 + [False]]
    assert seen(found) == [(clip, frame) for clip in range(7) for frame in (2, 6)]
    assert found[0]['frames'].shape == (5, 1, 2, 2, 3) and found[0]['tags'].shape == (5, 2)
    for key, value in found[-1].items():
        assert not value[-1].any(), key
    np.testing.assert_array_equal(np.concatenate([b['clip'] for b in found])[:14], np.repeat(np.arange(7), 2))


def test_one_pass_is_as_it_is(clips):
    """Nothing is cropped or mirrored without a seed."""
    found = load(clips, per_clip=1, frames=3, sound='log_spectrogram', least_crop=.3)
    assert len(found) == 1 and found[0]['mask'].all()
    for i in range(5):
        for key, value in read_fragment(clips, *target_frame(clips, 1, i), 3, 'log_spectrogram').items():
            np.testing.assert_array_equal(found[0][key][i], value)


def test_seeds(clips):
    fields = {'frames': 3, 'sound': 'log_spectrogram', 'least_crop': .6, 'steps': 4}
    first = load(clips, seed=1, **fields)
    assert_equal(load(clips, seed=1, **fields), first)
    other = load(clips, seed=2, **fields)
    assert len(first) == len(other) == 4
    for a, b in zip(first, other, strict=True):
        assert (a['frames'] != b['frames']).mean() > .5 and a['mask'].all()


@pytest.mark.parametrize('batch', [5, 7])
def test_an_epoch_holds_every_example_once(batch):
    found = load(batch=batch, seed=3, steps=28)
    assert all(b['mask'].all() for b in found)
    examples = seen(found)
    epochs = [examples[i:i + 14] for i in range(0, 140 - 14 + 1, 14)]
    # Of a clip's two parts, one ends and the other starts within frame 4.
    for epoch in epochs:
        frames = [sorted(k for c, k in epoch if c == clip) for clip in range(7)]
        assert all(len(f) == 2 and f[0] <= 4 <= f[1] for f in frames)
    orders = [[clip for clip, _ in epoch] for epoch in epochs]
    assert all(a != b for a, b in itertools.combinations(orders, 2))
    assert {k for _, k in examples} == set(range(9))


@pytest.mark.parametrize('start', [1, 3, 6])
def test_resuming_goes_on_where_it_stopped(start):
    fields = {'seed': 4, 'frames': 3, 'least_crop': .5, 'steps': 8}
    assert_equal(load(start=start, **fields), load(**fields)[start:])


def test_resuming_the_one_pass():
    assert_equal(load(start=2), load()[2:])


@pytest.mark.parametrize('seed', [None, 5])
def test_processes_together_hold_the_batch(clips, seed):
    fields = {'seed': seed, 'frames': 3, 'sound': 'log_spectrogram', 'least_crop': .7, 'steps': 2}
    whole = load(clips, **fields)
    parts = [load(clips, slots=slots, **fields) for slots in (range(0, 3), range(3, 6))]  # 5 do not divide by 2
    for one, *pieces in zip(whole, *parts, strict=True):
        for key in one:
            together = np.concatenate([piece[key] for piece in pieces])
            np.testing.assert_array_equal(together[:5], one[key], err_msg=key)
            assert not together[5].any()


def test_what_was_drawn_does_not_depend_on_the_batch():
    """A run on other hardware, with another batch, sees the same examples of an epoch in the same order."""
    fields = {'seed': 6, 'frames': 3, 'least_crop': .5}
    small, large = load(batch=2, steps=14, **fields), load(batch=7, steps=4, **fields)
    for key in ('frames', 'clip'):
        np.testing.assert_array_equal(*(np.concatenate([b[key] for b in found]) for found in (small, large)))


def test_reading_processes(clips):
    flags.FLAGS.mark_as_parsed()
    fields = {'seed': 7, 'frames': 3, 'sound': 'log_spectrogram', 'least_crop': .7, 'steps': 3}
    assert_equal(load(clips, workers=1, **fields), load(clips, **fields))


def test_every_frame_is_an_example_where_asked_for(clips):
    examples = Examples(clips, 0, 1)
    places = [target_frame(clips, 0, i) for i in range(len(examples))]
    assert len(examples) == 42 and places == [(c, k) for c, clip in enumerate(clips.clips) for k in range(clip['frames'])]
    some = Examples(clips.only([4, 1]), 0, 1)
    assert len(some) == 18 and target_frame(some.clips, 0, 10) == (1, 0)


def test_learning_may_see_the_middle_alone_and_no_mirror(clips):
    rng = np.random.default_rng
    whole = Examples(clips, 2, 1, mirror=False).example(3, rng(0))
    np.testing.assert_array_equal(whole['frames'], Examples(clips, 2, 1).at(*target_frame(clips, 2, 3, rng(0)))['frames'])
    middle = Examples(clips, 2, 1, centre_crop=0.5, mirror=False).example(3, rng(0))
    clip, frame = target_frame(clips, 2, 3, rng(0))
    np.testing.assert_array_equal(middle['frames'], crop_images([clips.image(clip, frame)], (0.25, 0.25, 0.75, 0.75)))
