"""EPS's released checkpoints as runs of EPS, on an encoder without weights: pseudo-masks of any set of their classes, and scores."""
import json

import numpy as np
import PIL.Image
import pytest

from configs import eps
from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.eps import masks
from stanet_jax.eps.released import convert_files
from stanet_jax.eps.scores import evaluate_masks
from stanet_jax.models.backbones import MEAN, STD
from stanet_jax.training import checkpoint
from stanet_jax.weights import release
from stanet_jax.workdir import read_config
from tests.models.test_release import small  # noqa: F401 - a fixture
from tests.weights import test_convert
from tests.weights.test_convert import fake_torch  # noqa: F401 - a fixture


@pytest.fixture
def pictures(tmp_path):
    """A set in VOC's layout with two images of its 20 classes."""
    root, lines, rng = tmp_path / 'voc', [], np.random.default_rng(0)
    for folder in ('JPEGImages', 'SegmentationClassAug'):
        (root / folder).mkdir(parents=True)
    for name in ('a', 'b'):
        PIL.Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(root / 'JPEGImages' / f'{name}.jpg')
        labels = np.zeros((48, 64), np.uint8)
        labels[10:30, 10:40] = 7 if name == 'a' else 20
        voc.label_image(labels).save(root / 'SegmentationClassAug' / f'{name}.png')
        lines.append(f'JPEGImages/{name}.jpg SegmentationClassAug/{name}.png\n')
    (root / 'train_aug.txt').write_text(''.join(lines))
    (root / 'val.txt').write_text(lines[0])
    return root


@pytest.mark.parametrize('maps, net', [(21, 'eps'), (20, 'eps_cls')])
def test_a_checkpoint_makes_masks_and_is_scored(tmp_path, pictures, fake_torch, small, maps, net):  # noqa: F811 - fixtures
    kernel = np.random.default_rng(maps).normal(size=(maps, 8, 1, 1)).astype(np.float32)
    test_convert.write(tmp_path / 'checkpoint_cls.pth', {'fc8.weight': kernel}, 'zip')
    convert_files(tmp_path / 'checkpoint_cls.pth', tmp_path / 'run')
    own = read_config(tmp_path / 'run')
    assert own.task == 'eps' and own.selection == ('adaptive' if net == 'eps' else 'none')
    config = eps.get_config('voc12')
    config.data.root, config.data.workers, config.masks.canvas, config.masks.scales, config.masks.batch = str(pictures), 0, 64, (1.0,), 1
    masks.run(config, tmp_path / 'run')
    masks.run(config, tmp_path / 'run')  # goes on
    evaluate_masks(pictures, '', tmp_path / 'scores.json', checkpoint=tmp_path / 'run')
    assert json.loads((tmp_path / 'scores.json').read_text())['images'] == 1
    with PIL.Image.open(tmp_path / 'run' / 'masks' / 'train_aug' / 'a.png') as image:
        labels = np.array(image)
    assert set(np.unique(labels)) <= {0, 7} and 7 in labels
    _, _, module, variables = release.load(tmp_path / 'checkpoint_cls.pth')
    with PIL.Image.open(pictures / 'JPEGImages' / 'a.jpg') as image:
        frame = np.zeros((1, 64, 64, 3), np.float32) + np.round(255 * MEAN)
        frame[:, :48] = np.asarray(image)
    cam = np.asarray(release.apply(module, variables, {'frame': ((frame / 255 - MEAN) / STD).astype(np.float32)})['cam'])[0]
    activated = np.exp(cam) / np.exp(cam).sum(axis=-1, keepdims=True) if net == 'eps' else np.maximum(cam, 0)
    score = activated[:6, :, 6]  # of class 7, at an eighth of the image
    near = labels[4::8, 4::8] > 0  # at the middles of these places; between them maps are interpolated
    assert np.corrcoef(score.ravel(), near.ravel())[0, 1] > 0.3


def test_what_does_not_go_together_is_refused(tmp_path, pictures, fake_torch, small):  # noqa: F811 - fixtures
    test_convert.write(tmp_path / 'a.pth', {'fc8.weight': np.zeros((81, 8, 1, 1), np.float32)}, 'zip')
    convert_files(tmp_path / 'a.pth', tmp_path / 'run')
    assert checkpoint.load_variables(tmp_path / 'run' / 'EPS' / 'variables')['params']['classifier']['kernel'].shape == (1, 1, 8, 81)
    config = eps.get_config('voc12')
    config.data.root = str(pictures)
    with pytest.raises(InputError, match='a net of 80 classes, and the set has 20'):
        masks.run(config, tmp_path / 'run')
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'config.json').write_text('{"task": "eps"}')
    with pytest.raises(InputError, match='other: is there, and is no run of a released EPS'):
        convert_files(tmp_path / 'a.pth', tmp_path / 'other')


