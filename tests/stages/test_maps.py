"""What the sources of pseudo-fixations see, against the nets applied to one example after the other; which maps are made of it."""
import collections
import functools
import json

import jax
import numpy as np
import pytest

from configs import scam_plus
from stanet_jax.data import ave, fragments, preparation, synthave
from stanet_jax.data.clips import Clips
from stanet_jax.data.stretches import iterate_stretches
from stanet_jax.models import branch
from stanet_jax.stages.maps import FusedMaps, MapCounts, MapKind, fuse, write_split
from stanet_jax.stages.nets import example_batch, make_classifier, net_inputs, predict_tags
from stanet_jax.stages.source_maps import ClipSources, SourceMaps, plus_maps
from tests.variables import drawn


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp('clips') / 'world'
    synthave.generate(root, synthave.Settings(categories=2, train=5, validation=0, test=0, seconds=1.5, side=48), workers=1)
    return Clips(preparation.prepare(ave.source(root), 48, 8.0, workers=1), 'train')


def annotations(clip, frame):
    return {'phi': np.float32((clip + frame) % 3 > 0)}


def nets(clips):
    config = scam_plus.get_config()
    config.width, config.data.side = 8, 48
    models = {net: make_classifier(config, net, len(clips.categories)) for net in ('S_short', 'SA_long', 'ST_cross', 'SA_cross')}
    variables = {}
    for seed, (net, model) in enumerate(models.items()):
        example = example_batch(config, net, len(clips.categories), 1)
        variables[net] = drawn(model.init, seed=seed, **net_inputs(example, config.encoder.name))
    return models, variables


def test_plus_maps_are_the_nets_on_each_frame(clips):
    models, variables = nets(clips)
    longer = max(clip['frames'] for clip in clips.clips) + 3  # clips are filled up
    batch = next(iterate_stretches(clips, annotations, [(1, 0), (3, 0)], longer, 2, 0, 'log_spectrogram', list(models), 2))
    seen = jax.jit(functools.partial(plus_maps, models=models, side=48))(variables, batch)
    assert seen.cams.shape[:3] == seen.confidence.shape[:3] == (2, longer, 4)
    predict = {net: jax.jit(functools.partial(predict_tags, model=model)) for net, model in models.items()}
    for row, clip in enumerate((1, 3)):
        for k in (0, 5, clips.clips[clip]['frames'] - 1):
            for i, net in enumerate(models):
                source, granularity = branch.parse_net(net)
                sound = 'log_spectrogram' if source == 'SA' else ''
                cut = functools.partial(fragments.read_fragment, clips, frames=branch.FRAMES[source], sound=sound)
                places = [(clip, k), *fragments.sample_fragments(clips, clip, 0 if granularity == 'cross' else k,
                                                       3 if granularity == 'cross' else branch.FRAMES[source], granularity, 2)]
                found = [{**cut(*place), **(annotations(*place) if source == 'SA' else {})} for place in places]
                example = {key: np.stack([of[key] for of in found])[None] for key in ('frames', 'audio', 'phi') if key in found[0]}
                logits, cam = predict[net](variables[net], {**example, 'tags': found[0]['tags'][None]})
                np.testing.assert_allclose(seen.confidence[row, k, i], jax.nn.softmax(logits)[0], rtol=1e-3, atol=1e-4, err_msg=net)
                np.testing.assert_allclose(seen.cams[row, k, i], cam[0], atol=2e-3, err_msg=net)


@pytest.mark.parametrize('fusion', ['average', 'selective'])
def test_a_map_that_the_cut_leaves_nothing_of_is_empty(fusion):
    """Of a ramp nothing is three times the mean; of a spot all is. What no source is sure of is empty where that weighs."""
    ramp, spot = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (8, 1)), np.zeros((8, 8), np.float32)
    spot[2:4, 3:5] = 1
    cams = np.stack([ramp, spot, spot])[:, None]
    confidence = np.float32([[[0.9, 0.1]], [[0.9, 0.1]], [[0.1, 0.9]]])
    boxes = np.tile(np.float32([0, 0, 8, 8]), (3, 1))

    def made(cut):
        return fuse(SourceMaps(cams, confidence), None, boxes, np.array([1, 0]), np.ones(3, bool), fusion=fusion, reach=0, side=8, cut=cut)
    unsure = fusion == 'selective'
    np.testing.assert_array_equal(made(3.0).empty, [True, False, unsure])
    np.testing.assert_array_equal(made(0.0).empty, [False, False, unsure])
    for cut in (0.0, 3.0):
        np.testing.assert_array_equal(made(cut).maps.any(axis=(1, 2)), ~np.asarray(made(cut).empty))


def test_one_kind_of_maps_is_of_every_clip_and_one_of_each_third(clips, tmp_path):
    asked = []

    def sources_of(chosen):
        asked.extend(chosen)
        for clip in chosen:
            t = clips.clips[clip]['frames']
            seen = SourceMaps(np.zeros((t, 1, 6, 6), np.float32), np.ones((t, 1, 2), np.float32))
            yield clip, ClipSources(seen, None, np.zeros((t, 4), np.float32), np.ones(t), clips.multi_hot(clip))

    def fused(clip, seen):
        t = len(seen.phi)
        return FusedMaps(np.full((t, 48, 48), clip, np.uint8), np.zeros((t, 4), int), np.ones((t, 1)), np.zeros(t, bool))
    kinds = [MapKind(tmp_path / name / 'train', frozenset(chosen), ['S'], lambda seen: seen, fused, 'hash')
             for name, chosen in (('whole', range(5)), ('third', (0, 3)))]
    frames = [clip['frames'] for clip in clips.clips]
    assert write_split(kinds, clips, sources_of) == [MapCounts(sum(frames), 0), MapCounts(frames[0] + frames[3], 0)]
    assert asked == [0, 1, 2, 3, 4]
    for kind, of in zip(kinds, (clips.names, clips.names[::3]), strict=True):
        assert {path.name for path in kind.out.iterdir() if path.is_dir()} == set(of)
        listed = [json.loads(line)['clip'] for line in (kind.out / 'manifest.jsonl').read_text().splitlines()]
        assert list(dict.fromkeys(listed)) == of
    assert write_split(kinds, clips, sources_of) == [MapCounts(0, 0)] * 2 and len(asked) == 5


class Assigned(Clips):
    """The clips of SynthAVE's training part, of which nothing but kinds and tags is there."""
    split = 'train'

    def __init__(self, settings):
        self.categories = [f'category_{i}' for i in range(settings.categories)]
        self.clips = [{'kind': kind, 'tags': [tag]} for kind, tag in synthave.assignment(settings, 'train')]


def test_each_fourth_clip_is_of_every_tag_and_kind():
    clips = Assigned(synthave.Settings())
    chosen = clips.each(4)
    assert len(chosen) == len(clips) / 4 and clips.each(1) == list(range(len(clips)))
    for of in (lambda clip: clip['tags'][0], lambda clip: clip['kind']):
        whole, some = (collections.Counter(map(of, those)) for those in (clips.clips, [clips.clips[i] for i in chosen]))
        assert some.keys() == whole.keys() and all(abs(some[k] - whole[k] / 4) <= len(clips.categories) for k in whole)
    clips.split = 'test'
    assert clips.each(4) == list(range(len(clips)))
