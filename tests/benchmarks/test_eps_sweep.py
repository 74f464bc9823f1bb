"""The sweep over what the saliency misses: its worlds, what is counted in them, and the command."""
import argparse
import json

import numpy as np
import pytest

from benchmarks import eps_sweep
from stanet_jax import InputError
from stanet_jax.data import synthave, synthvoc
from stanet_jax.eps.images import open_images
from stanet_jax.eps.metrics import mean_iou
from stanet_jax.eps.training import trained
from tests import forked


def test_worlds_differ_in_the_saliency_of_small_objects_alone():
    settings, seen = synthave.Settings(), set()
    for index in range(0, 960, 15):
        by = {missed: synthvoc.scene(settings, 'train', index, missed) for missed in synthvoc.MISSED}
        for made in by.values():
            np.testing.assert_array_equal(made.image, by['small'].image)
            np.testing.assert_array_equal(made.labels, by['small'].labels)
        assert (by['none'].saliency >= by['beside'].saliency).all() and (by['beside'].saliency >= by['small'].saliency).all()
        shown = {missed: [made.saliency[made.labels == tag].mean() > 127 for tag in made.tags] for missed, made in by.items()}
        if by['small'].tags:
            assert all(shown['none']) and any(shown['beside'])  # of several, one is shown
            if len(by['small'].tags) > 1 and any(shown['small']):
                assert shown['beside'] == shown['small']
            seen.add((len(by['small'].tags), any(shown['small']), all(shown['small'])))
    assert {(1, False, False), (2, False, False), (2, True, False), (2, True, True)} <= seen


def test_an_unknown_world_is_refused(tmp_path):
    with pytest.raises(InputError, match='missed=.*small, beside, none'):
        synthvoc.generate(tmp_path / 'world', missed='large')


@pytest.fixture(scope='module')
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sweep')
    command = ['-m', 'benchmarks.eps_sweep', '--train=24', '--held_out=12', '--epochs=1', '--longer', '--worlds', 'small',
               f'--workdir={folder}/runs', f'--out={folder}/results.md']
    done = forked.python(*command)
    assert done.returncode == 0, done.stderr
    return folder, command


@pytest.mark.thorough
def test_a_second_run_changes_nothing(sweep):
    folder, command = sweep
    text = (folder / 'results.md').read_text()
    assert text.startswith(f'# {eps_sweep.TITLE}\n') and 'adaptive over naive where the saliency misses all small objects' in text
    again = forked.python(*command)
    assert again.returncode == 0 and 'mean IoU' not in again.stdout.split('Written by')[0]  # nothing was trained
    assert (folder / 'results.md').read_text() == text


@pytest.mark.thorough
def test_scores_are_those_of_the_masks(sweep):
    folder, _ = sweep
    scores = json.loads((folder / 'runs' / 'seed0' / 'small' / '1' / 'adaptive' / 'scores.json').read_text())
    args = argparse.Namespace(workdir=folder / 'runs', train=24, held_out=12)
    config = eps_sweep.config_of(args, 0, 'small', 1.0, 'adaptive')
    images = open_images(config)['train']
    net = trained(config, folder / 'runs' / 'seed0' / 'small' / '1' / 'adaptive', len(images.categories))
    labels = [of for _, of in eps_sweep.masks.iterate_labels(config, *net, images, list(range(len(images))))]
    true = [images.mask(index) for index in range(len(images))]
    assert scores['train'] == pytest.approx(mean_iou(np.stack(labels), np.stack(true), len(images.categories) + 1))
    tags = [info['tags'] for info in images.images]
    facts = scores['world']
    assert facts['classes'] == pytest.approx(np.mean([len(of) for of in tags]))
    missed = [np.asarray(images.saliency(i))[true[i] == tag].mean() <= 127.5 for i, of in enumerate(tags) for tag in of]
    assert facts['missed'] == pytest.approx(np.mean(missed)) and 0 < facts['missed alone'] <= facts['missed'] < 1
