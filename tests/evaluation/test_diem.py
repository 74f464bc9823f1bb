"""DIEM's raw gaze, written by hand, to a fixation set."""

import av
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.evaluation import diem, fixations
from tests import forked

# A video of 64 x 48 in the middle of the screen of 1280 x 960: its corner is at (608, 456).
GAZE = ['1\t618\t466\t4.1\t1\t622\t470\t4.0\t1',  # both eyes fixate: the mean, (12, 12) in the video
        '2\t618\t466\t4.1\t2\t622\t470\t4.0\t1',  # the right one alone: (14, 14)
        '3\t618\t466\t4.1\t0\t622\t470\t4.0\t2',  # neither
        '4\t-5\t466\t4.1\t1\t-5\t470\t4.0\t-1',   # off the screen
        '5\t100\t100\t4.1\t1\t100\t100\t4.0\t1']  # on the screen, off the video


@pytest.fixture
def folder(tmp_path):
    for name in ('one & two', 'broken', 'blind'):
        (tmp_path / 'DIEM' / name / 'event_data').mkdir(parents=True)
        (tmp_path / 'DIEM' / name / 'video').mkdir()
        film(tmp_path / 'DIEM' / name / 'video' / f'{name}.mp4')
    for observer in (1, 2):
        (tmp_path / 'DIEM' / 'one & two' / 'event_data' / f'diem{observer}.txt').write_text('\n'.join(GAZE[:observer * 3]) + '\n')
    (tmp_path / 'DIEM' / 'broken' / 'event_data' / 'diem1.txt').write_text('1 2 3\n')
    return tmp_path / 'DIEM'


def film(path, frames=6):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), 'rgb24')))
        container.mux(stream.encode(None))


def test_gaze(folder):
    frames, points = diem.read_gaze(folder / 'one & two' / 'event_data' / 'diem2.txt')
    assert frames.tolist() == [0, 1, 3, 4]
    np.testing.assert_allclose(points, [[468, 620], [470, 622], [466, -5], [100, 100]])
    np.testing.assert_allclose(diem.on_video(points, (48, 64)), [[12, 12], [14, 14]])
    for path, why in ((folder / 'broken' / 'event_data' / 'diem1.txt', 'nine numbers'), (folder / 'none.txt', 'cannot be read as gaze')):
        with pytest.raises(InputError, match=why):
            diem.read_gaze(path)


def test_command(folder, tmp_path):
    def run(*more):
        return forked.python('-m', 'stanet_jax.evaluation.diem', f'--root={folder}', f'--out={tmp_path}/set', *more)
    done = run('--blur=0.5', '--pixels_per_degree=6')
    assert done.returncode == 0 and '1 videos; skipped 2' in done.stdout, done.stderr
    assert 'broken/event_data/diem1.txt: must hold nine' in done.stdout and 'blind/event_data: holds no gaze' in done.stdout
    name, (video,), _ = fixations.open_set(tmp_path / 'set')
    assert (name, video.name, video.frames) == ('DIEM', 'one & two', 6)
    assert np.argwhere(video.fixations(0)).tolist() == [[12, 12]] and video.counts(0)[12, 12] == 2
    assert np.argwhere(video.fixations(1)).tolist() == [[14, 14]] and not any(video.fixations(k).any() for k in (2, 3, 4, 5))
    bell = np.exp(-((np.arange(48)[:, None] - 12)**2 + (np.arange(64) - 12)**2) / (2 * 3**2))  # half a degree of six pixels
    np.testing.assert_allclose(video.density(0), 255 * bell, atol=1.5)
    assert not video.density(3).any()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / 'set').rglob('*.png')}
    assert run('--blur=9').returncode == 0 and written == {path: path.stat().st_mtime_ns for path in (tmp_path / 'set').rglob('*.png')}
    assert 'must be above 0' in run('--blur=0').stderr
    assert '--screen=big: must be width x height' in run('--blur=9', '--screen=big').stderr


def test_another_screen(folder, tmp_path):
    diem.convert(folder, tmp_path, 3, screen=(956, 1276))
    _, (video,), _ = fixations.open_set(tmp_path)
    assert np.argwhere(video.fixations(0)).tolist() == [[14, 14]]
