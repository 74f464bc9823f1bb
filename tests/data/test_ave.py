"""The AVE reader: a small folder that holds what AVE's readers have met, prepared and read at random."""
import io
import os
import pathlib
import pickle
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from stanet_jax import InputError
from stanet_jax.data import ave, preparation, records, shards
from stanet_jax.data.clips import Clips
from stanet_jax.media.sound import audio_window, read_sound
from stanet_jax.media.video import read_frames

ROOT = pathlib.Path(__file__).parents[2]
MEDIA = ROOT.parent / 'shared' / 'media'
SIDE, RATE = 48, 8
LINES = {
    'trainSet.txt': ['Church bell&with_sound0&good&0&10', 'Male speech, man & dog&opus_sound0&good&0&10',
                     'Church bell&missing_000&good&0&10', '', 'Bark&-silent_000&good&2&3', 'Bark&truncated00&good&0&1'],
    'valSet.txt': ['Bark&with_sound0&plain&1&2', 'no separators'],
    'testSet.txt': ['Church bell&missing_000&good&0&10'],
    'Annotations.txt': ['Category&VideoID&Quality&StartTime&EndTime', 'Zebra&missing_000&good&0&10'],
}


def write(path, seconds, codec=None, rate=16000, format='mp4', seed=0):
    """A film of 8 frames a second of soft moving colours, with noise for sound."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 215, (6, 6, 3), np.uint8)
    with av.open(str(path), 'w', format=format) as container:
        stream = container.add_stream('libx264', rate=RATE, width=64, height=64, pix_fmt='yuv420p',
                                      options={'crf': '10'})
        sound = container.add_stream(codec, rate=rate, layout='mono') if codec else None
        for i in range(round(seconds * RATE)):
            image = Image.fromarray(np.roll(coarse, i, axis=i % 2)).resize((64, 64), Image.Resampling.BICUBIC)
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            wave = rng.normal(0, .1, (1, round(seconds * rate))).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(wave, format='fltp', layout='mono')
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            if sound.codec_context.format.name != 'fltp':
                frame = av.AudioResampler(format=sound.codec_context.format.name).resample(frame)[0]
            container.mux(sound.encode(frame))
            container.mux(sound.encode())


def annotate(root, lines):
    for name, content in lines.items():
        (root / name).write_bytes('\r\n'.join(content).encode())


def prepare(root, side=SIDE, rate=RATE, prepared='', **settings):
    return preparation.prepare(ave.source(root), side, rate, prepared, **settings)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp('set') / 'AVE_Dataset'
    videos = root / 'AVE'
    videos.mkdir(parents=True)
    annotate(root, LINES)
    write(videos / 'with_sound0.mp4', 3.5, 'aac')
    write(videos / 'opus_sound0.mp4', 2, 'libopus', 48000, format='matroska', seed=1)
    write(videos / '-silent_000.mp4', 1.5, seed=2)
    (videos / 'truncated00.mp4').write_bytes((videos / 'with_sound0.mp4').read_bytes()[:5000])
    return root


@pytest.fixture(scope='module')
def built(source, tmp_path_factory):
    return prepare(source.parent, SIDE, RATE, tmp_path_factory.mktemp('prepared'), workers=2)


@pytest.fixture
def folder(source, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(source, tmp_path / 'AVE_Dataset', ignore=shutil.ignore_patterns('prepared'))


def test_read_annotations(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes('\ufeffCategory&VideoID&Quality&StartTime&EndTime\r\n'
                     'Church bell&-UhOCu3LNXM&good&0&10\r\n\r\n'
                     'rock & roll&-UhOCu3LNXM&good&1.5&2\r\n'
                     'too&few\r\na&b&c&x&1\r\na&../b&c&0&1\r\n&b&c&0&1\r\na&&c&0&1'.encode())
    found, bad = ave.read_annotations(path)
    assert found == [ave.Annotation(2, 'Church bell', '-UhOCu3LNXM', 'good', 0, 10),
                     ave.Annotation(4, 'rock & roll', '-UhOCu3LNXM', 'good', 1.5, 2)]
    assert [(line, reason) for line, _, reason in bad] == [
        (5, 'not 5 fields with & between'), (6, 'start or end is no number'), (7, 'an id that is no file name'),
        (8, 'no category'), (9, 'no id')]
    with pytest.raises(InputError, match='missing.txt'):
        ave.read_annotations(tmp_path / 'missing.txt')


@pytest.mark.skipif(not MEDIA.is_dir(), reason='the shared media are not here')
def test_aves_own_annotations():
    found, bad = ave.read_annotations(MEDIA / 'ave_annotations.txt')
    assert len(found) == 4143 and not bad and len({a.category for a in found}) == 28
    assert len({a.id for a in found}) == 4097 and any(a.id.startswith('-') for a in found)


def test_metadata(built, capsys):
    metadata = built.info.metadata
    assert metadata['categories'] == ['Bark', 'Church bell', 'Male speech, man & dog', 'Zebra']
    clips = metadata['splits']
    assert list(clips) == ['train', 'validation', 'test']
    assert [(c['id'], c['tags'], c['kind'], c['first'], c['frames']) for c in clips['train']] == [
        ('with_sound0', [1], 'good', 0, 28), ('opus_sound0', [2], 'good', 28, 16), ('-silent_000', [0], 'good', 44, 12)]
    assert [(c['id'], c['tags'], c['kind']) for c in clips['validation']] == [('with_sound0', [0], 'plain')]
    assert clips['test'] == [] and clips['train'][2]['samples'] == 0
    skipped = [(s['split'], s['id'], s['line'], s['reason']) for s in metadata['skipped']]
    assert sorted(skipped) == [
        ('test', 'missing_000', 1, 'missing file'), ('train', 'missing_000', 3, 'missing file'),
        ('train', 'truncated00', 6, 'cannot be read'), ('validation', 'no separators', 2, 'bad line')]
    assert built.info.splits['train'].num_examples == 56


def test_summary_and_progress(folder, capsys):
    builder = prepare(folder, SIDE, RATE)
    out, err = capsys.readouterr()
    assert out.startswith('prepared 4 clips, 84 frames; skipped 4: bad line (1): no separators (')
    assert 'missing file (2): missing_000, missing_000' in out and 'cannot be read (1): truncated00 (' in out
    assert out.count('\n') == 1 and 'Preparing ave: 7/7 clips' in err
    assert builder.data_dir.startswith(str(folder / 'prepared'))


def test_frames(built, source):
    clips = Clips(built, 'train')
    assert len(clips) == 3 and clips.tag_names(1) == 'Male speech, man & dog'
    rng = np.random.default_rng(0)
    for index, clip in enumerate(clips.clips):
        expected = list(read_frames(source / 'AVE' / f'{clip["id"]}.mp4', RATE, SIDE))
        assert len(expected) == clip['frames']
        for k in [-1, 0, 1, clip['frames'] - 1, clip['frames'], 99, *rng.integers(0, clip['frames'], 9).tolist()]:
            frame = clips.frame(index, k)
            assert frame.shape == (SIDE, SIDE, 3) and frame.dtype == np.uint8
            right = expected[min(max(k, 0), len(expected) - 1)]
            assert abs(frame.astype(int) - right).mean() < 2


@pytest.mark.parametrize('split', ['train', 'validation'])
def test_sound(built, source, split):
    clips = Clips(built, split)
    rng = np.random.default_rng(1)
    for index, clip in enumerate(clips.clips):
        wave = read_sound(source / 'AVE' / f'{clip["id"]}.mp4')
        assert clip['samples'] == (0 if wave is None else len(wave))
        for centre in [0, .5, clip['frames'] / RATE, *rng.uniform(-.5, clip['frames'] / RATE + .5, 20)]:
            sound = clips.sound(index, centre)
            assert sound.shape == (16000,) and sound.dtype == np.float32
            expected = np.zeros(16000) if wave is None else audio_window(wave, centre)
            np.testing.assert_allclose(sound, expected, atol=1 / 32768)


def test_a_second_of_sound_is_few_reads(built, monkeypatch):
    clips = Clips(built, 'train')
    reads, read = [], clips._records.read
    monkeypatch.setattr(clips._records, 'read', lambda record, feature: (reads.append(record), read(record, feature))[1])
    for centre in np.linspace(0, 3.5, 30):
        reads.clear()
        clips.sound(0, centre)
        assert len(reads) <= 3


def test_without_sound_files(built):
    assert not Clips(built, 'train').sound(2, .7).any()
    assert len(Clips(built, 'test')) == 0
    with pytest.raises(InputError, match='no split dev'):
        Clips(built, 'dev')


def test_tfds_reads_the_records(built):
    decoders = {'image': preparation.tfds.decode.SkipDecoding()}
    source = built.as_data_source('train', decoders=decoders)
    assert len(source) == 56
    assert [(r['clip'], r['frame']) for r in source][27:29] == [(0, 27), (1, 0)]
    assert source[0]['sound'].dtype == np.int16 and len(source[0]['sound']) == 16000 and len(source[1]['sound']) == 0
    image = Image.open(io.BytesIO(source[30]['image']))
    assert image.size == (SIDE, SIDE)


def test_clips_travel_to_workers(built, monkeypatch):
    clips = Clips(built, 'train')
    frame, sound = clips.frame(0, 8), clips.sound(1, 1.)
    copy = pickle.loads(pickle.dumps(clips))
    np.testing.assert_array_equal(copy.frame(0, 8), frame)
    np.testing.assert_array_equal(copy.sound(1, 1.), sound)
    # After a fork the files are opened anew.
    opened = clips._records._opened
    pid = os.getpid() + 1
    monkeypatch.setattr(records.os, 'getpid', lambda: pid)
    np.testing.assert_array_equal(clips.sound(1, 1.), sound)
    assert clips._records._opened is not opened


def test_second_call_does_not_decode(built, source, monkeypatch, capsys):
    monkeypatch.setattr(shards, 'read_clip', None)
    again = prepare(source, SIDE, RATE, pathlib.Path(built.data_dir).parents[2])
    assert again.info.metadata == built.info.metadata and capsys.readouterr().out == ''


def test_changed_annotations_are_refused(folder):
    prepared = prepare(folder, SIDE, RATE).data_dir
    with open(folder / 'valSet.txt', 'a') as f:
        f.write('\r\nBark&opus_sound0&good&0&1')
    with pytest.raises(InputError, match=f'{prepared}: prepared from other files'):
        prepare(folder, SIDE, RATE)
    assert len(Clips(prepare(folder, 32, RATE), 'validation')) == 2


def test_incomplete_is_refused(folder):
    builder = prepare(folder, SIDE, RATE)
    next(pathlib.Path(builder.data_dir).glob('ave-train*')).unlink()
    with pytest.raises(InputError, match='not complete; delete it'):
        prepare(folder, SIDE, RATE)


def test_unexpected_failure_of_one_clip(folder, monkeypatch):
    def read(path, real=shards.read_clip, **settings):
        if 'opus' in path:
            raise MemoryError('too large')
        return real(path, **settings)
    monkeypatch.setattr(shards, 'read_clip', read)
    builder = prepare(folder, SIDE, RATE)
    assert {'opus_sound0': 'MemoryError: too large'}.items() <= {
        s['id']: s['detail'] for s in builder.info.metadata['skipped']}.items()


def test_annotations_alone(folder):
    for name in ave.SPLITS.values():
        (folder / name).unlink()
    annotate(folder, {'Annotations.txt': LINES['Annotations.txt'] + LINES['trainSet.txt']})
    builder = prepare(folder, SIDE, RATE)
    assert list(builder.info.metadata['splits']) == ['train'] and len(Clips(builder, 'train')) == 3


def test_wrong_input(folder, tmp_path):
    with pytest.raises(InputError, match='nowhere: holds no Annotations.txt.*get AVE_Dataset.zip') as caught:
        prepare(tmp_path / 'nowhere', SIDE, RATE)
    assert '\n' not in str(caught.value)
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='file/.*cannot be written'):
        prepare(folder, SIDE, RATE, tmp_path / 'file' / 'prepared')
    for side, rate in ((0, 8), (48, -1)):
        with pytest.raises(InputError, match='side and rate'):
            prepare(folder, side, rate)
    shutil.rmtree(folder / 'AVE')
    with pytest.raises(InputError, match=r'no clip can be used \(.*missing file \(7\)'):
        prepare(folder, SIDE, RATE)
    with pytest.raises(InputError, match='no clip can be used'):  # Nothing of the first try is taken for prepared.
        prepare(folder, SIDE, RATE)


@pytest.mark.skipif(not MEDIA.is_dir(), reason='the shared media are not here')
def test_shared_media(tmp_path):
    videos = tmp_path / 'AVE'
    videos.mkdir()
    for name, clip_id in (('cockatoo.mp4', 'cockatoo000'), ('pancake_opus.mkv', '-pancake000'),
                          ('bikes_silent.mp4', 'bikes000000')):
        shutil.copy(MEDIA / name, videos / f'{clip_id}.mp4')
    annotate(tmp_path, {'Annotations.txt': [
        f'{category}&{clip_id}&good&0&10' for category, clip_id in
        (('Bird', 'cockatoo000'), ('Frying', '-pancake000'), ('Bike', 'bikes000000'), ('Bike', 'cockatoo000'))]})
    clips = Clips(prepare(tmp_path, 32, 4), 'train')
    assert [c['frames'] for c in clips.clips] == [56, 42, 40, 56]
    wave = read_sound(MEDIA / 'pancake_opus.mkv')
    np.testing.assert_allclose(clips.sound(1, 5.3), audio_window(wave, 5.3), atol=1 / 32768)


def test_all_frames_of_each_film(tmp_path):
    """At rate 0 neighbours are a film's own; sound is heard around the time that a frame is shown at."""
    videos = tmp_path / 'AVE_Dataset' / 'AVE'
    videos.mkdir(parents=True)
    (tmp_path / 'AVE_Dataset' / 'trainSet.txt').write_text('a&eight&x&0&1\nb&twelve&x&0&1\n')
    write(videos / 'eight.mp4', 2, 'aac')
    with av.open(str(videos / 'twelve.mp4'), 'w') as container:
        stream = container.add_stream('libx264', rate=12, width=64, height=64, pix_fmt='yuv420p')
        for i in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 8 * i, np.uint8), format='rgb24')))
        container.mux(stream.encode())
    clips = Clips(prepare(tmp_path, SIDE, 0), 'train')
    assert [(clip['frames'], clip['rate']) for clip in clips.clips] == [(16, 8.0), (30, 12.0)]
    assert (clips.rate, clips.rate_of(0), clips.rate_of(1)) == (0, 8.0, 12.0)
    np.testing.assert_allclose([clips.frame(1, k).mean() for k in range(30)], 8 * np.arange(30), atol=3)
    at_eight = Clips(prepare(tmp_path, SIDE, 8), 'train')
    np.testing.assert_array_equal(clips.sound(0, 1.3), at_eight.sound(0, 1.3))
    assert clips.sound(0, 1.3).any() and clips.raw(1).rate == 12


def test_all_clips_may_be_for_training(built, source, tmp_path):
    taken = preparation.prepare(preparation.all_for_training(ave.source(source)), SIDE, RATE, tmp_path, workers=2)
    clips, known = taken.info.metadata['splits'], built.info.metadata['splits']
    assert list(clips) == ['train'] and [c['id'] for c in clips['train']] == [c['id'] for of in known.values() for c in of]
    assert {s['split'] for s in taken.info.metadata['skipped']} == {'train'}
