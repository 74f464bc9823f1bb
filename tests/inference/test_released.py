"""The authors' students from their files to maps and scores, on encoders without weights; and against one frame after the other."""
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

from stanet_jax import InputError, scam
from stanet_jax.data import synthave
from stanet_jax.eps.released import convert_files
from stanet_jax.evaluation.evaluate import evaluate
from stanet_jax.inference import released
from stanet_jax.inference.opening import open_predictor
from stanet_jax.inference.videos import predict_videos
from stanet_jax.media.moments import Moment, moments_of_frames
from stanet_jax.media.sound import log_spectrogram
from stanet_jax.stages import released as runs
from stanet_jax.weights import release
from tests.inference.test_videos import clicks, write
from tests.models.test_release import KINDS, file_tensors, small  # noqa: F401 - a fixture
from tests.weights import test_convert
from tests.weights.test_convert import fake_torch  # noqa: F401 - a fixture

STUDENTS = {'STANet.pth': 'sta bytecode', 'STAGCN.pth': 'stagcn source', 'STAGCN_long.pth': 'stagcn source', '27001.pt': 'switch v2'}
COUNT = 12
MADE = {}  # the run of these students and their predictor, which are made once


def write_files(folder, files):
    """Checkpoints of random weights, {name: kind}, as the releases write them."""
    folder.mkdir()
    for seed, (name, kind) in enumerate(files.items()):
        tensors = file_tensors(KINDS[kind], seed)
        test_convert.write(folder / name, {f'module.{key}': x for key, x in tensors.items()}, 'zip')
    return folder


@pytest.fixture
def run(small, fake_torch, tmp_path_factory):  # noqa: F811 - fixtures
    if 'run' not in MADE:
        folder = tmp_path_factory.mktemp('released')
        convert_files(write_files(folder / 'files', STUDENTS), folder / 'run')
        MADE['run'] = folder / 'run'
    return MADE['run']


@pytest.fixture
def predictor(run):
    """All three students of it, which compile once."""
    if 'predictor' not in MADE:
        MADE['predictor'] = open_predictor([run])
    return MADE['predictor']


def random_moments():
    rng = np.random.default_rng(0)
    return [Moment(0.3 * k, rng.integers(0, 256, (40, 60, 3), np.uint8), rng.normal(size=(257, 48)).astype(np.float32), float(k != 5),
                   end=0.3 * k + 0.3) for k in range(COUNT)]


def inputs_of(moments, k, nets):
    """What the release's loaders give its students for frame k, every frame prepared anew; the switch is asked at each."""
    def picture(n, side, method):
        image = PIL.Image.fromarray(moments[n].picture).resize((side, side), method)
        return image

    def normal(image):
        return ((np.float32(image) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)[None]

    def at(n):
        return min(max(n, 0), COUNT - 1)

    def opened(frame, n):
        switch = nets['switch']
        said = release.apply(switch.module, switch.variables, {'frame': frame, 'audio': moments[n].audio[None]})['switch']
        return np.asarray(said) * moments[n].phi

    bilinear, lanczos = PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.LANCZOS
    sta, gcn = {}, {}
    for position, n in enumerate((at(k + 1), k, at(k + 2))):  # the release's t, t - 1, t + 1, whose map is that of t - 1
        frame = normal(picture(n, 356, bilinear))
        sta |= {f'frame{position}': frame, f'audio{position}': moments[n].audio[None], f'switch{position}': opened(frame, n)}
    for i, centre in enumerate((at(k - 3), k, at(k + 3))):
        gcn |= {f'frame{i}_{j}': normal(picture(at(centre + j - 1), 256, lanczos)) for j in range(3)}
        large = picture(centre, 256, lanczos).resize((356, 356), lanczos).resize((256, 256), bilinear)
        gcn |= {f'audio{i}': moments[centre].audio[None], f'switch{i}': opened(normal(large), centre)}
    return sta, gcn


def test_as_one_frame_after_the_other(run, predictor):
    moments, nets = random_moments(), runs.read(run, ['STA', 'STA_short', 'switch'])
    assert predictor.names == ('STA', 'STA_short', 'STA_long', 'max', 'product', 'final')
    (block, maps), = predictor.predict_blocks(iter(moments), 3.0)
    assert [(m.time, m.end, m.phi) for m in block] == [(m.time, m.end, m.phi) for m in moments]
    for k in (0, 5, COUNT - 1):
        for name, inputs in zip(('STA', 'STA_short'), inputs_of(moments, k, nets), strict=True):
            made = np.float64(release.apply(nets[name].module, nets[name].variables, inputs)['map'][0])
            levels = np.rint(made / (made.max() + 1e-8) * 255)
            got = np.rint(np.asarray(maps[name][k]) * 255)
            assert got.shape == (356, 356) and np.ptp(got) > 5
            if name == 'STA':
                assert np.abs(got - levels).max() <= 1.01 and np.mean(got != levels) < 0.02
            else:
                large = PIL.Image.fromarray(np.float32(levels)).resize((356, 356), PIL.Image.Resampling.BILINEAR)
                assert np.abs(got - np.float64(large)).max() <= 2.1
    three = [np.asarray(maps[name]) for name in predictor.names[:3]]
    np.testing.assert_array_equal(maps['max'], np.max(three, axis=0))
    np.testing.assert_allclose(maps['final'], scam.fuse_predictions(*three), atol=1e-6)
    assert np.abs(three[1] - three[2]).max() > 0.01  # other fragments


def test_maps_as_they_are_saved():
    made = np.random.default_rng(0).random((2, 356, 356)).astype(np.float32)**3
    blurred = [scipy.ndimage.gaussian_filter(np.floor(np.float64(of) * 255) / 255, 7) for of in made]
    want = [np.floor(of / of.max() * 255) for of in blurred]
    assert np.abs(np.asarray(released.saved_map(made, 'cvpr_sta')) * 255 - want).max() <= 1.01
    want = np.rint(made / (made.max(axis=(1, 2), keepdims=True) + 1e-8) * 255)
    assert np.abs(np.asarray(released.saved_map(made, 'sta')) * 255 - want).max() < 1e-3
    large = np.asarray(released.saved_map(np.float32([[[0, 1], [0, 1]]]), 'stagcn')) * 255
    np.testing.assert_allclose(large[0, 5], np.rint(255 * np.clip((np.arange(356) + 0.5) / 178 - 0.5, 0, 1)), atol=1e-3)


def test_the_first_release(tmp_path, fake_torch, small):  # noqa: F811 - fixtures
    files = write_files(tmp_path / 'files', {'model.pt': 'cvpr_sta modelsAVQ', 'audiomodel.pt': 'cvpr_switch v1'})
    convert_files(files, tmp_path / 'run')
    predictor, moments = open_predictor([tmp_path / 'run' / 'STA']), random_moments()
    assert predictor.names == ('STA',)
    (_, maps), = predictor.predict_blocks(iter(moments), 3.0)
    nets = runs.read(tmp_path / 'run', ['STA', 'switch'])

    def normal(n):
        image = PIL.Image.fromarray(moments[n].picture).resize((356, 356), PIL.Image.Resampling.LANCZOS)
        return ((np.float32(image) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)[None]

    audio = moments[4].audio[None]
    said = release.apply(nets['switch'].module, nets['switch'].variables, {'audio': audio})['probabilities']
    inputs = {**{f'frame{j}': normal(3 + j) for j in range(3)}, 'audio': audio, 'switch': said}
    made = release.apply(nets['STA'].module, nets['STA'].variables, inputs)['map']
    assert np.abs(np.asarray(maps['STA'][4]) - np.asarray(released.saved_map(made, 'cvpr_sta')[0])).max() < 1.1 / 255


def test_from_files_to_scores(run, predictor, tmp_path):
    """`predict` on a video and `evaluate` on SynthAVE's fixation set."""
    write(tmp_path / 'my.mp4', frames=5, wave=clicks(0.3))
    predict_videos(predictor, [tmp_path / 'my.mp4'], tmp_path / 'maps')
    assert len(list((tmp_path / 'maps' / 'my' / 'maps').glob('eyeMap_*.png'))) == 5
    synthave.generate(tmp_path / 'set', synthave.Settings(train=1, validation=0, test=1, seconds=1.5, side=48, observers=6), workers=1)
    rows = evaluate(tmp_path / 'set', '', 'stavis', tmp_path / 'scores.json', checkpoint=run / 'STA').rows
    assert {'own', 'muted'} < set(rows) and np.isfinite(list(rows['own'].scores.values())).all()
    rows = evaluate(tmp_path / 'set', '', 'stavis', tmp_path / 'three.json', checkpoint=run).rows
    assert {'STA_long', 'final', 'final, muted sound'} < set(rows) and np.isfinite(rows['final'].scores['cc'])


def test_a_scored_film_lends_fragments_of_all_of_it(predictor, monkeypatch):
    moments = random_moments()
    bank = predictor.whole_film_bank(lambda k: moments[k].picture, COUNT, None, 3.0)
    chosen = (2 * np.arange(10) + 1) * COUNT // 20
    np.testing.assert_array_equal(bank.times, chosen / released.CLOCK)
    silent = [moment._replace(audio=np.zeros_like(moment.audio), phi=0.0) for moment in moments]
    blocks = []
    blend = predictor._blend
    monkeypatch.setattr(predictor, '_blend', lambda *of: blocks.append(blend(*of)) or blocks[-1])
    list(predictor.predict_blocks(iter(silent), 3.0, bank))
    for k, nodes in zip(chosen, bank.nodes['STA_long'], strict=True):
        np.testing.assert_allclose(nodes, blocks[0]['STA_long'][k], atol=1e-4)


def test_pictures_of_any_size(predictor):
    rng = np.random.default_rng(0)
    found = list(predictor.predict_pictures(rng.integers(0, 256, (h, 30, 3), np.uint8) for h in (20, 50)))
    assert len(found) == 2 and found[0]['final'].shape == (356, 356)


def test_sound_slides_from_the_first_half_second_to_the_last():
    wave = np.linspace(-1, 1, 16000).astype(np.float32)
    frames = list(moments_of_frames(np.zeros((5, 8, 8, 3), np.uint8), wave, 5.0, 0, 'release'))
    assert frames[0].audio.shape == (257, 48) and frames[0].picture.shape == (8, 8, 3)
    for k in range(5):
        np.testing.assert_array_equal(frames[k].audio, log_spectrogram(wave[2000 * k:2000 * k + 8000]))


def test_what_is_refused(run, tmp_path):
    with pytest.raises(InputError, match='--side: not with released students'):
        open_predictor([run], side=64)
    with pytest.raises(InputError, match='a second STA; name one of them'):
        open_predictor([run, run / 'STA'])
    with pytest.raises(InputError, match='no net of .*run, which has STA, STA_long, STA_short, switch'):
        open_predictor([run / 'ST'])
    with pytest.raises(InputError, match='no student among its nets'):
        open_predictor([run / 'switch'])
    with pytest.raises(InputError, match='default: not a run of released nets'.replace('default', '--checkpoint=default')):
        open_predictor([run, 'default'])
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'config.json').write_text('{"task": "student"}')
    with pytest.raises(InputError, match='other: is there, and is no run of released nets'):
        convert_files(run.parent / 'files', tmp_path / 'other')
    with pytest.raises(InputError, match='holds no .pth'):
        convert_files(run, tmp_path / 'new')
