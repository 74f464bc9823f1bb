"""Which frames nets that hear learn from, and what their ear is told."""
import json
import os

import numpy as np
import pytest

from configs import scam_coarse
from stanet_jax import InputError
from stanet_jax.data.annotations import LABELS
from stanet_jax.stages.examples import OpenDraw, make_examples
from tests.stages.test_students import Tiny


@pytest.fixture
def labelled(tmp_path):
    """A config and clips, of which clip k has k open frames, the last ones."""
    clips, config = Tiny(), scam_coarse.get_config()
    lines = [{'split': 'train', 'id': clip['id'], 'labels': [0] * (clip['frames'] - k) + [1] * k} for k, clip in enumerate(clips.clips)]
    (tmp_path / LABELS).write_text(''.join(json.dumps(line) + '\n' for line in lines))
    config.switch = os.fspath(tmp_path)
    return config, clips


@pytest.mark.parametrize('net, phi', [('SA', 0), ('STA', 0), ('SA_long', 0), ('S', None)])
def test_every_classifier_that_hears_is_told_by_the_switch(net, phi, labelled):
    config, clips = labelled
    annotations = make_examples(config, net, clips, 1).annotations
    assert (annotations(2, 0).get('phi') if annotations else None) == phi


def test_open_frames_alone(labelled):
    config, clips = labelled
    every = make_examples(config, 'SA', clips, 0, open_only=True)
    drawn = [every.draw(k) for k in range(len(every))]
    assert drawn == [(clip, 9 - clip + k) for clip in range(7) for k in range(clip)]  # each once
    two = make_examples(config, 'SA', clips, 2, open_only=True)
    rng = np.random.default_rng(0)
    found = {k: {two.draw(k, rng) for _ in range(40)} for k in range(len(two))}
    assert len(two) == 2 * 6 and found[0] == found[1] == {(1, 8)} and found[10] == {(6, 3), (6, 4), (6, 5)}
    assert found[11] == {(6, 6), (6, 7), (6, 8)} and two.draw(11) == (6, 7)
    assert make_examples(config, 'S', clips, 2, open_only=True).draw is None
    with pytest.raises(InputError, match='config.open_only=True: no frame has a label that opens the ear'):
        OpenDraw([np.zeros(3), np.zeros(2)], 1)
