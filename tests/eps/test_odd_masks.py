"""Masks with labels that are no class, photographs with an orientation, grey of 16 bits, lists with a byte order mark."""
import io

import numpy as np
import PIL.Image
import pytest

from stanet_jax import InputError
from stanet_jax.data import voc
from stanet_jax.eps.images import ImageExamples, mask_reader
from stanet_jax.eps.prediction import ImageFolder
from stanet_jax.eps.scores import score_masks

CLASSES, SIDE = 8, 32
T = PIL.Image.Transpose
STORED = {2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270}


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A set of six images in VOC's layout, whose lists begin with byte order marks."""
    root, rng = tmp_path_factory.mktemp('voc'), np.random.default_rng(0)
    for folder in ('JPEGImages', 'SegmentationClassAug', 'SALImages'):
        (root / folder).mkdir()
    names = [f'a{k}' for k in range(6)]
    for k, name in enumerate(names):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[8:20, 4:24] = k + 1
        PIL.Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(root / 'JPEGImages' / f'{name}.jpg')
        PIL.Image.fromarray(mask).save(root / 'SegmentationClassAug' / f'{name}.png')
        PIL.Image.fromarray((40000 * (mask > 0)).astype(np.uint16)).save(root / 'SALImages' / f'{name}.png')
    (root / 'classes.txt').write_text('\n'.join(f'class{k}' for k in range(1, CLASSES + 1)), 'utf-8-sig')
    (root / 'train.txt').write_text('\n'.join(names), 'utf-16')
    (root / 'tags.txt').write_text('\n'.join(f'{name} {k + 1}' for k, name in enumerate(names)), 'utf-8-sig')
    return root


@pytest.fixture(scope='module')
def images(world, tmp_path_factory):
    return voc.Images(voc.prepare(world, tmp_path_factory.mktemp('prepared')), 'train', world / 'SALImages')


def write_masks(folder, images, change):
    folder.mkdir()
    for index, info in enumerate(images.images):
        PIL.Image.fromarray(change(images.mask(index).copy())).save(folder / f'{info["id"]}.png')
    return folder


def test_lists_may_begin_with_a_byte_order_mark(images):
    assert [info['id'] for info in images.images] == [f'a{k}' for k in range(6)]
    assert images.categories[0] == 'class1' and [info['tags'] for info in images.images] == [[k + 1] for k in range(6)]


def test_undecided_pixels_are_missed(images, tmp_path):
    def undecided(mask):
        mask[8:10] = 255  # two of twelve rows of the object, and the background beside it
        return mask

    scores = score_masks(images, write_masks(tmp_path / 'masks', images, undecided))
    true = [images.mask(k) for k in range(6)]
    for label, name in enumerate(['background', *images.categories]):
        hit = sum(((m == label) & (np.arange(SIDE)[:, None] // 2 != 4)).sum() for m in true)
        union = sum((m == label).sum() for m in true)  # what is undecided is no class's false positive
        expected = hit / union if union else np.nan
        np.testing.assert_allclose(scores.iou[name], expected)
    assert scores.iou['class1'] == pytest.approx(10 / 12) and scores.iou['background'] < 1


def test_labels_of_no_class_are_named(images, tmp_path):
    masks = write_masks(tmp_path / 'masks', images, lambda mask: np.where(mask == 3, 90, mask).astype(np.uint8))
    for use in (lambda: score_masks(images, masks), lambda: mask_reader(masks, images)(2),
                lambda: ImageExamples(images, SIDE, target=mask_reader(masks, images)).example(2)):
        with pytest.raises(InputError, match=r'masks/a2\.png: label 90, but there are 8 classes; make it anew$'):
            use()
    np.testing.assert_array_equal(mask_reader(masks, images)(1), images.mask(1))


def test_saliency_of_16_bits(images):
    found = np.asarray(images.saliency(0))
    assert found.dtype == np.uint8 and set(np.unique(found)) == {0, round(40000 / 257)}


def test_photographs_are_labelled_as_they_are_shown(tmp_path):
    y, x = np.mgrid[:40, :60]
    upright = PIL.Image.fromarray(np.uint8(np.stack([x * 4, y * 6, 255 * (x < 20)], -1)))
    upright.save(tmp_path / 'tag1.jpg', quality=95)
    for tag, stored in STORED.items():
        exif = PIL.Image.Exif()
        exif[274] = tag
        upright.transpose(stored).save(tmp_path / f'tag{tag}.jpg', quality=95, exif=exif)
    PIL.Image.fromarray((np.mgrid[:40, :60][1] * 1000).astype(np.uint16)).save(tmp_path / 'tag9.png')
    (tmp_path / '._tag1.jpg').write_bytes(b'Mac OS X')
    # Which Pillow hands to another program.
    (tmp_path / 'page.eps').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\nshowpage\n')
    folder = ImageFolder(tmp_path, CLASSES)
    assert [info['id'] for info in folder.images] == [f'tag{k}' for k in range(1, 10)]
    for k, info in enumerate(folder.images):
        seen = np.asarray(folder.image(k)).astype(int)
        assert seen.shape == (info['height'], info['width'], 3) == (40, 60, 3)
        wanted = np.asarray(upright) if k < 8 else np.rint(x * 1000 / 257)[..., None].repeat(3, -1)
        assert abs(seen - wanted).mean() < 3


def test_labels_of_a_stream_are_read_as_those_of_a_file(world):
    content = (world / 'SegmentationClassAug' / 'a0.png').read_bytes()
    np.testing.assert_array_equal(voc.read_labels(io.BytesIO(content)), voc.read_labels(world / 'SegmentationClassAug' / 'a0.png'))
