"""Segmentation: SynthVOC and its reader, EPS's losses and pseudo-masks, DeepLab, saliency by a student, the scripts."""
import functools
import json
import pathlib

import jax
import numpy as np
import PIL.Image
import pytest

from configs import deeplab, eps
from configs import saliency as saliency_config
from stanet_jax import InputError, losses, scam
from stanet_jax.data import synthave, synthvoc, voc
from stanet_jax.eps import masks, saliency, training
from stanet_jax.eps.images import FILL, ImageExamples, mask_reader
from stanet_jax.eps.metrics import confusion_ratio, mean_iou
from stanet_jax.eps.nets import make_loss_fn, multi_scale_maps, pseudo_scores
from stanet_jax.models import segmentation as nets
from stanet_jax.models.backbones.resnext import ResNeXt
from stanet_jax.stages import students
from stanet_jax.training import checkpoint, optimizer
from stanet_jax.training.optimizer import make_optimizer
from stanet_jax.workdir import read_config
from tests import forked
from tests.inference.test_predictor import make_run
from tests.signatures import unchecked
from tests.variables import drawn

SIDE = 48


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """SynthVOC, small, with one image that is no image, one without a mask, and a longer one."""
    root = tmp_path_factory.mktemp('voc') / 'voc'
    synthvoc.generate(root, synthave.Settings(train=16, validation=6, test=4, side=SIDE, categories=4), workers=1)
    (root / 'JPEGImages' / 'train_00003.jpg').write_bytes(b'no image')
    (root / 'SegmentationClassAug' / 'train_00004.png').unlink()
    for folder, name in (('JPEGImages', 'val_long.jpg'), ('SegmentationClassAug', 'val_long.png'), ('SALImages', 'val_long.png'),
                         ('Context', 'val_long.png')):
        with PIL.Image.open(root / folder / f'validation_00000{pathlib.Path(name).suffix}') as image:
            image.crop((0, 0, SIDE, SIDE // 2)).resize((2 * SIDE, SIDE), 0).save(root / folder / name)
    (root / 'val.txt').write_text('JPEGImages/val_long.jpg SegmentationClassAug/val_long.png\n' + (root / 'val.txt').read_text())
    return root


@pytest.fixture(scope='module')
def splits(world, tmp_path_factory):
    builder = voc.prepare(world, tmp_path_factory.mktemp('prepared'))
    return {split: voc.Images(builder, split, world / 'SALImages') for split in builder.info.metadata['splits']}


def opened(path):
    with PIL.Image.open(path) as image:
        return np.array(image)


def small(module, world, **fields):
    config = module.get_config()
    config.data.update({'root': str(world), 'side': SIDE, 'long_side': (40, 56)})
    config.batch, config.masks.canvas, config.masks.batch, config.masks.scales = 4, SIDE, 4, (0.5, 1.0)
    config.epochs, config.held_out, config.log_every = {config.nets[0]: 1.0}, 4, 1
    config.update(fields)
    return config


# --------------------------------------------------------------------------------------------------------------------- data


def test_scenes_are_what_the_export_says():
    settings = synthave.Settings()
    scenes = [synthvoc.scene(settings, 'train', i) for i in range(0, 960, 13)]
    again = synthvoc.scene(settings, 'train', 13)
    np.testing.assert_array_equal(again.image, scenes[1].image)
    for made in scenes:
        assert made.tags == sorted(set(np.unique(made.labels)) - {0}) and len(made.tags) in (0, 1, 2)
        assert not (made.track & (made.labels > 0)).any()
    with_first = [made.track.any() for made in scenes if 1 in made.tags]
    without = [made.track.any() for made in scenes if 1 not in made.tags]
    assert np.mean(with_first) > .7 and np.mean(without) < .15
    for categories, least, most in (((7, 8), .1, .5), (range(1, 7), .6, .95)):  # the saliency misses small objects
        seen = [made.saliency[made.labels == k].mean() / 255 for made in scenes for k in categories if k in made.tags]
        assert len(seen) > 10 and least < np.mean(seen) < most
    large = [made for made in scenes if made.tags == [2] and (made.labels > 0).mean() > .08]
    assert np.mean([made.saliency[made.labels > 0].mean() / 255 for made in large]) > .9


def test_palette_is_vocs():
    assert voc.palette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] and voc.palette()[-3:] == [224, 224, 192]


def test_reader_gives_what_the_files_hold(world, splits):
    images = splits['train']
    names = [info['id'] for info in images.images]
    assert 'train_00003' not in names and 'train_00004' not in names and len(names) > 8
    for index in (0, len(images) - 1):
        name = names[index]
        np.testing.assert_array_equal(images.image(index), opened(world / 'JPEGImages' / f'{name}.jpg'))
        labels = opened(world / 'SegmentationClassAug' / f'{name}.png')
        np.testing.assert_array_equal(images.mask(index), labels)
        assert (np.flatnonzero(images.tags(index)) + 1).tolist() == sorted(set(np.unique(labels)) - {0})
        np.testing.assert_array_equal(images.saliency(index), opened(world / 'SALImages' / f'{name}.png'))
    assert splits['validation'].images[0]['id'] == 'val_long' and splits['validation'].image(0).size == (2 * SIDE, SIDE)


def test_what_was_skipped_is_told(world, tmp_path, capsys):
    builder = voc.prepare(world, tmp_path)
    reasons = {skipped['id']: skipped['reason'] for skipped in builder.info.metadata['skipped']}
    assert 'train_00003.jpg' in reasons['train_00003'] and 'no such mask' in reasons['train_00004']
    assert 'skipped 2' in capsys.readouterr().out
    voc.prepare(world, tmp_path)
    assert capsys.readouterr().out == ''


def copy_of(world, root, *names):
    for folder in ('JPEGImages', 'SegmentationClassAug'):
        (root / folder).mkdir(parents=True)
        for name in names:
            file = next((world / folder).glob(f'{name}.*'))
            (root / folder / file.name).write_bytes(file.read_bytes())
    (root / 'ImageSets' / 'Segmentation').mkdir(parents=True)
    (root / 'ImageSets' / 'Segmentation' / 'train.txt').write_text('\n'.join(names) + '\n')
    return root


def test_tags_may_stand_in_a_file_and_lists_in_vocs_place(world, tmp_path):
    root = copy_of(world, tmp_path / 'set', 'train_00000', 'train_00001')
    (root / 'SegmentationClassAug' / 'train_00001.png').unlink()
    (root / 'tags.txt').write_text('train_00000 20 3\ntrain_00001 1\n')
    images = voc.Images(voc.prepare(root), 'train')
    assert [info['tags'] for info in images.images] == [[3, 20], [1]] and images.categories[19] == 'tv monitor'
    assert (images.mask(1) == voc.IGNORED).all()


def test_sets_that_cannot_be_used_are_refused(world, tmp_path):
    with pytest.raises(InputError, match='holds no list of ids'):
        voc.prepare(tmp_path)
    root = copy_of(world, tmp_path / 'a', 'train_00000')
    (root / 'tags.txt').write_text('train_00000 21\n')
    with pytest.raises(InputError, match=r'tags.txt:1: .* labels from 1 to 20'):
        voc.prepare(root)
    root = copy_of(world, tmp_path / 'b', 'train_00000')
    PIL.Image.new('RGB', (SIDE, SIDE)).save(root / 'SegmentationClassAug' / 'train_00000.png')
    with pytest.raises(InputError, match='no image can be used .*its mode is RGB'):
        voc.prepare(root)
    PIL.Image.new('L', (SIDE, SIDE + 1)).save(root / 'SegmentationClassAug' / 'train_00000.png')
    with pytest.raises(InputError, match='no image can be used .*48x49 pixels'):
        voc.prepare(root)


# ----------------------------------------------------------------------------------------------------------------- examples


def test_whole_images_lie_in_the_corner(splits):
    images = splits['validation']
    found = ImageExamples(images, SIDE, saliency=True, target=images.mask).example(0)
    assert found['frames'].shape == (SIDE, SIDE, 3) and found['target'].shape == found['saliency'].shape == (SIDE, SIDE)
    assert (found['target'][SIDE // 2:] == voc.IGNORED).all() and (found['target'][:SIDE // 2] != voc.IGNORED).all()
    assert (found['frames'][SIDE // 2:] == FILL).all() and (found['saliency'][SIDE // 2:] == 0).all()
    whole = ImageExamples(images, 3 * SIDE).example(0)['frames']  # smaller images stay as they are
    np.testing.assert_array_equal(whole[:SIDE, :2 * SIDE], images.image(0))


def test_random_crops_keep_image_saliency_and_labels_together(splits):
    images = splits['train']
    index = next(i for i, info in enumerate(images.images) if (images.mask(i) > 0).mean() > .05)
    examples = ImageExamples(images, SIDE, (40, 80), saliency=True, target=lambda i: np.array(images.saliency(i)) // 128)
    seen = []
    for k in range(20):
        found = examples.example(index, np.random.default_rng(k))
        inside = found['target'] != voc.IGNORED
        agree = (found['saliency'] >= 128) == (found['target'] == 1)
        assert inside.any() and agree[inside].mean() > .9  # but for the resize
        seen.append(inside.mean())
    assert min(seen) < .9 and max(seen) == 1
    np.testing.assert_array_equal(examples.example(index, np.random.default_rng(3))['frames'],
                                  examples.example(index, np.random.default_rng(3))['frames'])


# --------------------------------------------------------------------------------------------------------------------- nets


def test_pixel_cross_entropy_against_numpy():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 4, 5, 6)), rng.integers(0, 6, (3, 4, 5))
    labels[0, :2], labels[2] = 255, 255
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    gains = np.where(labels == 255, 0, np.take_along_axis(log_p, np.where(labels == 255, 0, labels)[..., None], -1)[..., 0])
    expected = -gains.sum((1, 2)) / np.maximum((labels != 255).sum((1, 2)), 1)
    np.testing.assert_allclose(losses.pixel_cross_entropy(logits, labels), expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda x: losses.pixel_cross_entropy(x, labels).sum())(logits)).all()
    with unchecked(), pytest.raises(ValueError, match='must be'):
        losses.pixel_cross_entropy(logits, labels[:, :3])


def test_pseudo_scores_by_hand():
    maps = np.zeros((1, 1, 5, 3), np.float32)
    maps[0, 0] = [[4, 0, 9], [2, 3, 9], [.5, .1, 9], [.9, 2.9, 9], [9, 9, 9]]  # the third class is not tagged, the last place not valid
    valid = np.array([[[True] * 4 + [False]]])
    found = pseudo_scores(maps, np.float32([[1, 1, 0]]), valid).argmax(axis=-1)
    np.testing.assert_array_equal(found, [[[1, 2, 0, 2, 0]]])  # 1, 1 / .5, .125 / .033, .225 / .97
    np.testing.assert_array_equal(pseudo_scores(maps, np.zeros((1, 3), np.float32), valid).argmax(axis=-1), 0)


def test_maps_of_a_mirrored_image_are_mirrored():
    model = nets.EPS(3, 'tiny')
    x = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    variables, valid = drawn(model.init, np.zeros((1, 32, 32, 3))), np.ones(x.shape[:3], bool)
    run = jax.jit(functools.partial(multi_scale_maps, model=model, scales=(.5, 1), activation='softmax'))
    maps = run(variables, x, valid)
    assert maps.shape == (2, 32, 32, 4)
    np.testing.assert_allclose(maps.sum(-1), 4, rtol=1e-5)  # two scales, both ways
    np.testing.assert_allclose(run(variables, x[:, :, ::-1], valid), maps[:, :, ::-1], atol=1e-4)


@pytest.mark.parametrize('encoder, rates, width', [('vgg16', (12,), 8), ('resnet101', (6, 12, 18, 24), 0)])
def test_papers_nets_by_shape(encoder, rates, width):
    model = nets.DeepLab(20, encoder, rates, width)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32)))
    out = jax.eval_shape(lambda v: model.apply(v, np.zeros((2, 64, 64, 3), np.float32)), variables)
    assert out.shape == (2, 8, 8, 21)


def test_resnet101_dilates_in_place_of_strides():
    x = np.zeros((1, 64, 64, 3), np.float32)

    def features(dilated):
        net = ResNeXt(layers=(1, 1, 2, 2), groups=1, width_per_group=4, dilated=dilated)
        return jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x))

    (plain, one), (stride_8, other) = features(0), features(2)
    assert [plain[k].shape[1] for k in ('C3', 'C4', 'C5')] == [8, 4, 2] and [stride_8[k].shape[1] for k in ('C3', 'C4', 'C5')] == [8, 8, 8]
    assert jax.tree.map(lambda a: a.shape, one) == jax.tree.map(lambda a: a.shape, other)


def test_the_papers_stem_is_not_trained():
    config = eps.get_config('voc12')
    params = {'encoder': {'conv1a': {'kernel': 0}, 'b2_1': {'conv_branch2a': {'kernel': 0}}, 'b3': {'bn_branch2a': {'bias': 0}}},
              'classifier': {'kernel': 0}}
    scale = optimizer.learning_rate_multipliers(params, config.new_multiplier.EPS, config.bias_multiplier, config.frozen)
    assert jax.tree.leaves(scale) == [10.0, 0.0, 0.0, 0.0]
    rate = optimizer.learning_rate_schedule('polynomial', 0.01, 0, 20000)
    assert rate(0) == pytest.approx(.01) and rate(10000) == pytest.approx(.01 * .5 ** .9) and rate(20000) == 0


def test_only_kernels_decay():
    params = {'a': {'kernel': np.ones(2), 'bias': np.ones(2)}}
    only = {'a': {'kernel': True, 'bias': False}}
    optimizer = make_optimizer('sgd', 1.0, jax.tree.map(lambda _: 1.0, params), 0.0, 0.1, only)
    updates, _ = optimizer.update(jax.tree.map(np.zeros_like, params), optimizer.init(params), params)
    np.testing.assert_allclose(updates['a']['kernel'], -.1)
    np.testing.assert_allclose(updates['a']['bias'], 0)


@pytest.mark.parametrize('field, value', [('selection', 'best'), ('threshold', 2.0), ('masks.scales', ()), ('data.long_side', (9, 3)),
                                          ('masks.background', 1.0), ('data.name', 'coco'), ('nets', ('EPS', 'DeepLab'))])
def test_configs_that_cannot_be_meant_are_refused(world, field, value):
    config = small(eps, world)
    config.unlock()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=f'config.{field}'):
        training.check(config)


def test_unknown_background_classes_are_refused(world):
    config = small(eps, world, selection='predefined', background_classes=('boat',))
    with pytest.raises(InputError, match='no class boat'):
        make_loss_fn(config, 'EPS', nets.EPS(1, 'tiny'), ['category_00'])


# ------------------------------------------------------------------------------------------------------------------ scripts


def script(name, *args):
    return forked.python(f'{name}.py', *args)


@pytest.fixture(scope='module')
def runs(world, tmp_path_factory):
    """EPS, its masks and DeepLab on them, each as a user would make it."""
    folder = tmp_path_factory.mktemp('runs')
    fields = {'data.root': world, 'data.side': SIDE, 'data.long_side': '(40, 56)', 'batch': 4, 'masks.canvas': SIDE, 'held_out': 4,
              'masks.scales': '(0.5, 1.0)', 'log_every': 1}
    given = [f'--config.{k}={v}' for k, v in fields.items()]
    first = ['--config=configs/eps.py', f'--workdir={folder}/eps', *given, '--config.epochs.EPS=1']
    second = ['--config=configs/deeplab.py', f'--workdir={folder}/deeplab', *given, '--config.epochs.DeepLab=1',
              f'--config.pseudo_masks={folder}/eps/masks/train']
    for name, args in (('train', first), ('distill', first), ('distill', second)):
        done = script(name, *args)
        assert done.returncode == 0, done.stderr
    return folder


def test_masks_are_as_large_as_the_images_and_of_their_tags_alone(world, splits, runs):
    images, folder = splits['train'], runs / 'eps' / 'masks' / 'train'
    read = mask_reader(folder, images)
    for index, info in enumerate(images.images):
        assert set(np.unique(read(index))) <= {0, *info['tags']}
        with PIL.Image.open(folder / f'{info["id"]}.png') as image:
            assert image.getpalette()[:6] == [0, 0, 0, 128, 0, 0] and image.size == (info['width'], info['height'])
    assert len((folder / 'tags.jsonl').read_text().splitlines()) == len(images)
    log = [json.loads(line) for line in (runs / 'eps' / 'EPS' / 'log.jsonl').read_text().splitlines()]
    assert all(np.isfinite(line['loss']) for line in log if 'loss' in line) and any('loss' in line for line in log)
    assert [line['held_out/mean_iou'] for line in log if 'held_out/mean_iou' in line][0] <= 1
    assert (runs / 'eps' / 'labels.png').exists()


def test_masks_that_are_there_are_left(world, runs, splits):
    folder = runs / 'eps' / 'masks' / 'train'
    paths = sorted(folder.glob('*.png'))
    paths[0].unlink()
    before = {path: path.stat().st_mtime_ns for path in paths[1:]}
    config = small(eps, world)
    masks.write_labels(config, *training.trained(config, runs / 'eps', 4), splits['train'], folder)
    assert paths[0].exists() and before == {path: path.stat().st_mtime_ns for path in paths[1:]}


def test_evaluate_scores_masks_and_runs(world, runs, splits, tmp_path):
    out = tmp_path / 'scores.json'
    done = script('evaluate', '--task=segmentation', f'--maps={runs}/eps/masks/train', f'--data={world}', '--split=train', f'--out={out}')
    assert done.returncode == 0, done.stderr
    scores, images = json.loads(out.read_text()), splits['train']
    read = mask_reader(runs / 'eps' / 'masks' / 'train', images)
    pred, true = (np.concatenate([f(i).ravel() for i in range(len(images))]) for f in (read, images.mask))
    assert scores['mean_iou'] == pytest.approx(mean_iou(pred, true, 5)) and f'{scores["mean_iou"]:.3f}' in done.stdout
    assert set(scores['boundary']) == {'recall', 'precision', 'f1'} and 'category_00' in scores['confusion']
    track = np.concatenate([opened(world / 'Context' / f'{info["id"]}.png').ravel() for info in images.images])
    expected = confusion_ratio(pred, np.where(track > 0, 9, true), k=9, c=1)
    np.testing.assert_allclose(scores['confusion']['category_00'], expected)
    done = script('evaluate', '--task=segmentation', f'--checkpoint={runs}/deeplab', f'--data={world}', f'--out={out}')
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())['split'] == 'validation'


def test_evaluate_refuses_flags_of_other_tasks(tmp_path):
    for given, said in ((['--maps=a', '--set=b'], '--set: not with --task=segmentation'), ([], 'needs --maps or --checkpoint'),
                        (['--maps=a', '--data=b', '--out='], '--out: needed with --maps')):
        done = script('evaluate', '--task=segmentation', *given)
        assert done.returncode == 1 and said in done.stderr and 'Traceback' not in done.stderr


def test_predict_labels_a_folder_of_images(world, runs, tmp_path):
    photos = tmp_path / 'photos'
    photos.mkdir()
    PIL.Image.fromarray(opened(world / 'JPEGImages' / 'val_long.jpg')).save(photos / 'my photo.png')
    PIL.Image.new('L', (31, 70)).save(photos / 'grey.webp')
    (photos / 'notes.txt').write_text('no image')
    for _ in range(2):  # a second time in place of the first
        done = script('predict', f'--image={photos}', f'--checkpoint={runs}/deeplab', f'--out={tmp_path}/out')
        assert done.returncode == 0, done.stderr
    assert 'left out' in done.stderr and 'notes.txt' in done.stderr
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['grey', 'my photo']
    assert opened(tmp_path / 'out' / 'my photo' / 'labels.png').shape == (SIDE, 2 * SIDE)
    assert opened(tmp_path / 'out' / 'grey' / 'overlay.jpg').shape == (70, 31, 3)
    (tmp_path / 'out' / 'grey' / 'mine.txt').write_text('')
    done = script('predict', f'--image={photos}', f'--checkpoint={runs}/deeplab', f'--out={tmp_path}/out')
    assert done.returncode == 1 and 'out/grey: is there, and holds other things than labels' in done.stderr
    assert (tmp_path / 'out' / 'grey' / 'mine.txt').exists()
    done = script('predict', f'--image={photos}', f'--checkpoint={runs}/eps', f'--out={tmp_path}/out')
    assert done.returncode == 1 and 'needs the tags' in done.stderr


def test_what_is_missing_is_named(world, runs, splits, tmp_path):
    config = small(deeplab, world, pseudo_masks=str(tmp_path / 'nowhere'))
    with pytest.raises(InputError, match='config.pseudo_masks=.*stanet distill --config=eps'):
        training.check(config)
    with pytest.raises(InputError, match='train_00000.png: no such mask'):
        mask_reader(tmp_path, splits['train'])(0)
    images = voc.Images(voc.prepare(world), 'train', tmp_path)
    with pytest.raises(InputError, match='holds no saliency map .*stanet distill --config=saliency'):
        images.with_saliency()
    name = images.images[1]['id']
    whole = (world / 'SALImages' / f'{name}.png').read_bytes()
    (tmp_path / f'{name}.png').write_bytes(whole)
    (tmp_path / f'{images.images[0]["id"]}.png').write_bytes(whole[:-30])
    found, missing = images.with_saliency()
    assert [info['id'] for info in found.images] == [name] and missing == len(images) - 1


def test_a_student_makes_the_saliency(world, splits, tmp_path):
    student = make_run(tmp_path / 'student')
    given = ['--config=configs/saliency.py', f'--config.data.root={world}', f'--config.data.prepared={tmp_path}/prepared']
    done = script('distill', *given, f'--config.student={student}', f'--workdir={tmp_path}/maps')
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / 'maps').glob('*.png'))) == sum(map(len, splits.values()))
    images = splits['validation']
    frame = np.asarray(images.image(0).resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR))
    x = np.stack([(frame / 255 - [.485, .456, .406]) / [.229, .224, .225]] * 3)[None].astype(np.float32)
    model = students.make_student(read_config(student))
    variables = checkpoint.load_variables(student / 'STA' / 'variables')
    logits, _ = jax.jit(model.apply)(variables, x, np.zeros((1, 257, 98), np.float32), np.zeros(1))
    expected = np.round(255 * np.asarray(scam.min_max(jax.nn.sigmoid(logits)))[0]).astype(np.uint8)
    expected = PIL.Image.fromarray(expected).resize((2 * SIDE, SIDE), PIL.Image.Resampling.BILINEAR)
    np.testing.assert_allclose(np.float32(opened(tmp_path / 'maps' / 'val_long.png')), np.float32(expected), atol=2)
    config = saliency_config.get_config()
    config.student = str(tmp_path)
    with pytest.raises(InputError, match='config.json'):
        saliency.run(config, tmp_path / 'others')
