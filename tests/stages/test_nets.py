"""Initial variables: what is not replaced is drawn as without, and nothing is left undrawn."""
import jax
import numpy as np
import pytest

from configs import scam_coarse
from stanet_jax import compilation
from stanet_jax.stages import nets
from stanet_jax.stages.nets import example_batch, initial_variables, make_classifier
from stanet_jax.training import checkpoint


def drawn(tmp_path, **start_from):
    config = scam_coarse.get_config()
    config.width, config.data.side, config.start_from = 4, 32, {'SA': {}}
    if start_from:
        config.start_from = {'SA': start_from.get('whole', start_from)}
    return initial_variables(config, 'SA', make_classifier(config, 'SA', 3), example_batch(config, 'SA', 3, 1), tmp_path)


@pytest.mark.parametrize('start_from', [{'whole': 'other'}, {'encoder': 'other'}, {'encoder': 'other', 'audio_encoder': ''}])
def test_what_is_not_replaced_is_drawn_as_without(tmp_path, monkeypatch, start_from):
    monkeypatch.setattr(nets, 'optimise', lambda level: {compilation.LEVEL: level})  # which tests leave to $XLA_FLAGS
    plain = drawn(tmp_path)
    other = jax.tree.map(lambda x: np.asarray(x) + 1, plain)
    checkpoint.save_variables(tmp_path / 'other' / 'variables', other)
    found = drawn(tmp_path, **{part: folder and str(tmp_path / folder) for part, folder in start_from.items()})
    assert jax.tree.structure(found) == jax.tree.structure(plain) and {*plain['batch_stats']} >= {'encoder', 'audio_encoder'}
    for collection, tree in found.items():
        for part, variables in tree.items():
            wanted = other if start_from.get(part, start_from.get('whole')) else plain
            jax.tree.map(np.testing.assert_array_equal, variables, wanted[collection][part])
