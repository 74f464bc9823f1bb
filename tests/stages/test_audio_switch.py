"""Labels of the audio switch by the classes of VGGSound's net."""
import json
import re

import jax
import numpy as np
import pytest

from configs import audio_switch as switch_config
from stanet_jax import InputError
from stanet_jax.data import synthave
from stanet_jax.media.sound import log_spectrogram
from stanet_jax.models import backbones
from stanet_jax.stages import sound_labels
from stanet_jax.stages.examples import open_clips
from stanet_jax.training import checkpoint, sharding
from stanet_jax.weights import convert

AVE = ('Accordion', 'Acoustic guitar', 'Baby cry, infant cry', 'Banjo', 'Bark', 'Bus', 'Cat', 'Chainsaw', 'Church bell', 'Clock',
       'Female speech, woman speaking', 'Fixed-wing aircraft, airplane', 'Flute', 'Frying (food)', 'Goat', 'Helicopter', 'Horse',
       'Male speech, man speaking', 'Mandolin', 'Motorcycle', 'Race car, auto racing', 'Rodents, rats, mice', 'Shofar', 'Toilet flush',
       'Train horn', 'Truck', 'Ukulele', 'Violin, fiddle')
SPEECH, BELL = 120, 51  # male speech, man speaking; church bell ringing


def test_every_category_of_ave_has_its_classes():
    table = sound_labels.vggsound_table(AVE)
    assert table.shape == (28, 309) and table.any(axis=1).all()
    assert np.flatnonzero(table[AVE.index('Male speech, man speaking')]) == [SPEECH]
    assert np.flatnonzero(table[AVE.index('Church bell')]) == [BELL]
    assert table[AVE.index('Cat')].sum() == 5 and table[AVE.index('Violin, fiddle')].sum() == 1
    with pytest.raises(InputError, match='VGGSound has no class that is known to be "Unicorn"'):
        sound_labels.vggsound_table(['Cat', 'Unicorn'])


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """SynthAVE with categories named as two of AVE's."""
    root = tmp_path_factory.mktemp('world') / 'ave'
    synthave.generate(root, synthave.Settings(categories=2, seconds=1.0, side=48, train=6, validation=2, test=2), workers=1)
    names = sorted({line.split('&')[0] for line in (root / 'AVE_Dataset' / 'trainSet.txt').read_text().splitlines()})
    for path in (root / 'AVE_Dataset').glob('*.txt'):
        text = path.read_text()
        for name, of in zip(names, ('Church bell', 'Male speech, man speaking'), strict=True):
            text = re.sub(f'^{re.escape(name)}&', f'{of}&', text, flags=re.MULTILINE)
        path.write_text(text)
    return root / 'AVE_Dataset'


def test_labels_by_vggsound(world, tmp_path):
    rng, shapes = np.random.default_rng(0), convert.expected('vggsound').shapes
    weights = jax.tree.map(lambda x: rng.normal(0, np.sqrt(2 / max(np.prod(x.shape[:-1]), 1)), x.shape).astype(np.float32), shapes)
    weights['batch_stats'] = jax.tree.map(lambda x: np.abs(x) + 1, weights['batch_stats'])
    net, bias = backbones.create('vggsound'), np.full(309, -500, np.float32)
    weights['params']['fc_'] = {'kernel': rng.normal(size=(8192, 309)).astype(np.float32) * 10, 'bias': 0 * bias}
    config = switch_config.get_config('paper')
    config.data.update({'root': str(world), 'train_on': 'train', 'side': 48, 'rate': 4.0, 'workers': 0})
    config.audio_encoder.weights, config.encoder.weights, config.batch = str(tmp_path / 'weights'), '', 8
    splits = open_clips(config)
    clips = splits['train']
    apply = jax.jit(net.apply)
    sounds = np.stack([log_spectrogram(clips.sound(i, k / 4)) for i in range(len(clips)) for k in range(clips.clips[i]['frames'])])
    logits = np.asarray(apply(weights, sounds)['logits'])
    bias[[SPEECH, BELL]] = 0, np.median(logits[:, SPEECH] - logits[:, BELL])  # so that each is the best class half of the time
    weights['params']['fc_']['bias'] = bias
    checkpoint.save_variables(tmp_path / 'weights', weights)
    best = np.asarray(apply(weights, sounds)['logits']).argmax(axis=1)
    expected = best == np.repeat([{'Church bell': BELL}.get(clips.categories[clip['tags'][0]], SPEECH) for clip in clips.clips],
                                 [clip['frames'] for clip in clips.clips])

    sound_labels.label_frames(config, tmp_path, splits, sharding.make_mesh())
    lines = [json.loads(line) for line in (tmp_path / 'labels.jsonl').read_text().splitlines()]
    assert {line['split'] for line in lines} == {'train', 'validation', 'test'} and set(best) == {SPEECH, BELL}
    found = np.concatenate([line['labels'] for line in lines if line['split'] == 'train'])
    np.testing.assert_array_equal(found, expected)
    assert not list(tmp_path.glob('tagger*'))  # nothing was trained
