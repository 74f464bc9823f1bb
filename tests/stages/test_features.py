"""Frozen encoders: their features are computed once, and nets on them are the nets on frames and sounds."""
import functools
import shutil

import jax
import numpy as np
import pytest

from configs import scam_coarse, sta
from stanet_jax import contrast, scam
from stanet_jax.data import synthave
from stanet_jax.models import backbones
from stanet_jax.stages import features
from stanet_jax.stages.examples import make_examples, open_clips, shown_batch
from stanet_jax.stages.nets import example_batch, initial_variables, load_net, make_classifier, net_inputs, predict_tags
from stanet_jax.stages.students import make_student
from stanet_jax.training import checkpoint
from stanet_jax.workdir import replace_text
from tests.variables import drawn

SIDE = 48


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A small SynthAVE, and the weights of two encoders."""
    root = tmp_path_factory.mktemp('features')
    synthave.generate(root / 'world', synthave.Settings(categories=2, train=3, validation=2, test=0, seconds=1.0, side=SIDE), workers=1)
    for name, shape in (('tiny', (1, SIDE, SIDE, 3)), ('tiny_audio', (1, 257, 98))):
        checkpoint.save_variables(root / name, drawn(backbones.create(name).init, np.zeros(shape, np.float32)))
    return root


def frozen(world, recipe=scam_coarse):
    config = recipe.get_config()
    config.data.update({'root': str(world / 'world'), 'side': SIDE, 'rate': 4.0})
    for part, name in (('encoder', 'tiny'), ('audio_encoder', 'tiny_audio')):
        config[part] = {'name': name, 'weights': str(world / name), 'frozen': True}
    config.width, config.start_from, config.batch_norm, config.switch = 8, {}, 'running', ''
    return config


@pytest.mark.parametrize('net', ['S', 'SA', 'ST'])
def test_nets_on_features_are_the_nets_on_frames(world, tmp_path, net):
    config = frozen(world)
    clips = open_clips(config)['train']
    model = make_classifier(config, net, 2)
    variables = initial_variables(config, net, model, example_batch(config, net, 2, 1), tmp_path)
    assert not {'encoder', 'audio_encoder'} & set(variables['params'])
    checkpoint.save_variables(tmp_path / net / 'variables', variables)
    of_features = shown_batch(make_examples(config, net, clips, 1), [0, 1, 2])
    of_frames = shown_batch(make_examples(config, net, clips.with_features(None), 1), [0, 1, 2])
    assert 'C5' in of_features and 'frames' not in of_features and 'frames' in of_frames
    predict = jax.jit(functools.partial(predict_tags, model=model))
    found, expected = predict(variables, of_features), predict(load_net(config, tmp_path / net), of_frames)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=2e-2, atol=2e-3)  # kept as float16


def test_what_is_there_is_not_computed_again(world, monkeypatch):
    config = frozen(world)
    clips = open_clips(config)['train']
    file = clips.features.path(clips.clips[1])
    kept = clips.features.of_clip(clips.clips[0], 'C5')
    file.unlink()
    chosen = []
    encode = features.encode_clips
    monkeypatch.setattr(features, 'encode_clips', lambda *args: chosen.extend(args[-1]) or encode(*args))
    again = open_clips(config)['train']
    assert chosen == [1] and file.exists()
    np.testing.assert_array_equal(again.features.of_clip(clips.clips[0], 'C5'), kept)
    open_clips(config)
    assert chosen == [1]


def test_the_contrast_of_each_frame_is_kept(world):
    config = frozen(world)
    clips = open_clips(config)['train']
    encoder = checkpoint.load_variables(world / 'tiny')
    for k in (0, 3):
        x = backbones.normalise('tiny', clips.frame(2, k)[None])
        seen = jax.jit(backbones.create('tiny').apply)(encoder, x)
        expected = contrast.contrast([seen[level] for level in ('C3', 'C4', 'C5')], SIDE // 4)
        np.testing.assert_allclose(clips.features.of_clip(clips.clips[2], 'contrast')[k], expected[0], atol=5e-3)


def test_crops_have_the_neighbours_cut_to_the_same_box(world, tmp_path):
    config = frozen(world)
    clips = open_clips(config)['train']
    boxes, lines = tmp_path / 'coarse', []
    for name, clip in zip(clips.names, clips.clips, strict=True):
        lines += [f'{{"clip": "{name}", "box": [0.25, 0.0, 0.75, 0.5]}}\n' for _ in range(clip['frames'])]
    (boxes / 'train').mkdir(parents=True)
    replace_text(boxes / 'train' / 'manifest.jsonl', ''.join(lines))
    config.boxes = str(boxes)
    cut = open_clips(config)
    assert set(cut) == {'train'}  # the boxes of other splits are not there
    found = cut['train'].features.seen(clips.clips[0], 1, 3)['C5']
    crop = jax.jit(functools.partial(scam.crop, shape=(SIDE, SIDE)))
    pictures = np.stack([crop(np.float32(clips.frame(0, k)), np.float32([12, 0, 36, 24])) for k in (0, 1, 2)])
    encoder = checkpoint.load_variables(world / 'tiny')
    expected = jax.jit(backbones.create('tiny').apply)(encoder, backbones.normalise('tiny', pictures))
    np.testing.assert_allclose(found, expected['C5'], rtol=2e-2, atol=5e-3)
    np.testing.assert_array_equal(cut['train'].whole.of_clip(clips.clips[0], 'C5'), clips.features.of_clip(clips.clips[0], 'C5'))


def test_a_student_on_features(world, tmp_path):
    config = frozen(world, sta)
    model = make_student(config)
    batch = example_batch(config, 'STA', 1, 2)
    inputs = net_inputs(batch, config.encoder.name)
    variables = drawn(functools.partial(model.init, size=(SIDE, SIDE)), **inputs)
    logits, _ = jax.jit(functools.partial(model.apply, size=(SIDE, SIDE)))(variables, **inputs)
    assert logits.shape == (2, SIDE, SIDE) and 'encoder' not in variables['params']
    with pytest.raises(ValueError, match='needs a size'):
        model.apply(variables, **inputs)


def test_features_go_with_the_records_and_the_weights(world, tmp_path):
    """With what is in the weights, not with where they lie."""
    config, other = frozen(world), frozen(world)
    other.encoder.weights = str(tmp_path / 'tiny')
    shutil.copytree(world / 'tiny', tmp_path / 'tiny')
    folders = [open_clips(of)['train'].features.folder for of in (config, other)]
    assert folders[0] == folders[1]
    shutil.rmtree(tmp_path / 'tiny')
    checkpoint.save_variables(tmp_path / 'tiny', jax.tree.map(lambda x: 2 * x, checkpoint.load_variables(world / 'tiny')))
    assert open_clips(other)['train'].features.folder != folders[0]
    config.data.prepared = str(tmp_path / 'elsewhere')
    assert open_clips(config)['train'].features.folder.is_relative_to(tmp_path / 'elsewhere')
