"""Prediction on odd films and folders: overlays keep times and sound, what fails is one line, and the others are done."""
import concurrent.futures
import os
import pathlib
import signal
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.inference.files import find_files, output_names
from stanet_jax.inference.training_free import TrainingFree
from stanet_jax.inference.videos import predict_video, predict_videos
from stanet_jax.media.container import open_media, sound_stream, video_stream
from stanet_jax.media.sound import read_sound
from stanet_jax.media.soundtrack import can_copy_sound
from stanet_jax.media.video import decode, read_frames
from stanet_jax.workdir import replace_text, replacing
from tests import forked
from tests.media.odd_films import encrypt, join, set_matrix, write

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module')
def predictor():
    return TrainingFree('centre', side=32)


def times(path, choose=video_stream):
    with open_media(path) as container:
        return np.array([(start, end) for _, start, end in decode(container, [choose(container)])])


def test_slides_of_a_fine_clock(predictor, tmp_path):
    film = write(tmp_path / 'ns.nut', 3, rate=Fraction(1, 5), sound='', codec='ffv1', tick=Fraction(1, 10 ** 9))
    assert predict_video(predictor, film, tmp_path / 'out') == 3
    np.testing.assert_allclose(times(tmp_path / 'out/ns/overlay.mp4'), [(0, 5), (5, 10), (10, 15)])


@pytest.mark.parametrize('sounds', [
    [('mp2', 'mono', 48000), ('mp2', 'stereo', 48000)], [('mp2', 'stereo', 32000), ('mp2', 'stereo', 48000)],
    [('eac3', 'stereo', 48000), ('eac3', '5.1', 48000)], [('aac', 'mono', 48000), ('aac', 'stereo', 48000)]])
def test_sound_that_changes_goes_on(predictor, tmp_path, sounds):
    parts = [write(tmp_path / f'{k}.ts', sound=codec, layout=layout, sound_rate=rate) for k, (codec, layout, rate) in enumerate(sounds)]
    film = join(tmp_path / 'changes.ts', *parts)
    assert not can_copy_sound(film) and (can_copy_sound(parts[0]) == (sounds[0][0] == 'aac'))
    assert predict_video(predictor, film, tmp_path / 'out') == 50
    overlay = tmp_path / 'out/changes/overlay.mp4'
    pictures, heard, meant = times(overlay), times(overlay, sound_stream), read_sound(film)
    assert len(pictures) == 50 and np.diff(pictures[:, 0]).min() > 0.02 and abs(pictures[-1, 1] - 2) < 0.15
    assert abs(heard[-1, 1] - 2) < 0.15 and abs(heard[1:, 0] - heard[:-1, 1]).max() < 0.06
    kept = read_sound(overlay)
    assert abs(len(kept) - len(meant)) < 2500
    seconds = [abs(kept[k:k + 2000]).mean() for k in range(1000, len(meant) - 3000, 2000)]
    assert min(seconds) > 0.1  # it is heard all along


@pytest.mark.parametrize('sound', ['aac', 'mp2'])
def test_joined_films_have_all_their_sound(predictor, tmp_path, sound):
    part = write(tmp_path / 'part.ts', 50, sound=sound)
    assert predict_video(predictor, join(tmp_path / 'joined.ts', part, part), tmp_path / 'out') == 100
    overlay = tmp_path / 'out/joined/overlay.mp4'
    pictures, heard = times(overlay), times(overlay, sound_stream)
    assert np.diff(pictures[:, 0]).min() > 0.03 and abs(pictures[-1, 1] - 4) < 0.15 and abs(heard[-1, 1] - 4) < 0.15
    assert abs(read_sound(overlay)[-8000:-3000]).mean() > 0.1


def test_packets_of_one_time_are_kept(predictor, tmp_path):
    """Several packets of sound carry the time of the first of them."""
    film = tmp_path / 'same.mkv'
    with av.open(str(write(tmp_path / 'a.mkv', 50))) as source, av.open(str(film), 'w') as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        first = 0
        for k, packet in enumerate(packet for packet in source.demux() if packet.dts is not None):
            if packet.stream.type == 'audio':
                first = packet.dts if k % 4 == 0 else first
                packet.pts = packet.dts = first
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    with av.open(str(film)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    assert len({packet.dts for packet in packets}) < len(packets)
    predict_video(predictor, film, tmp_path / 'out')
    with av.open(str(tmp_path / 'out/same/overlay.mp4')) as container:
        assert [bytes(packet) for packet in container.demux(audio=0) if packet.size] == [bytes(packet) for packet in packets]


@pytest.mark.parametrize('name', ['hflip', 'transpose', 'zeros'])
def test_overlays_are_shown_as_films_are(predictor, tmp_path, name):
    film = set_matrix(write(tmp_path / 'a.mp4', 4), name)
    predict_video(predictor, film, tmp_path / 'out')
    shown, overlay = (next(read_frames(path)).astype(int) for path in (film, tmp_path / 'out/a/overlay.mp4'))
    assert shown.shape == overlay.shape
    corners = [[x[y, z].mean() for y in (3, -4) for z in (3, -4)] for x in (shown, overlay)]
    assert np.argmax(corners[0]) == np.argmax(corners[1]) and max(corners[1]) > 2 * sorted(corners[1])[-2]


# -------------------------------------------------------------------------------------------------------------------- folders


def children():
    """The processes that this one has started to decode."""
    found = []
    for task in pathlib.Path('/proc/self/task').iterdir():
        for pid in (task / 'children').read_text().split():
            if b'stanet_jax.media.box' in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes():
                found.append(int(pid))
    return found


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='finds the child in /proc')
def test_one_of_ten_crashes(predictor, tmp_path, capsys):
    class Crashing(TrainingFree):
        """Ends the process that decodes the fifth film by a signal, as a decoder does."""
        films = 0

        def predict_blocks(self, moments, fps):
            self.films += 1
            if self.films == 5:
                next(moments)
                for pid in children():
                    os.kill(pid, signal.SIGSEGV)
            return super().predict_blocks(moments, fps)

    (tmp_path / 'films').mkdir()
    for k in range(10):
        write(tmp_path / f'films/{k}.mp4', 120 if k == 4 else 3)
    with pytest.raises(InputError, match='^1 of 10 videos failed and are named above; the others are in'):
        predict_videos(Crashing('centre', side=32), [tmp_path / 'films'], tmp_path / 'out')
    skipped = [line for line in capsys.readouterr().err.replace('\r', '\n').splitlines() if line.startswith('skipped')]
    assert len(skipped) == 1 and skipped[0].startswith(f'skipped: {tmp_path}/films/4.mp4: crashes the decoder (Segmentation fault)')
    assert sorted(os.listdir(tmp_path / 'out')) == [str(k) for k in range(10) if k != 4]


def test_odd_folders(predictor, tmp_path, capsys):
    """Hidden companions are left out, other kinds are counted, long names and all other letters are done, an encrypted film is named."""
    films, out = tmp_path / 'films', tmp_path / 'out'
    films.mkdir()
    plain = write(films / 'a.mp4', 3).read_bytes()
    names = ['b' * 251 + '.mp4', '日' * 83 + '.mkv', 'new\nline.mp4', 'per%05d#?.mp4', '<b>"\'&.mp4', 'back\\slash:.mp4', '*[x]?.mp4',
             ' space .mp4', os.fsdecode(b'\xff\xfe.mp4'), '$HOME;`x`|.mp4', 'tab\t\x01.mp4', '-v.mp4']
    for name in names:
        (films / name).write_bytes(plain)
    for name in ('._a.mp4', '.hidden.mp4', 'notes.txt', 'old.rm', 'README'):
        (films / name).write_bytes(b'\0\5\26\7 Mac OS X')
    write(films / 'locked.mp4', 3, options=encrypt())
    with pytest.raises(InputError, match=f'1 of {len(names) + 2} videos failed'):
        predict_videos(predictor, [films], out)
    assert {path.name for path in out.iterdir()} == {pathlib.PurePath(name).stem for name in ['a.mp4', *names]}
    assert all((folder / 'overlay.mp4').exists() and len(os.listdir(folder / 'maps')) == 3 for folder in out.iterdir())
    told = capsys.readouterr().err
    assert 'films: 3 files are passed over (.rm, .txt, no ending)' in told and 'locked.mp4: is encrypted' in told and '._a' not in told


def test_names_of_results(tmp_path):
    long = 'b' * 251 + '.mp4'
    files = [*(tmp_path / 'x' / name for name in ('..mp4', '...mp4', 'a.mp4')), tmp_path / 'y' / long, tmp_path / 'z' / long]
    assert output_names(files)[:3] == ['..mp4', '...mp4', 'a']
    names = output_names(files * 2)
    assert len(set(names)) == 10 and all(len(os.fsencode(name)) <= 255 for name in names)
    assert find_files([ROOT / 'docs']) == sorted((ROOT / 'docs').glob('*.jpg'))


def test_files_and_folders_of_long_names_are_replaced(tmp_path):
    folder, file = tmp_path / ('日' * 85), tmp_path / ('f' * 255)
    for text in ('a', 'b'):
        replace_text(file, text)
        with replacing(folder) as new:
            new.mkdir()
            (new / text).touch()
    assert file.read_text() == 'b' and os.listdir(folder) == ['b'] and len(os.listdir(tmp_path)) == 2
    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # each of many with one beginning has a scratch name of its own
        list(pool.map(lambda k: replace_text(tmp_path / (f'{"c" * 250}{k}'), str(k)), range(8)))
    assert [(tmp_path / f'{"c" * 250}{k}').read_text() for k in range(8)] == [str(k) for k in range(8)]


def test_films_that_break_off_are_told(predictor, tmp_path, capsys):
    film = write(tmp_path / 'half.mp4', 100, options={'movflags': '+faststart'})
    film.write_bytes(film.read_bytes()[:film.stat().st_size * 2 // 3])
    count = predict_video(predictor, film, tmp_path / 'out')
    assert 30 < count < 95 and f'{film}: breaks off after' in capsys.readouterr().err


def test_timeout_is_a_flag(tmp_path):
    """Of a film that gives no frame in time the command makes one line."""
    film = write(tmp_path / 'a.mp4', 3)
    done = forked.stanet('predict', film, '--method=centre', f'--out={tmp_path / "out"}', '--decode_timeout=0')
    assert done.returncode == 1 and 'decode_timeout' in done.stderr and len(done.stderr.strip().splitlines()) == 1
