"""Pictures out of files of all kinds, predicted in blocks, equal to silent films of one frame."""
import os

import numpy as np
import PIL.Image
import pytest

from stanet_jax import InputError
from stanet_jax.inference.files import output_names
from stanet_jax.inference.predictor import Predictor
from stanet_jax.inference.videos import predict_videos
from stanet_jax.media.moments import moments_of_frames
from stanet_jax.media.overlay import Output
from stanet_jax.media.picture import read_picture
from tests.inference.test_predictor import SIDE, make_run
from tests.inference.test_videos import write


@pytest.fixture(scope='module')
def students(tmp_path_factory):
    return Predictor(make_run(tmp_path_factory.mktemp('run') / 'all', ('STA', 'STA_short', 'STA_long')))


def pictures(count):
    rng = np.random.default_rng(0)
    return [np.kron(rng.integers(0, 256, (3 + k % 3, 4, 3), np.uint8), np.ones((9, 9, 1), np.uint8)) for k in range(count)]


# ----------------------------------------------------------------------------------------------------------------- reading


def test_pictures_of_all_modes(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    for name in ('a.png', 'a.bmp', 'a.tif', 'a.webp', 'a.ppm'):
        PIL.Image.fromarray(np.stack([grey, grey // 2, grey // 3], -1)).save(tmp_path / name, lossless=True)  # webp takes that
        np.testing.assert_array_equal(read_picture(tmp_path / name), np.stack([grey, grey // 2, grey // 3], -1), err_msg=name)
    three = np.repeat(grey[..., None], 3, -1)
    PIL.Image.fromarray(grey).save(tmp_path / 'grey.png')
    PIL.Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / 'deep.png')
    PIL.Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / 'float.tif')
    PIL.Image.fromarray(grey.astype(np.int32) * 257).save(tmp_path / 'long.tif')
    for name in ('grey.png', 'deep.png', 'float.tif', 'long.tif'):
        np.testing.assert_array_equal(read_picture(tmp_path / name), three, err_msg=name)
    PIL.Image.fromarray((grey.astype(np.float32) - 100) * 7).save(tmp_path / 'any.tif')  # of another range: from its least to its greatest
    found = read_picture(tmp_path / 'any.tif')[..., 0]
    assert (found.min(), found.max()) == (0, 255) and (np.diff(found.ravel().astype(int)) > 0).all()
    PIL.Image.fromarray(np.full((3, 3), 9.0, np.float32)).save(tmp_path / 'flat.tif')
    assert read_picture(tmp_path / 'flat.tif').shape == (3, 3, 3)


def test_what_is_transparent_shows_white(tmp_path):
    image = np.zeros((4, 6, 4), np.uint8)
    image[:, 3:] = 200, 40, 60, 255
    PIL.Image.fromarray(image).save(tmp_path / 'alpha.png')
    palette = PIL.Image.fromarray(image[..., :3]).convert('P')
    palette.save(tmp_path / 'palette.png', transparency=palette.getpixel((0, 0)))
    PIL.Image.fromarray(image[..., 2:]).save(tmp_path / 'grey.png')
    for name in ('alpha.png', 'palette.png', 'grey.png'):
        found = read_picture(tmp_path / name)
        assert (found[:, :3] == 255).all() and (found[:, 3:] < 255).any(-1).all(), name


def test_pictures_are_turned_as_they_are_to_be_shown(tmp_path):
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :4] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    PIL.Image.fromarray(image).save(tmp_path / 'a.jpg', exif=exif, quality=100)
    found = read_picture(tmp_path / 'a.jpg')
    assert found.shape == (20, 10, 3) and found[0].min() > 200 and found[-1].max() < 50


def test_what_is_no_picture_is_one_line(tmp_path):
    (tmp_path / 'empty.png').touch()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / 'whole.png')
    (tmp_path / 'half.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:2000])
    unread = 'cannot be read as an image'
    for name, words in (('empty.png', unread), ('half.png', unread), ('no.png', 'no such file')):
        with pytest.raises(InputError, match=f'{name}: {words}') as caught:
            read_picture(tmp_path / name)
        assert '\n' not in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- prediction


def test_pictures_in_blocks_have_the_maps_of_films_of_one_frame(students):
    given = pictures(19)
    found = list(students.predict_pictures(given))
    assert len(found) == 19 and all(maps.keys() == set(students.names) for maps in found)
    for k in (0, 7, 15, 16, 18):
        (_, expected), = students.predict_blocks(moments_of_frames([given[k]], None, 25.0, SIDE))
        for name in students.names:
            np.testing.assert_allclose(found[k][name], expected[name][0], atol=1e-5, err_msg=f'{name} {k}')
    assert abs(found[0]['final'] - found[1]['final']).max() > 1e-3
    assert not list(students.predict_pictures([]))
    assert {of._cache_size() for of in (students._encode, students._blend, students._reason)} == {1}


def test_a_folder_of_videos_and_pictures(students, tmp_path, capsys):
    folder, out = tmp_path / 'mine', tmp_path / 'out'
    folder.mkdir()
    for k, picture in enumerate(pictures(18)):
        PIL.Image.fromarray(picture).save(folder / f'photo {k}.{("png", "jpg", "tiff")[k % 3]}')
    write(folder / 'film.mp4', 3)
    (folder / 'broken.JPG').write_bytes(b'no picture')
    (folder / 'notes.txt').touch()
    with pytest.raises(InputError, match='1 of 20 files failed and are named above'):
        predict_videos(students, [folder], out)
    assert 'skipped: ' in (said := capsys.readouterr().err) and 'broken.JPG: cannot be read as an image' in said
    assert sorted(os.listdir(out)) == sorted(['film', *(f'photo {k}' for k in range(18))])
    maps = list(students.predict_pictures([read_picture(folder / f'photo {k}.{("png", "jpg", "tiff")[k % 3]}') for k in range(18)]))
    for k, picture in enumerate(pictures(18)):
        assert sorted(p.name for p in (out / f'photo {k}').iterdir()) == ['maps', 'overlay.png']
        with (PIL.Image.open(out / f'photo {k}' / 'maps' / 'eyeMap_00001.png') as map_,
              PIL.Image.open(out / f'photo {k}' / 'overlay.png') as shown):
            assert map_.mode == 'L' and map_.size == shown.size == picture.shape[1::-1] and map_.getextrema() == (0, 255)
            small = np.asarray(map_.resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR), float)
            assert np.corrcoef(small.ravel(), maps[k]['final'].ravel())[0, 1] > 0.9
    (folder / 'broken.JPG').unlink()
    predict_videos(students, [folder / 'film.mp4', folder / 'photo 0.png'], out, Output(names='stavis'))
    assert capsys.readouterr().out == f'1 video, 1 picture done: maps, overlay.mp4 and overlay.png are in {out}\n'
    assert sorted(os.listdir(out / 'photo 0')) == ['overlay.png', 'pred_sal_000001.jpg']
    (out / 'photo 0' / 'notes.txt').touch()
    with pytest.raises(InputError, match='photo 0: is there, and holds other things than maps'):
        predict_videos(students, [folder / 'photo 0.png'], out)


def test_names_of_both_kinds_do_not_collide(tmp_path):
    assert output_names([tmp_path / 'a.jpg', tmp_path / 'a.mp4', tmp_path / 'b.png']) == ['a.jpg', 'a.mp4', 'b']
