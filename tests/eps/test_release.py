"""What the release of EPS does and the paper does not say: frozen normalisation, dropout, resizing, padding, lists, the CRF, COCO."""
import functools
import sys

import flax.linen as nn
import jax
import numpy as np
import PIL.Image
import pytest
import scipy.io
import scipy.sparse

from configs import deeplab, eps
from stanet_jax import InputError
from stanet_jax.data import synthave, synthvoc, voc
from stanet_jax.eps import crf, training
from stanet_jax.eps.images import ImageExamples
from stanet_jax.eps.metrics import boundary_f1, mean_iou
from stanet_jax.eps.nets import apply_in_training, multi_scale_maps, predict_labels, predict_scores, rescaled
from stanet_jax.eps.scores import score_masks
from stanet_jax.models import segmentation
from stanet_jax.models.backbones import resnet38
from stanet_jax.training import loop, optimizer
from tests.variables import drawn

RNG = np.random.default_rng(0)


# --------------------------------------------------------------------------------------------------------------------- nets


@pytest.mark.parametrize('name', ['voc12', 'coco'])
def test_scale_and_shift_of_every_batch_norm_are_frozen(name):
    config = eps.get_config(name)
    params = jax.eval_shape(lambda: segmentation.EPS(3, config.encoder.name).init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32)))
    scale = optimizer.learning_rate_multipliers(params['params'], config.new_multiplier.EPS, config.bias_multiplier, config.frozen)
    rates = {tuple(part.key for part in path): x for path, x in jax.tree.leaves_with_path(scale)}
    norms = [rate for path, rate in rates.items() if path[-1] != 'kernel']
    assert len(norms) > 60 and not any(norms)
    kernels = {path[1:-1]: rate for path, rate in rates.items() if path[-1] == 'kernel'}
    assert {rate for path, rate in kernels.items() if path and path[0] in ('conv1a', 'b2', 'b2_1', 'b2_2')} == {0}
    assert {rate for path, rate in kernels.items() if path and path[0] not in ('conv1a', 'b2', 'b2_1', 'b2_2')} == {1}
    assert kernels[()] == 10  # of the classifier


def test_dropout_is_of_whole_channels():
    class Middle(nn.Module):
        """The bottleneck's last convolution alone sees the second dropout: an identity there shows what is dropped."""
        @nn.compact
        def __call__(self, x):
            norm = functools.partial(nn.BatchNorm, use_running_average=True)
            return resnet38.Bottleneck(64, 1, 0.5, functools.partial(nn.Conv, use_bias=False), norm)(x, True)

    x = RNG.normal(size=(3, 7, 7, 8)).astype(np.float32)
    net, rngs = Middle(), {'dropout': jax.random.key(1)}
    apply = jax.jit(functools.partial(net.apply, rngs=rngs, capture_intermediates=lambda of, _: isinstance(of, nn.Dropout)))
    _, seen = apply(drawn(net.init, x), x)
    for dropped in jax.tree.leaves(seen['intermediates']):
        channels = (np.asarray(dropped) != 0).any(axis=(1, 2))
        assert dropped.shape[-1] in (16, 32) and 0.2 < channels.mean() < 0.8
        # What of a channel is 0 by the relu alone is about half; were single places dropped, no channel would be.
        assert (channels[0] != channels[1]).any()


def test_padding_of_a_jittered_picture_is_0():
    class Seen(nn.Module):
        encoder: str = 'resnet38'

        @nn.compact
        def __call__(self, frames, train, mask):
            return frames

    frames = RNG.integers(0, 256, (2, 12, 10, 3), dtype=np.uint8)
    valid = np.zeros((2, 12, 10), bool)
    valid[0, :7], valid[1, :, 3:] = True, True
    batch = {'frames': frames, 'valid': valid, 'mask': np.ones(2, bool)}
    seen, _ = apply_in_training({}, batch, jax.random.key(3), Seen(), (.3, .3, .3, .1))
    assert not np.any(np.asarray(seen)[~valid]) and np.all(np.any(np.asarray(seen)[valid] != 0, axis=-1))


def test_examples_tell_where_the_picture_is(tmp_path):
    class One:
        images = [{'id': 'a', 'width': 40, 'height': 20}]

        def __len__(self):
            return 1

        def image(self, index):
            return PIL.Image.new('RGB', (40, 20), (255, 0, 9))

        def tags(self, index):
            return np.ones(2, np.float32)

    examples = ImageExamples(One(), 32, (24, 60))
    for seed in range(12):
        found = examples.example(0, np.random.default_rng(seed))
        np.testing.assert_array_equal(found['valid'], found['frames'][..., 0] == 255)
    whole = examples.example(0)
    assert whole['valid'].sum() == 32 * 16 and whole['valid'][:16].all()


# ---------------------------------------------------------------------------------------------------------------- inference


@pytest.mark.parametrize('scale', [0.5, 1.0, 1.5, 2.0])
def test_resizing_is_pillows_bicubic_of_the_picture_alone(scale):
    sizes, side = ((30, 22), (20, 36)), 36  # (w, h) of two pictures on one canvas
    pictures = [RNG.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in sizes]
    frames, valid = np.full((2, side, side, 3), 123, np.uint8), np.zeros((2, side, side), bool)
    for k, picture in enumerate(pictures):
        frames[k, :picture.shape[0], :picture.shape[1]], valid[k, :picture.shape[0], :picture.shape[1]] = picture, True
    found, inside = rescaled(frames, valid, [round(scale * side)] * 2)
    for k, picture in enumerate(pictures):
        h, w = (round(scale * n) for n in picture.shape[:2])
        expected = np.asarray(PIL.Image.fromarray(picture).resize((w, h), PIL.Image.Resampling.BICUBIC))
        assert inside[k].sum() == h * w and inside[k, :h, :w].all()
        np.testing.assert_allclose(found[k, :h, :w], expected, atol=2)
        assert np.mean(np.asarray(found)[k, :h, :w] == expected) > .95  # the others by rounding
        assert not np.any(np.asarray(found)[k][~np.asarray(inside[k])])


def test_what_is_around_a_picture_has_no_influence():
    model = segmentation.EPS(2, 'tiny')
    variables = drawn(model.init, np.zeros((1, 32, 32, 3)))
    frames, valid = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8), np.zeros((2, 32, 32), bool)
    frames[1], valid[:, :20] = frames[0], True
    frames[1, 20:] = 0
    run = jax.jit(functools.partial(multi_scale_maps, model=model, scales=(.5, 1.), activation='softmax'))
    one, other = run(variables, frames, valid)
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_labels_are_the_best_scores():
    config = eps.get_config()
    config.masks.scales = (1.0,)
    model = segmentation.EPS(3, 'tiny')
    variables = drawn(model.init, np.zeros((1, 32, 32, 3)))
    batch = {'frames': RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8), 'valid': np.ones((2, 32, 32), bool),
             'tags': np.float32([[1, 1, 0], [0, 0, 1]])}
    scores, labels = jax.jit(lambda *given: [of(*given, model=model, config=config) for of in (predict_scores, predict_labels)])(
        variables, batch)
    np.testing.assert_array_equal(scores.argmax(-1), labels)
    np.testing.assert_allclose(scores.max(axis=(1, 2)), [[.2, 1, 1, 0], [.2, 0, 0, 1]], rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------------ recipes


def test_recipes_are_the_papers_and_the_releases():
    voc12, coco = eps.get_config('voc12'), eps.get_config('coco')
    for config, images, steps, batch, side, sides, mix, split in (
            (voc12, 10582, 20000, 8, 448, (256, 512), 0.5, 'train_aug'), (coco, 82081, 256500, 16, 321, (256, 448), 0.9, 'train')):
        assert loop.number_of_steps(config.epochs.EPS, images, config.batch) == steps
        assert (config.batch, config.data.side, tuple(config.data.long_side)) == (batch, side, sides)
        assert (config.mix, config.data.split) == (mix, split)
        assert config.masks.splits == (split,) and config.threshold == 0.4 and config.masks.background == 0.2
        config.encoder.weights = ''
        training.check(config)
    for name in ('v1_resnet101', 'coco'):
        config, first = deeplab.get_config(name), coco if name == 'coco' else voc12
        assert config.data.split == first.data.split and config.pseudo_masks.endswith(f'masks/{first.data.split}')


# ----------------------------------------------------------------------------------------------------------------- the data


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """SynthVOC with a second list of ids, of which the first are in the other one, too."""
    root = tmp_path_factory.mktemp('voc') / 'voc'
    synthvoc.generate(root, synthave.Settings(train=8, validation=2, test=2, side=48, categories=4), workers=1)
    ids = (root / 'train.txt').read_text().splitlines()
    (root / 'train_aug.txt').write_text('\n'.join(ids) + '\n')
    (root / 'train.txt').write_text('\n'.join(ids[:3]) + '\n')
    return root


def test_lists_of_ids_are_splits_of_their_own(world):
    builder = voc.prepare(world)
    ids = {split: [info['id'] for info in infos] for split, infos in builder.info.metadata['splits'].items()}
    assert len(ids['train']) == 3 and len(ids['train_aug']) > 3 and set(ids['train']) < set(ids['train_aug'])
    images = voc.Images(builder, 'train_aug')
    np.testing.assert_array_equal(images.mask(0), voc.Images(builder, 'train').mask(0))


def test_a_list_that_is_not_there_is_named(world, tmp_path):
    config = eps.get_config()
    config.data.update({'name': 'voc', 'root': str(world), 'split': 'train_all'})
    with pytest.raises(InputError, match='config.data.split=.*train, train_aug, validation, test'):
        training.check(config)
    (world / 'only').mkdir()
    for folder in ('JPEGImages', 'SegmentationClassAug', 'val.txt'):
        (world / 'only' / folder).symlink_to(world / folder)
    config.data.update({'root': str(world / 'only'), 'split': 'train_aug'})
    with pytest.raises(InputError, match='config.data.split=.* holds images of validation; .* those of train_aug.txt'):
        training.train(config, tmp_path)


def write_boundaries(path, edges, classes=3):
    """As SBD's files: a struct with a sparse matrix for each class, all but two of them empty."""
    cells = np.empty((classes, 1), object)
    for k in range(classes):
        of_class = edges if k == 0 else edges[:, ::-1] if k == 1 else np.zeros_like(edges)
        cells[k, 0] = scipy.sparse.csc_matrix(of_class.astype(np.float64))
    scipy.io.savemat(path, {'GTcls': {'Boundaries': cells, 'Segmentation': edges.astype(np.uint8)}})


def test_sbds_boundaries_are_those_of_all_classes(tmp_path):
    edges = RNG.random((13, 17)) < .2
    write_boundaries(tmp_path / 'a.mat', edges)
    np.testing.assert_array_equal(voc.read_boundaries(tmp_path / 'a.mat'), edges | edges[:, ::-1])
    (tmp_path / 'b.mat').write_bytes(b'no file of MATLAB')
    scipy.io.savemat(tmp_path / 'c.mat', {'GTinst': 1})
    for name in 'bcd':
        with pytest.raises(InputError, match=f'{name}.mat: not the boundaries of an image of SBD'):
            voc.read_boundaries(tmp_path / f'{name}.mat')


def test_boundaries_are_compared_to_sbds_where_they_are(world, tmp_path):
    images = voc.Images(voc.prepare(world), 'train')
    name, shape = images.images[1]['id'], images.mask(1).shape
    edges = np.zeros(shape, bool)
    edges[10] = True
    (tmp_path / 'SBD').mkdir()
    write_boundaries(tmp_path / 'SBD' / f'{name}.mat', edges)
    labels = np.zeros(shape, np.uint8)
    labels[:12] = 1  # its boundary is rows 11 and 12, one and two below
    for info in images.images:
        voc.label_image(labels).save(tmp_path / f'{info["id"]}.png')
    found = score_masks(images, tmp_path, boundaries=tmp_path / 'SBD')
    assert found.boundary_images == 1 and found.images == 3
    assert found.boundary == boundary_f1(np.array([shape[1], shape[1], shape[1], 2 * shape[1]]))  # within a pixel lies row 11 alone
    assert score_masks(images, tmp_path).boundary_images == 3
    write_boundaries(tmp_path / 'SBD' / f'{name}.mat', edges[:-1])
    with pytest.raises(InputError, match=f'{name}.mat: 48x47 pixels, its image has 48x48'):
        score_masks(images, tmp_path, boundaries=tmp_path / 'SBD')


# ------------------------------------------------------------------------------------------------------------------ the CRF


def example_of_crf():
    made = next(scene for i in range(50) if len((scene := synthvoc.scene(synthave.Settings(), 'train', 13 * i)).tags) == 1
                and (scene.labels > 0).mean() > .08)
    return made, np.roll(made.labels, 3, axis=1)


def test_crf_moves_labels_to_the_colours():
    pytest.importorskip('pydensecrf', reason='the extra crf is not installed')
    made, given = example_of_crf()
    classes = max(made.tags) + 1
    scores = np.where(np.arange(classes) == given[..., None], .7, .3) * np.isin(np.arange(classes), [0, *made.tags])
    for found in (crf.crf_of_labels(made.image, given), crf.crf_of_scores(made.image, scores)):
        assert mean_iou(found, made.labels, classes) > mean_iou(given, made.labels, classes) + .02
    np.testing.assert_array_equal(crf.crf_of_labels(made.image, np.zeros_like(given)), 0)
    np.testing.assert_array_equal(crf.crf_of_scores(made.image, np.ones((96, 96, 1))), 0)


def mean_field(image, scores, near, near_weight, far, colour, weight, steps=10):
    """Labels by mean field in float64 over all pairs of pixels; the package interpolates on a lattice."""
    y, x = np.mgrid[:image.shape[0], :image.shape[1]].reshape(2, -1)
    colours, distance = image.reshape(-1, 3).astype(float), (y[:, None] - y)**2 + (x[:, None] - x)**2

    def kernel(energy):
        k = np.exp(-energy)
        np.fill_diagonal(k, 0)
        root = 1 / np.sqrt(k.sum(axis=1) + 1e-20)
        return root[:, None] * k * root

    smooth = kernel(distance / (2 * near**2))
    alike = kernel(distance / (2 * far**2) + ((colours[:, None] - colours)**2).sum(axis=-1) / (2 * colour**2))
    unary = np.log(scores.reshape(-1, scores.shape[-1]))
    q = np.exp(unary) / np.exp(unary).sum(axis=1, keepdims=True)
    for _ in range(steps):
        energy = unary + near_weight * smooth @ q + weight * alike @ q
        q = np.exp(energy - energy.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
    return q.argmax(axis=1).reshape(image.shape[:2])


def test_crf_of_scores_is_mean_field_with_the_releases_constants():
    pytest.importorskip('pydensecrf', reason='the extra crf is not installed')
    rng = np.random.default_rng(0)
    image = (60 + 7 * rng.integers(0, 6, (14, 12, 1)) + rng.integers(0, 2, (14, 12, 3))).astype(np.uint8)
    scores = rng.uniform(0, 1, (14, 12, 3))**4 + .02
    found = crf.crf_of_scores(image, scores)
    assert (found == mean_field(image, scores, 1, 3, 67, 3, 4)).mean() > .97
    for others in ((3, 3, 50, 5, 10), (1, 3, 67, 3, 10), (1, 1, 67, 3, 4)):
        assert (found == mean_field(image, scores, *others)).mean() < .8
    bands = (60 + 8 * (np.arange(24)[:, None, None] // 6) + rng.integers(0, 3, (24, 20, 3))).astype(np.uint8)
    scores = np.where(np.arange(2) == (np.arange(24) // 6 % 2)[:, None], .55, .45)[:, None] * rng.uniform(.4, 1, (24, 20, 2))
    found = crf.crf_of_scores(bands, scores)
    assert (found == mean_field(bands, scores, 1, 3, 67, 3, 4)).mean() > .97 > (found == scores.argmax(axis=-1)).mean()
    assert (found == mean_field(bands, scores, 1, 3, 67, 13, 4)).mean() < .8


def test_crf_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)
    for refine, given in ((crf.crf_of_labels, np.zeros((4, 4), np.uint8)), (crf.crf_of_scores, np.ones((4, 4, 2)))):
        with pytest.raises(InputError, match=r'stanet_jax\[crf\]'):
            refine(np.zeros((4, 4, 3), np.uint8), given)


def test_an_unknown_crf_is_refused():
    config = eps.get_config()
    config.masks.crf = 'maps'
    with pytest.raises(InputError, match='config.masks.crf=.*scores, labels'):
        training.check(config)
