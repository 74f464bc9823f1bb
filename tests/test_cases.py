"""The files of the shared folder that came out wrong once, where they are here; each kind has tests of its own that make its files."""
import os
import pathlib
import shutil

import av
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.eps.images import mask_reader
from stanet_jax.eps.prediction import ImageFolder
from stanet_jax.eps.scores import score_masks
from stanet_jax.inference.training_free import TrainingFree
from stanet_jax.inference.videos import predict_video, predict_videos
from stanet_jax.media import box
from stanet_jax.media.clip import read_clip
from stanet_jax.media.container import open_media, sound_stream, video_stream
from stanet_jax.media.header import find_break, read_header
from stanet_jax.media.sound import read_sound
from stanet_jax.media.video import decode, read_frames
from tests import forked

ROOT = pathlib.Path(__file__).parents[1]
CASES = ROOT.parent / 'shared' / 'cases'
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason='the shared cases are not here')


@pytest.fixture(scope='module')
def predictor():
    return TrainingFree('centre', side=32)


def times(path, choose=video_stream):
    with open_media(path) as container:
        return np.array([(start, end) for _, start, end in decode(container, [choose(container)])])


def overlay(predictor, out, case):
    predict_video(predictor, CASES / case, out)
    return out / pathlib.Path(case).stem / 'overlay.mp4'


@pytest.mark.parametrize('name', ['flash.avi', 'mpeg4_b.avi', 'mjpeg.avi', 'flash.mp4'])
def test_flash_and_beep_are_at_two_seconds(predictor, tmp_path, name):
    film = overlay(predictor, tmp_path, f'avi_film_late/{name}')
    levels = np.array([frame.mean() for frame in read_frames(film)])
    flash = times(film)[np.flatnonzero(levels > levels.mean() + 0.3 * np.ptp(levels))[0], 0]
    assert flash == pytest.approx(2, abs=0.01) and np.flatnonzero(abs(read_sound(film)) > 0.1)[0] / 16000 == pytest.approx(2, abs=0.03)


@pytest.mark.parametrize('name', ['aac.ts', 'mp2.ts'])
def test_joined_films(predictor, tmp_path, name):
    film = overlay(predictor, tmp_path, f'clock_falls_back/{name}')
    pictures, heard = times(film), times(film, sound_stream)
    assert len(pictures) == 100 and np.diff(pictures[:, 0]).min() > 0.035
    assert pictures[-1, 1] == pytest.approx(4, abs=0.1) and heard[-1, 1] == pytest.approx(4, abs=0.1)
    clip = read_clip(CASES / 'clock_falls_back' / name, 8, 32)
    assert len(clip.frames) in (32, 33) and len(clip.sound) / 16000 == pytest.approx(4, abs=0.1)


def test_films_that_are_cut_off():
    for name, frames in (('cut.mp4', 22), ('coarse_cut.mp4', 25)):
        film = CASES / 'cut_off_without_a_word' / name
        assert len(times(film)) == frames and f'{name}: breaks off after' in find_break(film) and find_break(film).endswith('of 2.0 s')


def test_crash_ends_no_folder(tmp_path):
    (tmp_path / 'films').mkdir()
    for k in range(9):
        shutil.copy(CASES / 'mac_companions' / 'clip.mp4', tmp_path / f'films/{k}.mp4')
    shutil.copy(CASES / 'decoder_crash' / 'crash.mp4', tmp_path / 'films/4_crash.mp4')
    done = forked.stanet('predict', tmp_path / 'films', '--method=centre', '--side=32', f'--out={tmp_path / "out"}')
    lines = [line for line in done.stderr.replace('\r', '\n').splitlines() if 'frame/s' not in line and 's/frame' not in line and line]
    assert done.returncode == 1 and len(os.listdir(tmp_path / 'out')) in (9, 10)
    if len(os.listdir(tmp_path / 'out')) == 9:  # whether the file crashes depends on the build of FFmpeg
        assert len(lines) == 2 and '4_crash.mp4: crashes the decoder' in lines[0] and lines[1].startswith('error: 1 of 10 videos failed')


def test_encrypted(predictor, tmp_path, capsys):
    film = CASES / 'encrypted' / 'cenc.mp4'
    with pytest.raises(InputError, match=r'cenc\.mp4: is encrypted, and needs its key'):
        predict_videos(predictor, [film], tmp_path)
    with pytest.raises(InputError, match='encrypted'):
        box.call(read_header, film)


def test_fine_clock(predictor, tmp_path):
    np.testing.assert_allclose(times(overlay(predictor, tmp_path, 'fine_clock/ns.nut')), [(0, 5), (5, 10), (10, 15)])


def test_labels_out_of_range(tmp_path):
    root = CASES / 'labels_out_of_range'
    images = voc.Images(voc.prepare(root / 'voc', tmp_path), 'train')
    scores = score_masks(images, root / 'masks255')
    assert 0.8 < scores.mean_iou < 1
    with pytest.raises(InputError, match=r'masks90/a\d\d\.png: label 90, but there are 8 classes'):
        mask_reader(root / 'masks90', images)(0)


@pytest.mark.parametrize(('folder', 'done'), [('long_names', 2), ('mac_companions', 1)])
def test_folders(predictor, tmp_path, capsys, folder, done):
    predict_videos(predictor, [CASES / folder], tmp_path)
    told = capsys.readouterr()
    assert len(os.listdir(tmp_path)) == done and f'{done} video' in told.out and 'passed over' in told.err and '._' not in told.err


@pytest.mark.parametrize('name', ['hflip', 'vflip', 'transpose', 'antitranspose', 'zeros'])
def test_display_matrices(name):
    with av.open(str(CASES / 'mirrored_or_zero_matrix' / 'base.mp4')) as container:
        base = next(container.decode(video=0)).to_ndarray(format='rgb24')
    shown = {'hflip': base[:, ::-1], 'vflip': base[::-1], 'transpose': base.transpose(1, 0, 2), 'zeros': base,
             'antitranspose': base[::-1, ::-1].transpose(1, 0, 2)}[name]
    np.testing.assert_array_equal(next(read_frames(CASES / 'mirrored_or_zero_matrix' / f'{name}.mp4')), shown)


def test_pcm_of_64_bits(predictor, tmp_path):
    film = overlay(predictor, tmp_path, 'pcm_64_bit/s64.nut')
    assert len(times(film)) == 25 and np.abs(read_sound(film)).max() > 0.25


def test_photographs_are_upright():
    folder = ImageFolder(CASES / 'photo_orientation', 8)
    with PIL.Image.open(CASES / 'photo_orientation' / 'upright.jpg') as image:
        wanted = np.asarray(image).astype(int)
    assert len(folder.images) == 8
    for k, info in enumerate(folder.images):
        assert (info['width'], info['height']) == (120, 80) and abs(np.asarray(folder.image(k)).astype(int) - wanted).mean() < 3


@pytest.mark.parametrize('name', ['mp2_mono_then_stereo', 'eac3_stereo_then_51', 'mp2_32k_then_48k'])
def test_sound_that_changes(predictor, tmp_path, name):
    film = overlay(predictor, tmp_path, f'sound_changes_transcoded/{name}.ts')
    assert len(times(film)) == 50 and times(film, sound_stream)[-1, 1] == pytest.approx(2, abs=0.1)
    wave = abs(read_sound(film))
    assert all(wave[k:k + 8000].max() > 0.1 for k in range(0, 30000, 8000))


def test_times_in_decoding_order(predictor, tmp_path):
    film = overlay(predictor, tmp_path, 'times_in_decoding_order/dts.flv')
    np.testing.assert_allclose(times(film), [(k * 0.04, k * 0.04 + 0.04) for k in range(25)], atol=1e-3)
