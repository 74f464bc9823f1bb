"""The reader of the fixation sets, on SynthAVE as it is written and on what real sets have: odd names, gaps, broken files."""
import shutil
import unicodedata

import h5py
import numpy as np
import PIL.Image
import pytest
import scipy.io

from stanet_jax import InputError
from stanet_jax.data import synthave
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.map_files import list_files

SETTINGS = synthave.Settings(train=2, validation=0, test=3, seconds=2.0, side=48, observers=6)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp('made') / 'set'
    synthave.generate(root, SETTINGS, workers=1)
    return root


@pytest.fixture
def world(made, tmp_path):
    return shutil.copytree(made, tmp_path / 'set')


def rename(world, old, new):
    for part in ('annotations', 'video_frames', 'video_audio'):
        (world / part / 'SynthAVE' / old).rename(world / part / 'SynthAVE' / new)
    (world / 'video_audio' / 'SynthAVE' / new / f'{old}.wav').rename(world / 'video_audio' / 'SynthAVE' / new / f'{new}.wav')


def test_synthave(made):
    name, videos, missing = fixations.open_set(made)
    assert name == 'SynthAVE' and not missing and [(v.frames, v.fps) for v in videos] == [(16, 8.0)] * 3
    assert [v.name for v in videos] == [synthave.make_clip(SETTINGS, 'test', i).id for i in range(3)]
    video = videos[1]
    for k in (0, 15):
        points = video.observers(k)
        assert points.shape == (6, 2)
        np.testing.assert_array_equal(video.fixations(k), synthave.fixation_map(points, 48) > 0)
        assert video.fixations(k).dtype == bool and video.density(k).dtype == np.float32
        np.testing.assert_allclose(video.density(k), 255 * synthave.density_map(points, 48), atol=20)  # JPEG
        assert video.frame(k).shape == (48, 48, 3) and video.frame(k).dtype == np.uint8
    wave = video.wave()
    assert wave.shape == (32000,) and wave.dtype == np.float32 and 0.05 < abs(wave).max() <= 1
    assert video.fixations(16) is None and video.density(16) is None and video.observers(16) is None
    with pytest.raises(InputError, match='img_00017.jpg: no such frame'):
        video.frame(16)


def test_names_lists_and_gaps(world):
    _, (first, second, third), _ = fixations.open_set(world)
    odd = 'Señor & Crème 2 (ü)'
    rename(world, first.name, unicodedata.normalize('NFD', odd))
    rename(world, third.name, 'third')
    (world / 'fold_lists' / 'SynthAVE_list_test_fps.txt').unlink()
    _, videos, _ = fixations.open_set(world)
    assert {v.name for v in videos} == {odd, second.name, 'third'} and {v.fps for v in videos} == {fixations.FPS}

    for fold, lines in enumerate(([f'{odd} 14 29.97', 'gone 10 25'], [f'{second.name}\t20  25', f'{odd} 14 29.97', ''])):
        (world / 'fold_lists' / f'SynthAVE_list_test_{fold + 1}_fps.txt').write_text('\r\n'.join(lines) + '\n', 'utf-8')
    _, videos, missing = fixations.open_set(world, 'SynthAVE')
    # The list's count, but no more frames than there are.
    assert [(v.name, v.frames, v.fps) for v in videos] == [(odd, 14, 29.97), (second.name, 16, 25.0)]
    assert missing == ['gone: in the fold list, but without annotations']
    assert videos[0].wave() is not None and videos[0].frame(0).shape == (48, 48, 3)

    video = videos[1]
    shutil.rmtree(video.sound.parent)
    (video.notes / 'fixMap_00003.mat').unlink()
    (video.notes / 'maps' / 'eyeMap_00003.jpg').unlink()
    PIL.Image.fromarray(np.full((48, 48), 7, np.uint8)).save(video.notes / 'maps' / 'eyeMap_00003.png')
    assert video.wave() is None and video.fixations(2) is None and video.observers(2) is None
    assert (video.density(2) == 7).all()
    shutil.rmtree(video.images)  # who scores maps needs no frames
    assert fixations.open_set(world)[1][1].frames == 16


def test_mat_files_of_both_formats(world):
    """The same fixations as up to v7 and as v7.3, which MATLAB writes as HDF5 after a header of its own, its axes the other way round."""
    _, (video, *_), _ = fixations.open_set(world)
    expected, mat = video.fixations(0), video.notes / 'fixMap_00001.mat'
    assert expected.any() and not np.array_equal(expected, expected.T)
    for dtype in (np.uint8, np.float64):
        mat.unlink()
        with h5py.File(mat, 'w', userblock_size=512) as file:
            file['eyeMap'] = expected.astype(dtype).T
            file.create_group('#refs#')
        with open(mat, 'r+b') as file:
            file.write(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM')
        np.testing.assert_array_equal(video.fixations(0), expected)
        assert video.observers(0) is None


def test_broken_files_are_named(world):
    _, (video, *_), _ = fixations.open_set(world)
    mat = video.notes / 'fixMap_00001.mat'
    whole = mat.read_bytes()
    hdf5 = b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM' + bytes(400)
    for content in (hdf5, b'', whole[:150], b'x' * 300):
        mat.write_bytes(content)
        with pytest.raises(InputError, match='fixMap_00001.mat: cannot be read'):
            video.fixations(0)
    for content in ({'other': np.eye(3)}, {'eyeMap': np.zeros((2, 2, 2))}, {'eyeMap': 'text'}):
        scipy.io.savemat(mat, content)
        with pytest.raises(InputError, match='fixMap_00001.mat: holds no map eyeMap'):
            video.fixations(0)
    scipy.io.savemat(mat, {'eyeMap': 255.0 * np.eye(4)})
    np.testing.assert_array_equal(video.fixations(0), np.eye(4, dtype=bool))
    assert video.observers(0) is None
    picture = video.images / 'img_00001.jpg'
    for content in (b'', picture.read_bytes()[:200]):
        picture.write_bytes(content)
        with pytest.raises(InputError, match='img_00001.jpg: cannot be read as an image'):
            video.frame(0)


def test_wrong_folders_and_sets(world, tmp_path):
    with pytest.raises(InputError, match='none: holds no annotations'):
        fixations.open_set(tmp_path / 'none')
    with pytest.raises(InputError, match='--set=DIEM: .* holds SynthAVE'):
        fixations.open_set(world, 'DIEM')
    (world / 'annotations' / 'DIEM').mkdir()
    with pytest.raises(InputError, match='--set=: .* holds DIEM, SynthAVE'):
        fixations.open_set(world)
    with pytest.raises(InputError, match="DIEM: holds none of the set's videos"):
        fixations.open_set(world, 'DIEM')
    for line in ('only_a_name', 'name 16 fast', 'name 16 0'):
        (world / 'fold_lists' / 'SynthAVE_list_test_fps.txt').write_text(f'name 16 8\n{line}\n')
        with pytest.raises(InputError, match=r'SynthAVE_list_test_fps.txt, line 2: must be <video> <frames> <fps>'):
            fixations.open_set(world, 'SynthAVE')


def test_deep_images_keep_their_values(tmp_path):
    deep = np.arange(0, 60000, 4000, np.uint16).reshape(3, 5)
    PIL.Image.fromarray(deep).save(tmp_path / 'deep.png')
    np.testing.assert_array_equal(fixations.read_image(tmp_path / 'deep.png', 'L'), deep)


def test_hidden_files_are_no_maps(tmp_path):
    for k in range(1, 4):
        PIL.Image.new('L', (8, 8), k).save(tmp_path / f'{k:03d}.png')
        (tmp_path / f'._{k:03d}.png').write_bytes(b'Mac OS X')
    assert sorted(path.name for path in list_files(tmp_path, ('.png',))) == ['001.png', '002.png', '003.png']
