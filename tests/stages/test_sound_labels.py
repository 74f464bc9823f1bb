"""Labels of the audio switch by a tagger whose classes have names, and by trained taggers where no name fits."""
import dataclasses
import pathlib

import numpy as np

from configs import audio_switch
from stanet_jax.data.clips import Clips
from stanet_jax.data.features import Features
from stanet_jax.models import backbones
from stanet_jax.stages import sound_labels
from stanet_jax.training import sharding

SOUNDS = backbones.sound_classes()
TAGS = ['dogs', 'guitar', 'zzyzx']  # the last is heard as nothing


class Named(Clips):
    """Three clips of three frames with the logits that a frozen YAMNet gave; the last is silent."""
    categories, split = TAGS, 'train'

    def __init__(self, best):
        self.clips = [{'tags': [k % 3], 'frames': 3, 'samples': 16000 * (k < 3), 'source': f'{k}', 'id': f'{k}'} for k in range(4)]
        self.features = Logits(pathlib.Path(), best=best)


@dataclasses.dataclass(frozen=True)
class Logits(Features):
    """The sounds that are the best classes of each clip's frames."""
    best: tuple[str, ...] = ()

    def of_clip(self, clip, name):
        assert name == 'logits'
        return np.float16([[float(sound == best) for sound in SOUNDS] for best in self.best])


def config():
    of = audio_switch.get_config('real')
    assert of.audio_encoder.name == 'yamnet' and of.audio_encoder.frozen
    return of


def test_a_frame_is_right_where_the_best_sound_is_one_of_the_tags(monkeypatch, tmp_path, capsys):
    clips = Named(('Bark', 'Guitar', 'Silence'))
    trained = {'train': [np.full(3, 7)] * 4}
    monkeypatch.setattr(sound_labels, 'labels_by_taggers', lambda *_: trained)
    found = sound_labels.make_labels(config(), tmp_path, {'train': clips}, sharding.make_mesh())['train']
    np.testing.assert_array_equal(found, [[1, 0, 0], [0, 1, 0], [7, 7, 7], [0, 0, 0]])
    assert 'yamnet has no class for zzyzx: taggers are trained for these' in capsys.readouterr().out


def test_no_tagger_is_trained_where_every_tag_has_a_sound(monkeypatch, tmp_path):
    clips = Named(('Bark', 'Guitar', 'Silence'))
    clips.categories = ['dogs', 'guitar', 'rain']
    monkeypatch.setattr(sound_labels, 'labels_by_taggers', None)
    found = sound_labels.make_labels(config(), tmp_path, {'train': clips}, sharding.make_mesh())['train']
    np.testing.assert_array_equal(found[2], [0, 0, 0])
