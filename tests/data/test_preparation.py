"""Preparation of any set: shards, restarts, interruptions, several processes, and Apache Beam against threads."""
import multiprocessing
import pathlib
import signal
import sys
import threading
import time

import numpy as np
import pytest
from array_record.python.array_record_data_source import ArrayRecordDataSource

from stanet_jax import InputError
from stanet_jax.data import folders, preparation, shards
from stanet_jax.data.check import check_set
from stanet_jax.data.clips import Clips
from stanet_jax.data.preparation import Listing, Source
from stanet_jax.data.shards import SourceClip
from stanet_jax.media import box
from tests import forked
from tests.data.test_ave import write
from tests.media import crashing, odd_films

SIDE, RATE, VIDEOS = 32, 8, 3


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Three videos: with sound, without, and damaged."""
    root = tmp_path_factory.mktemp('videos')
    write(root / '0.mp4', 1.5, 'aac')
    write(root / '1.mp4', 1, seed=1)
    (root / '2.mp4').write_bytes(b'no video')
    return root


def source(videos, number, name='made', fingerprint='0123456789abcdef'):
    """A set of `number` clips to train on and two to test on, of the three videos by turns."""
    def clip(i):
        return SourceClip(f'clip{i}', (i % 2,), str(videos / f'{i % VIDEOS}.mp4'), f'film{i}', line=i + 1)
    return Source(name, str(videos), fingerprint, lambda: Listing(
        ['a', 'b'], {'train': [clip(i) for i in range(number)], 'test': [clip(0), clip(1)]}, []), 'get other videos', '')


def files(folder):
    return sorted(path for path in pathlib.Path(folder).rglob('*') if path.is_file())


def assert_same(one, other):
    """Two prepared sets have the same metadata and, byte for byte, the same records."""
    assert {**one.info.metadata} == {**other.info.metadata}
    for split in one.info.splits:
        sources = [ArrayRecordDataSource(list(builder.info.splits[split].file_instructions)) for builder in (one, other)]
        assert len(sources[0]) == len(sources[1])
        assert all(sources[0][i] == sources[1][i] for i in range(len(sources[0])))


@pytest.mark.parametrize('rate', [8, 29.97, .4, 3])
def test_every_sample_stands_in_one_record(rate):
    frames, sound = round(10 * rate), np.arange(163000)
    found = list(shards.clip_records(0, [b''] * frames, sound, rate))
    np.testing.assert_array_equal(np.concatenate([record['sound'] for record in found]), sound)
    assert sum(len(record['sound']) > 0 for record in found) <= 10


@pytest.mark.parametrize('number, sizes', [(1, [1]), (20, [8, 8, 4]), (320, [10] * 32), (3339, [64] * 52 + [11])])
def test_shards_take_the_clips_in_order(number, sizes):
    clips = source(pathlib.Path('videos'), number).read().splits['train']
    planned = shards.plan_shards({'train': clips, 'test': []}, 'folder', 'made', SIDE, RATE)
    assert [len(shard.clips) for shard in planned] == sizes and sum((list(shard.clips) for shard in planned), []) == clips
    assert [shard.first for shard in planned] == np.cumsum([0, *sizes[:-1]]).tolist()
    assert planned[0].path.name == f'made-train.array_record-00000-of-{len(sizes):05d}'


def test_order_does_not_depend_on_what_is_done_first(videos, tmp_path, monkeypatch):
    calls, lock = iter(range(1000)), threading.Lock()

    def read(path, real=shards.read_clip, **settings):
        with lock:
            slow = next(calls) % 3 == 0
        time.sleep(.02 if slow else 0)
        return real(path, **settings)
    monkeypatch.setattr(shards, 'read_clip', read)
    one, many = (preparation.prepare(source(videos, 40), SIDE, RATE, tmp_path / str(n), workers=n) for n in (1, 4))
    assert_same(one, many)
    clips = Clips(many, 'train')
    assert [clip['id'] for clip in clips.clips] == [f'clip{i}' for i in range(40) if i % 3 < 2]
    assert [clip['tags'] for clip in clips.clips] == [[i % 2] for i in range(40) if i % 3 < 2]
    assert [s['id'] for s in one.info.metadata['skipped']] == [f'clip{i}' for i in range(40) if i % 3 == 2]
    assert clips.clips[2]['first'] == 20 and clips.clips[2]['source'] == 'film3'
    assert clips.sound(2, .5).any() and not clips.sound(3, .5).any()
    assert clips.of_tag(1) == [i for i, clip in enumerate(clips.clips) if clip['tags'] == [1]] and clips.of_tag(7) == []
    assert clips.only([1, 2]).of_tag(1) == [0, 1] and clips.multi_hot(1).tolist() == [0, 1] and clips.tag_names(1) == 'b'


def test_a_restart_does_only_what_is_missing(videos, tmp_path, monkeypatch, capsys):
    read, calls = shards.read_clip, []

    def stop(path, **settings):
        calls.append(path)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return read(path, **settings)
    monkeypatch.setattr(shards, 'read_clip', stop)
    with pytest.raises(KeyboardInterrupt):
        preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path / 'made', workers=1)
    left = files(tmp_path)  # one shard of eight clips, whole
    assert left[0].name == 'made-train.array_record-00000-of-00003' and 'incomplete' in left[0].parent.name
    assert len(left) == 2 and left[1].name.startswith('train-00000-') and left[1].parent.name == shards.SUMMARIES
    before = left[0].stat().st_mtime_ns
    calls.clear()
    monkeypatch.setattr(shards, 'read_clip', lambda path, **settings: (calls.append(path), read(path, **settings))[1])
    capsys.readouterr()
    builder = preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path / 'made', workers=1)
    assert len(calls) == 14 and 'Preparing made: 22/22 clips' in capsys.readouterr().err
    assert next(path for path in files(tmp_path) if path.name == left[0].name).stat().st_mtime_ns == before
    assert not list(tmp_path.rglob(shards.SUMMARIES))
    monkeypatch.setattr(shards, 'read_clip', read)
    assert_same(builder, preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path / 'again'))


def test_what_is_left_of_another_state_is_not_taken(videos, tmp_path):
    folder = tmp_path / 'made' / f'{SIDE}px_{RATE}fps' / f'{preparation.VERSION}.incomplete-fedcba987654'
    folder.mkdir(parents=True)
    (folder / 'made-train.array_record-00000-of-00001').touch()
    assert len(Clips(preparation.prepare(source(videos, 2), SIDE, RATE, tmp_path), 'train')) == 2
    assert not folder.exists()
    with pytest.raises(InputError, match='prepared from other files or settings than .* delete it to prepare again'):
        preparation.prepare(source(videos, 2, fingerprint='another'), SIDE, RATE, tmp_path)


def test_a_shard_of_other_clips_is_written_anew(videos, tmp_path):
    one, other = (shards.plan_shards({'train': source(videos, n).read().splits['train']}, tmp_path, 'made', SIDE, RATE)[0] for n in (2, 3))
    shards.write_shard(one)
    assert one.path == other.path and one.done and not other.done
    shards.write_shard(other)
    assert other.done and not one.done


def test_a_full_disk_ends_in_one_line(videos, tmp_path, monkeypatch):
    class Full(shards.ArrayRecordWriter):
        def write(self, record):
            raise RuntimeError('write() failed: No space left on device; writing x; at byte 0')
    monkeypatch.setattr(shards, 'ArrayRecordWriter', Full)
    with pytest.raises(InputError, match=r'cannot be written \(write\(\) failed: No space left on device\); give another folder'):
        preparation.prepare(source(videos, 2), SIDE, RATE, tmp_path)
    assert not files(tmp_path)


PREPARED = '''
import sys
from tests.data import test_preparation as t
t.preparation.prepare(t.source(t.pathlib.Path(sys.argv[1]), 20), t.SIDE, t.RATE, sys.argv[2], workers=1)
'''


def test_two_runs_prepare_the_same_at_a_time(videos, tmp_path):
    """The second waits for the first, and takes what that has made."""
    runs = [forked.start('-c', PREPARED, videos, tmp_path) for _ in range(2)]
    told = [process.finish() for process in runs]
    assert [of.returncode for of in told] == [0, 0] and sum('prepared ' in of.stdout for of in told) == 1, told
    assert len(Clips(preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path), 'train')) == 14
    assert len(list(tmp_path.glob('made/*/*'))) == 1 and not list(tmp_path.rglob('.*'))


KILLED = '''
import sys, time
from tests.data import test_preparation as t
read, calls = t.shards.read_clip, []
def slow(path, **settings):
    calls.append(path)
    if len(calls) > 12:
        time.sleep(99)
    return read(path, **settings)
t.shards.read_clip = slow
t.preparation.prepare(t.source(t.pathlib.Path(sys.argv[1]), 20), t.SIDE, t.RATE, sys.argv[2], workers=1)
'''


def test_killed_preparation(videos, tmp_path):
    process = forked.start('-c', KILLED, videos, tmp_path)
    try:
        until = time.monotonic() + 60
        while not (list(tmp_path.rglob('train*.json')) and list(tmp_path.rglob('.made*'))) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.finish()
    assert list(tmp_path.rglob('.made*'))  # half of a shard
    builder = preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path)
    assert len(Clips(builder, 'train')) == 14 and not list(tmp_path.rglob('.made*'))
    assert_same(builder, preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path / 'again'))


def test_an_interruption_stops_every_worker_soon(videos, tmp_path, monkeypatch):
    calls, read = [], shards.read_clip

    def stop(path, **settings):
        calls.append(path)
        if len(calls) == 5:
            raise KeyboardInterrupt
        time.sleep(.01)
        return read(path, **settings)
    monkeypatch.setattr(shards, 'read_clip', stop)
    with pytest.raises(KeyboardInterrupt):
        preparation.prepare(source(videos, 60), SIDE, RATE, tmp_path, workers=3)
    assert len(calls) < 12 and not files(tmp_path)


def test_nothing_can_be_used(videos, tmp_path):
    found = source(videos, 0)
    only_damaged = found._replace(read=lambda: Listing(['a'], {'train': [SourceClip('x', (0,), str(videos / '2.mp4'), 'x')]}, []))
    for _ in range(2):  # nothing of the first try is taken for prepared
        with pytest.raises(InputError, match=r'no clip can be used \(.*cannot be read \(1\): x .*get other videos'):
            preparation.prepare(only_damaged, SIDE, RATE, tmp_path)
        assert not files(tmp_path)
    with pytest.raises(InputError, match='no clip can be used'):
        preparation.prepare(found._replace(read=lambda: Listing([], {'train': []}, [])), SIDE, RATE, tmp_path)


def prepare_in_process(videos, prepared, process, barrier):
    builder = preparation.prepare(source(pathlib.Path(videos), 9), SIDE, RATE, prepared, workers=1, process=process,
                                  wait=lambda name: barrier.wait(60))
    assert len(Clips(builder, 'train')) == 6


def test_of_several_processes_one_prepares(videos, tmp_path):
    context = multiprocessing.get_context('spawn')
    barrier = context.Barrier(2)
    processes = [context.Process(target=prepare_in_process, args=(str(videos), str(tmp_path), k, barrier)) for k in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]


def test_without_beam(videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'apache_beam', None)
    with pytest.raises(InputError, match=r"config.data.beam='DirectRunner': .*pip install stanet-jax\[beam\]") as caught:
        preparation.prepare(source(videos, 3), SIDE, RATE, tmp_path, beam='DirectRunner')
    assert '\n' not in str(caught.value)


@pytest.mark.filterwarnings('ignore')  # of Beam's own
@pytest.mark.parametrize('options', [(), ('--direct_num_workers=2', '--direct_running_mode=multi_processing')])
def test_beam_writes_the_same(videos, tmp_path, capsys, options):
    pytest.importorskip('apache_beam')
    plain = preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path / 'plain')
    shard = shards.plan_shards(source(videos, 20).read().splits, tmp_path, 'made', SIDE, RATE)[1]
    part = tmp_path / 'beam' / 'made' / f'{SIDE}px_{RATE}fps' / f'{preparation.VERSION}.incomplete-0123456789ab'
    part.mkdir(parents=True)
    shards.write_shard(shard._replace(folder=str(part)))  # is done already
    by_beam = preparation.prepare(source(videos, 20), SIDE, RATE, tmp_path / 'beam', beam='DirectRunner', beam_options=options)
    assert '14 clips in 3 shards to prepare by Beam, DirectRunner' in capsys.readouterr().out
    assert_same(plain, by_beam)


@pytest.mark.filterwarnings('ignore')
def test_beam_that_fails_says_so_in_a_line(videos, tmp_path):
    pytest.importorskip('apache_beam')
    with pytest.raises(InputError, match="config.data.beam='NoSuchRunner'") as caught:
        preparation.prepare(source(videos, 3), SIDE, RATE, tmp_path, beam='NoSuchRunner')
    assert '\n' not in str(caught.value)


def test_a_clip_that_breaks_off_is_told_and_one_that_crashes_is_skipped(tmp_path, capsys, monkeypatch):
    root = tmp_path / 'set' / 'tag'
    root.mkdir(parents=True)
    half = odd_films.write(root / 'half.mp4', 100, options={'movflags': '+faststart'})
    half.write_bytes(half.read_bytes()[:half.stat().st_size * 2 // 3])
    odd_films.write(root / 'whole.mp4', 50)
    odd_films.write(root / 'crash.mp4', 50)
    odd_films.write(root / 'locked.mp4', 50, options=odd_films.encrypt())

    def read(path, real=shards.read_clip, **settings):
        return next(box.iterate(crashing.crash, path, **settings)) if 'crash' in path else real(path, **settings)

    monkeypatch.setattr(shards, 'read_clip', read)
    builder = preparation.prepare(folders.source(tmp_path / 'set', shares=(1, 0, 0)), 32, 8.0)
    lines, used = check_set(folders.source(tmp_path / 'set', shares=(1, 0, 0)), 'videos')
    assert used and any('encrypted (1): tag__locked' in line for line in lines)
    found = builder.info.metadata
    assert sorted(of['id'] for of in found['splits']['train']) == ['tag__half', 'tag__whole']
    reasons = {of['id']: of['detail'] for of in found['skipped']}
    assert reasons['tag__crash'].startswith('crashes the decoder (Segmentation fault)')
    assert reasons['tag__locked'].startswith('is encrypted')
    assert f'{half}: breaks off after' in capsys.readouterr().err
