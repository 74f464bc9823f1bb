"""The students' loss against NumPy in float64, and what they learn from: targets of another size, ears by the switch's answers."""
import json

import jax
import numpy as np
import PIL.Image
import pytest

from configs import sta, sta_plus
from stanet_jax import InputError
from stanet_jax.data.annotations import ANSWERS, LABELS, Annotations
from stanet_jax.data.fragments import Examples
from stanet_jax.stages.nets import example_batch, net_inputs
from stanet_jax.stages.students import HEARS_BY, check, make_student, map_loss, student_loss
from tests.data.test_fragments import Numbered
from tests.variables import drawn


def np_loss(logits, target, divergence=True):
    """Eq. 17 of one map, the target from 0 to 255."""
    x, y = np.asarray(logits, np.float64), target / 255
    s = 1 / (1 + np.exp(-x))
    entropy = -(y * np.log(s) + (1 - y) * np.log(1 - s)).mean()
    p, q = s / s.sum(), y / y.sum()
    return entropy + divergence * (q * np.log(np.where(q > 0, q, 1) / p)).sum()


def test_the_loss_of_a_map_is_equation_17_or_its_first_term():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(0, 2, (3, 2, 5, 6)).astype(np.float32), rng.integers(0, 256, (3, 2, 5, 6), np.uint8)
    for loss in ('bce_kl', 'bce'):
        expected = [[np_loss(logits[i, k], target[i, k], loss == 'bce_kl') for k in range(2)] for i in range(3)]
        np.testing.assert_allclose(jax.jit(map_loss, static_argnums=2)(logits, target, loss), expected, rtol=1e-4)


def test_the_loss_of_a_graph_is_the_sum_over_its_nodes():
    config, rng = sta_plus.get_config(), np.random.default_rng(1)
    config.width, config.data.side, config.batch_norm = 8, 24, 'running'
    model, batch = make_student(config, 'STA_short'), example_batch(config, 'STA_short', 1, 2)
    batch['frames'] = rng.integers(0, 256, batch['frames'].shape, np.uint8)
    batch['target'] = rng.integers(0, 256, (2, 3, 24, 24), np.uint8)
    batch['known'] = np.array([[True, True, True], [True, False, True]])
    variables = drawn(model.init, **net_inputs(batch, 'tiny'))
    logits, _ = jax.jit(model.apply)(variables, **net_inputs(batch, 'tiny'))
    expected = [sum(np_loss(logits[i, k], batch['target'][i, k]) for k in range(3) if batch['known'][i, k]) for i in range(2)]
    found, _ = jax.jit(lambda v: student_loss(v, batch, jax.random.key(0), model=model, jitter=(0.0,) * 4))(variables)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize('field', ['maps', 'switch'])
def test_a_folder_that_is_not_given_is_named(field):
    config = sta.get_config()
    check(config)
    config[field] = ''
    with pytest.raises(InputError, match=f"config.{field}='': .*make it by stanet "):
        check(config)


class Tiny(Numbered):
    """`Numbered`, with names."""
    side, split = 24, 'train'

    def __init__(self):
        self.clips = [{**clip, 'id': f'clip{i}'} for i, clip in enumerate(Numbered.clips)]


@pytest.fixture
def made(tmp_path):
    """Clips, and maps of another size and a switch whose net and labels say the opposite, as stages leave them."""
    clips = Tiny()
    for name, value in ((LABELS, 0), (ANSWERS, 1)):
        lines = [{'split': 'train', 'id': clip['id'], 'labels': [value] * clip['frames']} for clip in clips.clips]
        (tmp_path / name).write_text(''.join(json.dumps(line) + '\n' for line in lines))
    rows = []
    for i, clip in enumerate(clips.clips):
        for k in range(clip['frames']):
            path = tmp_path / 'maps' / 'train' / f'clip{i}' / 'maps' / f'eyeMap_{k + 1:05d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.uint8(np.add.outer(np.arange(36), np.arange(36)))).save(path)
            rows.append({'clip': clip['id'], 'empty': False})
    (tmp_path / 'maps' / 'train' / 'manifest.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return clips, tmp_path


def test_a_target_of_another_size_gets_that_of_the_frames(made):
    """STA+ sees smaller frames than the fine maps have in the paper; nodes of one example have targets of one size."""
    clips, folder = made
    example = Examples(clips, 3, 1, annotations=Annotations(clips, maps=folder / 'maps'), granularity='short').example(4)
    assert example['target'].shape == (3, 24, 24)
    np.testing.assert_allclose(example['target'][0], np.add.outer(np.arange(24), np.arange(24)) * 1.5, atol=2)


def test_an_ear_is_opened_by_the_answers_or_the_labels(made):
    clips, folder = made
    assert sta.get_config().hears_by == sta.get_config('paper').hears_by == 'net'
    for hears_by, phi in (('net', 1), ('label', 0)):
        assert Annotations(clips, folder, hears_by=HEARS_BY[hears_by])(2, 3)['phi'] == phi


def test_what_is_known_of_some_clips_is_their_own(tmp_path):
    """Others are left out, and two clips share an id."""
    clips = Tiny()
    clips.clips[1]['id'] = clips.clips[4]['id'] = 'twin'
    lines = [{'split': 'train', 'id': clip['id'], 'labels': [i] * clip['frames']} for i, clip in enumerate(clips.clips)]
    (tmp_path / LABELS).write_text(''.join(json.dumps(line) + '\n' for line in lines))
    some = clips.only([0, 4, 6])
    assert some.names == ['clip0', 'twin_4', 'clip6']
    assert [Annotations(some, tmp_path)(i, 2)['phi'] for i in range(3)] == [0, 4, 6]
    some.clips[2]['frames'] = 8
    with pytest.raises(InputError, match=f'{LABELS}: made from other train clips'):
        Annotations(some, tmp_path)
