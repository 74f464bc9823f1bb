"""Classical saliency of films and pictures: of each frame alone, at its own size."""
import numpy as np
import PIL.Image
import pytest

from stanet_jax.baselines import classical
from stanet_jax.inference.opening import open_predictor
from stanet_jax.inference.videos import predict_videos
from stanet_jax.media.video import read_frames
from tests.inference.test_videos import write


def test_a_film_has_the_maps_of_its_frames(tmp_path):
    method, video = open_predictor([], 'spectral_residual'), write(tmp_path / 'my.mp4', 3)
    times, maps = method.maps(video)
    frames = list(read_frames(video))
    assert len(times) == len(frames) == 3 and method.names == ('spectral_residual',) and method.side == 0 and not method.hears
    for map_, frame in zip(maps, frames, strict=True):
        np.testing.assert_allclose(map_, classical.spectral_residual(np.float32(frame) / 255), atol=1e-6)


def test_pictures_may_differ_in_size(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((30, 40), (50, 20))]
    found = [maps['spectral_residual'] for maps in open_predictor([], 'spectral_residual').predict_pictures(pictures)]
    assert [map_.shape for map_ in found] == [(30, 40), (50, 20)]
    np.testing.assert_allclose(found[1], classical.spectral_residual(np.float32(pictures[1]) / 255), atol=1e-6)


def test_maps_of_a_film_have_one_size_where_its_frames_do_not():
    rng = np.random.default_rng(2)
    frames = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((30, 40), (60, 80), (30, 40))]
    maps = open_predictor([], 'spectral_residual').maps(frames).maps
    assert maps.shape == (3, 30, 40)
    np.testing.assert_allclose(maps[2], classical.spectral_residual(np.float32(frames[2]) / 255), atol=1e-6)
    large = classical.spectral_residual(np.float32(frames[1]) / 255)
    assert np.corrcoef(maps[1].ravel(), np.float32(large).reshape(30, 2, 40, 2).mean((1, 3)).ravel())[0, 1] > 0.98


def test_small_frames_are_enlarged_for_gbvs_and_it_says_so_once(capsys):
    picture = np.random.default_rng(1).integers(0, 256, (64, 75, 3), np.uint8)
    found = [maps['gbvs'] for maps in open_predictor([], 'GBVS').predict_pictures([picture] * 2)]
    large = PIL.Image.fromarray(picture).resize((150, 128), PIL.Image.Resampling.BICUBIC)
    np.testing.assert_allclose(found[1], classical.gbvs(np.float32(large) / 255), atol=1e-5)
    assert capsys.readouterr().err == 'gbvs: frames of 75x64 pixels are enlarged to 150x128\n'


@pytest.mark.parametrize('kind', ['my.mp4', 'my.png'])
def test_files_are_predicted(tmp_path, kind):
    file = tmp_path / kind
    if kind == 'my.mp4':
        write(file, 3)
    else:
        PIL.Image.fromarray(np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)).save(file)
    predict_videos(open_predictor([], 'spectral_residual'), [file], tmp_path / 'out')
    maps = sorted((tmp_path / 'out' / 'my' / 'maps').iterdir())
    assert len(maps) == (3 if kind == 'my.mp4' else 1)
    with PIL.Image.open(maps[0]) as image:
        assert np.asarray(image).max() == 255 and image.size == ((64, 48) if kind == 'my.png' else next(read_frames(file)).shape[1::-1])
