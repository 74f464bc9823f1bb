"""pysaliency's files and models: its three kinds of fixations, its two of stimuli; the same numbers on both sides where it is installed."""
import functools
import json

import h5py
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

from stanet_jax import InputError
from stanet_jax.evaluation import evaluate, protocols, pysaliency_door, scoring
from stanet_jax.inference.opening import open_predictor

SHAPES = [(30, 40), (36, 48), (30, 40)]
MIT = protocols.PROTOCOLS['mit']
RNG = np.random.default_rng(0)
IMAGES = [np.uint8(RNG.integers(0, 256, (*shape, 3))) for shape in SHAPES]
IMAGES[2] = IMAGES[2][..., 0]  # grey
PATHS = [(k, RNG.uniform(0, 1, (length, 2)) * SHAPES[k]) for k in range(3) for length in (4, 7, 2)]  # (image, fixations (y, x))


def write_fixations(path, kind):
    """As `to_hdf5` of that class lays it out; paths are filled up to the longest."""
    padded = np.full((2, len(PATHS), 7), np.nan)
    for row, (_, points) in enumerate(PATHS):
        padded[:, row, :len(points)] = points.T[::-1]
    with h5py.File(path, 'w') as file:
        file.attrs['type'], file.attrs['version'] = np.bytes_(kind), np.bytes_('1.0')
        if kind == 'Fixations':
            every = np.concatenate([points for _, points in PATHS])
            file['x'], file['y'], file['n'] = every[:, 1], every[:, 0], np.repeat([k for k, _ in PATHS], [len(p) for _, p in PATHS])
        elif kind == 'FixationTrains':
            file['train_xs'], file['train_ys'], file['train_ns'] = *padded, [k for k, _ in PATHS]
        else:
            group = file.create_group('scanpaths')
            group['xs'], group['ys'], group['n'] = *np.nan_to_num(padded, nan=5.0), [k for k, _ in PATHS]
            group['lengths'] = [len(points) for _, points in PATHS]


def write_stimuli(folder, kind):
    with h5py.File(folder / 'stimuli.hdf5', 'w') as file:
        file.attrs['type'], file.attrs['version'], file.attrs['size'] = np.bytes_(kind), np.bytes_('2.0'), 3
        if kind == 'Stimuli':
            for k, image in enumerate(IMAGES):
                file[str(k)] = image
            return
        (folder / 'stimuli').mkdir()
        for k, image in enumerate(IMAGES):
            PIL.Image.fromarray(image).save(folder / 'stimuli' / f'i{k}.png')
        names = np.array([f'stimuli/i{k}.png'.encode() for k in range(3)])
        file.create_dataset('filenames', data=names, dtype=h5py.special_dtype(vlen=str))
        shapes = file.create_dataset('shapes', (3,), dtype=h5py.special_dtype(vlen=np.dtype('int64')))
        for k, image in enumerate(IMAGES):
            shapes[k] = np.array(image.shape)


@pytest.mark.parametrize('fixations, stimuli', [('Fixations', 'Stimuli'), ('FixationTrains', 'FileStimuli'),
                                                ('ScanpathFixations', 'Stimuli')])
def test_sets_are_read(tmp_path, fixations, stimuli):
    write_fixations(tmp_path / 'fixations.hdf5', fixations)
    write_stimuli(tmp_path, stimuli)
    name, videos, missing = pysaliency_door.open_set(tmp_path)
    assert pysaliency_door.is_set(tmp_path) and name == tmp_path.name and not missing
    assert [video.name for video in videos] == (['i0', 'i1', 'i2'] if stimuli == 'FileStimuli' else ['00000', '00001', '00002'])
    for k, video in enumerate(videos):
        counts = np.zeros(SHAPES[k], int)
        for y, x in np.concatenate([points for image, points in PATHS if image == k]):
            counts[int(y), int(x)] += 1
        np.testing.assert_array_equal(video.counts(0), counts)
        np.testing.assert_array_equal(video.fixations(0), counts > 0)
        blurred = scipy.ndimage.gaussian_filter(np.float64(counts), 0.05 * SHAPES[k][0], mode='constant')
        np.testing.assert_allclose(video.density(0), blurred)
        image = IMAGES[k] if IMAGES[k].ndim == 3 else np.repeat(IMAGES[k][..., None], 3, 2)
        np.testing.assert_array_equal(video.frame(0), image)
        assert video.wave() is None and video.observers(0) is None and video.frames == 1


def test_fixations_outside_are_left_out_and_counted(tmp_path):
    write_fixations(tmp_path / 'fixations.hdf5', 'Fixations')
    write_stimuli(tmp_path, 'Stimuli')
    with h5py.File(tmp_path / 'fixations.hdf5', 'a') as file:
        file['x'][0], file['y'][5] = 40.0, -0.5
    _, videos, missing = pysaliency_door.open_set(tmp_path)
    assert missing == ['2 of 39 fixations, which lie outside of their images'] and sum(v.counts(0).sum() for v in videos) == 37


def test_what_is_none_of_its_files_is_told(tmp_path):
    write_fixations(tmp_path / 'fixations.hdf5', 'Fixations')
    write_stimuli(tmp_path, 'Stimuli')
    (tmp_path / 'text').write_text('text')
    h5py.File(tmp_path / 'empty', 'w').close()
    for read, path, text in ((pysaliency_door.read_fixations, 'text', "no file of pysaliency's"),
                             (pysaliency_door.read_fixations, 'empty', "no file of pysaliency's"),
                             (pysaliency_door.read_fixations, 'stimuli.hdf5', 'holds Stimuli; must be Fixations or FixationTrains or'),
                             (pysaliency_door.read_stimuli, 'fixations.hdf5', 'holds Fixations; must be Stimuli or FileStimuli')):
        with pytest.raises(InputError, match=f'{path}: {text}'):
            read(tmp_path / path)
    with h5py.File(tmp_path / 'fixations.hdf5', 'a') as file:
        file['n'][0] = 3
    with pytest.raises(InputError, match='has fixations on image 3, .* has 3; take both of one set'):
        pysaliency_door.open_set(tmp_path)


def test_a_set_is_evaluated_by_its_folder(tmp_path):
    write_fixations(tmp_path / 'fixations.hdf5', 'Fixations')
    write_stimuli(tmp_path, 'Stimuli')
    evaluate.evaluate(tmp_path, '', 'mit', tmp_path / 'out.json', method='centre')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found['set'] == tmp_path.name and found['rows']['centre']['frames'] == 3
    np.testing.assert_allclose(list(found['rows']['centre']['scores'].values()), list(found['rows']['centre_prior']['scores'].values()),
                               rtol=1e-4)


def test_our_maps_there_are_those_that_are_scored_here(tmp_path):
    """And a model of pysaliency's here: one that gives our maps has our scores."""
    write_fixations(tmp_path / 'fixations.hdf5', 'Fixations')
    write_stimuli(tmp_path, 'Stimuli')
    videos, method = pysaliency_door.open_set(tmp_path).videos, open_predictor([], 'spectral_residual')

    class Model:
        saliency_map = staticmethod(functools.partial(pysaliency_door.saliency_map, method))
    maps = [Model.saliency_map(image) for image in IMAGES]
    assert [m.shape for m in maps] == SHAPES
    own = scoring.score(lambda video: (m['spectral_residual'] for m in method.predict_pictures([video.frame(0)])), videos, MIT)
    theirs = scoring.score_all(pysaliency_door.model_maps(Model, 'model'), videos, MIT, 'model')['model']
    np.testing.assert_allclose(list(own.scores.values()), list(theirs.scores.values()), rtol=1e-5)


def test_without_pysaliency_its_class_is_not_there():
    try:
        import pysaliency  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match='pysaliency: cannot be imported .*; pip install pysaliency'):
            pysaliency_door.saliency_map_model(open_predictor([], 'centre'))
    else:
        pytest.skip('pysaliency is installed')


@pytest.mark.filterwarnings('ignore')  # its own
def test_the_same_numbers_on_both_sides(tmp_path):
    pysaliency = pytest.importorskip('pysaliency', reason='the extra pysaliency is not installed')
    stimuli = pysaliency.Stimuli(IMAGES)
    every = np.concatenate([points for _, points in PATHS])
    n = np.repeat([k for k, _ in PATHS], [len(points) for _, points in PATHS])
    gaze = pysaliency.Fixations.create_without_history(every[:, 1], every[:, 0], n)
    stimuli.to_hdf5(str(tmp_path / 'stimuli.hdf5'))
    gaze.to_hdf5(str(tmp_path / 'fixations.hdf5'))
    model = pysaliency_door.saliency_map_model(open_predictor([], 'spectral_residual'))
    ours = scoring.score_all(pysaliency_door.model_maps(model, 'model'), pysaliency_door.open_set(tmp_path).videos, MIT, 'model')['model']
    np.testing.assert_allclose(ours.scores['nss'], model.NSS(stimuli, gaze, average='image'), rtol=1e-4)
    np.testing.assert_allclose(ours.scores['auc_judd'], model.AUC(stimuli, gaze, average='image'), rtol=1e-4)
