"""Reads segmentation sets in the layout of PASCAL VOC 2012, such as SynthVOC and a COCO in that layout.

    <root>/JPEGImages/<id>.jpg
    <root>/SegmentationClassAug/<id>.png     labels as indices of a palette: 0 background, 1 ... C the classes, 255 ignored
    <root>/SALImages/<id>.png                8-bit saliency maps, which may also lie in another folder, see `Images`
    <root>/train.txt, train_aug.txt, ...     ids, one a line; each of `LISTS`, here or in ImageSets/Segmentation, is a split
    <root>/tags.txt                          optional: `<id> <label> <label> ...`; without it the tags are the labels in the mask
    <root>/classes.txt                       optional: the names of the classes, one a line; without it VOC's twenty
    <root>/SBD/cls/<id>.mat                  optional: the boundaries of SBD (Hariharan et al., ICCV 2011), see `read_boundaries`

`prepare` copies the files once into ArrayRecord files, with TensorFlow Datasets (TFDS) but without TensorFlow; `Images` reads them.
"""
import copy
import functools
import hashlib
import io
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import PIL.Image
import scipy.io
import scipy.sparse
import tensorflow_datasets as tfds
import tqdm
from jaxtyping import Bool, Float, UInt8

from stanet_jax import InputError
from stanet_jax.data import records
from stanet_jax.data.lists import read_text
from stanet_jax.media.picture import open_picture, to_grey

LISTS = {'train': 'train.txt', 'train_aug': 'train_aug.txt', 'validation': 'val.txt', 'test': 'test.txt'}  # of VOC 1,464; with SBD 10,582
CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'dining table', 'dog', 'horse',
           'motorbike', 'person', 'potted plant', 'sheep', 'sofa', 'train', 'tv monitor')
IGNORED = 255
INSTRUCTIONS = ('get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012 and SegmentationClassAug (the masks '
                'of SBD in VOC\'s colours); the folder then holds JPEGImages, SegmentationClassAug and lists of ids, as train_aug.txt')
IMAGES_PER_SHARD = 512


class Voc(tfds.core.ShardBasedBuilder):
    """The TFDS builder of such a set: a record for each image; `info.metadata` lists categories, images and what was skipped."""
    VERSION = tfds.core.Version('1.1.0')
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    code_path = None  # Otherwise TFDS looks beside the code for checksums of downloads, with a package that it does not require.

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, description='Images with tags and masks.', homepage='http://host.robots.ox.ac.uk/pascal/VOC/voc2012',
            disable_shuffling=True, metadata=tfds.core.MetadataDict(),
            features=tfds.features.FeaturesDict({
                'image': tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg'),
                'mask': tfds.features.Text(),  # the PNG file as it is, so that its palette stays; empty where there is none
            }))

    def _shard_iterators_per_split(self, dl_manager):
        root = pathlib.Path(dl_manager.manual_dir)
        paths = lists(root)
        self.info.metadata.update(categories=class_names(root), splits={split: [] for split in paths}, skipped=[],
                                  fingerprint=fingerprint(root))
        tags, shards = read_tags(root, len(class_names(root))), {}
        for split, path in paths.items():
            ids = read_ids(path)
            # TFDS writes the shards one after the other, in this order: each adds its images to the metadata.
            shards[split] = [functools.partial(self._shard, root, split, ids[k:k + IMAGES_PER_SHARD], tags)
                             for k in range(0, max(1, len(ids)), IMAGES_PER_SHARD)]
        return shards

    def _shard(self, root, split, ids, tags):
        images = self.info.metadata['splits'][split]
        read = functools.partial(try_read, root, tags=tags, classes=len(self.info.metadata['categories']))
        images_read = records.in_order(read, ids, os.cpu_count() or 1)
        progress = tqdm.tqdm(images_read, f'Preparing {split}', len(ids), mininterval=1, unit=' images')
        for name, (record, info, reason) in zip(ids, progress, strict=True):
            if reason:
                self.info.metadata['skipped'].append({'split': split, 'id': name, 'reason': reason})
                continue
            images.append(info)
            yield len(images), record

    def _download_and_prepare(self, dl_manager, download_config=None):
        super()._download_and_prepare(dl_manager, download_config)
        if not any(self.info.metadata['splits'].values()):
            # Raised here, where TFDS still deletes what it has written.
            skipped = self.info.metadata['skipped']
            reason = skipped[0]['reason'] if skipped else 'the lists are empty'
            raise InputError(f'{dl_manager.manual_dir}: no image can be used ({reason}); {INSTRUCTIONS}')


def lists(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Finds the list of ids of each split that has one."""
    found = {}
    for split, name in LISTS.items():
        there = [path for path in (root / name, root / 'ImageSets' / 'Segmentation' / name) if path.is_file()]
        if there:
            found[split] = there[0]
    return found


def read_ids(path: pathlib.Path) -> list[str]:
    """Reads a list of ids: the first field of each line, which may be the path of an image, as in DeepLab's lists."""
    return [pathlib.PurePosixPath(line.split()[0]).stem for line in read_text(path).splitlines() if line.strip()]


def class_names(root: pathlib.Path) -> list[str]:
    """Reads the names of the classes from `classes.txt`; without that file they are VOC's."""
    path = root / 'classes.txt'
    return [line.strip() for line in read_text(path).splitlines() if line.strip()] if path.exists() else list(CLASSES)


def read_tags(root: pathlib.Path, classes: int) -> dict[str, list[int]] | None:
    """Reads the sorted labels of each id in `tags.txt`; None where there is no such file, InputError where a line is wrong."""
    path = root / 'tags.txt'
    if not path.exists():
        return None
    tags = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name, *labels = line.split() or ['']
        if not all(label.isdecimal() and 1 <= int(label) <= classes for label in labels):
            raise InputError(f'{path}:{number}: must be an id and labels from 1 to {classes}, got {line!r}')
        tags[name] = sorted({int(label) for label in labels})
    return tags


def try_read(root: pathlib.Path, name: str, tags: Mapping[str, list[int]] | None, classes: int,
             ) -> tuple[dict[str, bytes] | None, dict[str, Any] | None, str]:
    """Gives the record and info of `read_image` and '', or None, None and the reason: one bad file must not end the others' work."""
    try:
        return *read_image(root, name, tags, classes), ''
    except (InputError, OSError) as error:
        return None, None, str(error)


def read_image(root: pathlib.Path, name: str, tags: Mapping[str, list[int]] | None, classes: int,
               ) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Reads and checks the files of an image.

    Returns:
        Its record, {'image': JPEG file, 'mask': PNG file or empty}, and its info, `{id, tags, height, width, mask}`.
    Raises:
        InputError, OSError: it cannot be used.
    """
    image, mask = root / 'JPEGImages' / f'{name}.jpg', root / 'SegmentationClassAug' / f'{name}.png'
    with open_picture(image, ('JPEG',)) as opened:
        size = opened.convert('RGB').size  # decodes it: a truncated one is an OSError
    labels = None
    if mask.exists():
        labels = read_labels(mask)
        if labels.shape[::-1] != size:
            raise InputError(f'{mask}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {size[0]}x{size[1]}; fetch both again')
        if (labels[labels != IGNORED] > classes).any():
            raise InputError(f'{mask}: label {labels[labels != IGNORED].max()}, but there are {classes} classes; name them all in '
                             'classes.txt')
    if tags is not None:
        known = tags.get(name, [])
    elif labels is not None:
        known = sorted(set(np.unique(labels).tolist()) - {0, IGNORED})
    else:
        raise InputError(f'{mask}: no such mask, and no tags.txt')
    record = {'image': image.read_bytes(), 'mask': mask.read_bytes() if labels is not None else b''}
    return record, {'id': name, 'tags': known, 'height': size[1], 'width': size[0], 'mask': labels is not None}


def read_labels(file: str | os.PathLike | io.BytesIO) -> UInt8[np.ndarray, 'h w']:
    """Reads the labels of a PNG file: indices of its palette, or grey values; InputError where it holds colours instead."""
    with open_picture(file) as image:
        if image.mode not in ('P', 'L'):
            raise InputError(f'{file}: its mode is {image.mode}; labels are a palette\'s places (P) or grey values (L)')
        return np.array(image)


def read_boundaries(file: str | os.PathLike) -> Bool[np.ndarray, 'h w']:
    """Reads the boundaries of an image in SBD, of all classes together.

    Args:
        file: a MATLAB file of SBD's folder `cls`, whose struct `GTcls` holds `Boundaries`, a sparse matrix for each class.
    Raises:
        InputError: it is missing or not such a file.
    """
    try:
        found = scipy.io.loadmat(file)['GTcls']['Boundaries'][0, 0].ravel()
        return np.any([scipy.sparse.csc_array(one).toarray() > 0 for one in found], axis=0)
    except (OSError, KeyError, IndexError, ValueError, TypeError, NotImplementedError, scipy.io.matlab.MatReadError) as error:
        raise InputError(f'{file}: not the boundaries of an image of SBD ({error}); get benchmark.tgz of SBD anew') from error


def palette() -> list[int]:
    """Gives VOC's 256 colours as 768 numbers; the bits of label k are spread over red, green and blue."""
    bits = np.arange(256)[:, None, None] >> (3 * np.arange(8)[:, None] + np.arange(3)) & 1
    return (bits << (7 - np.arange(8)[:, None])).sum(axis=1).ravel().tolist()


def label_image(labels: UInt8[np.ndarray, 'h w']) -> PIL.Image.Image:
    """Makes a palette image of labels, in VOC's colours."""
    image = PIL.Image.fromarray(labels).convert('P')
    image.putpalette(palette())
    return image


def fingerprint(root: pathlib.Path) -> str:
    """Computes a digest of the lists, classes and tags in a folder."""
    digest = hashlib.sha256()
    for path in (*lists(root).values(), root / 'classes.txt', root / 'tags.txt'):
        if path.exists():
            digest.update(f'{path.name} {path.stat().st_size}\n'.encode() + path.read_bytes())
    return digest.hexdigest()


def prepare(root: str | os.PathLike, prepared: str | os.PathLike = '') -> tfds.core.DatasetBuilder:
    """Copies the set into records; where they are there already, opens them.

    Args:
        root: the folder with JPEGImages.
        prepared: folder of the records, `<root>/prepared` by default; they are as large as images and masks.
    Returns:
        The TFDS builder. Its `info.metadata` holds `categories`; `splits`, for each split a list of images
        `{id, tags, height, width, mask}`, where tags are labels from 1 on and mask says whether there is one; `skipped`, a list of
        `{split, id, reason}`; and a `fingerprint`.
    Raises:
        InputError: there are no lists or no image that can be used, `prepared` cannot be written, or it was made from other lists.
    """
    root = pathlib.Path(root)
    if not lists(root):
        raise InputError(f'{root}: holds no list of ids ({", ".join(LISTS.values())}); {INSTRUCTIONS}')
    prepared = os.fspath(prepared) or root / 'prepared'
    builder, new = records.prepare(lambda: Voc(data_dir=os.fspath(prepared)), prepared, os.fspath(root), fingerprint(root))
    if new:
        counts = ', '.join(f'{split} {len(images)}' for split, images in builder.info.metadata['splits'].items())
        skipped = builder.info.metadata['skipped']
        print(f'prepared {counts} images; skipped {len(skipped)}' + (f', the first: {skipped[0]["reason"]}' if skipped else ''))
    return builder


class Images:
    """The images of one split, which can be read at random, from many threads and processes.

    Attributes:
        images: a dict of each image, see `prepare`, with the index of its `record`.
        categories: names of the classes; label k is `categories[k - 1]`.
        split: its name.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str, saliency: str | os.PathLike = ''):
        """Opens a split of a set that `prepare` gives; `saliency` is the folder of saliency maps `<id>.png`."""
        self._records = records.Records(builder, split)
        self.images: list[dict[str, Any]] = [{**image, 'record': k} for k, image in enumerate(builder.info.metadata['splits'][split])]
        self.categories: list[str] = builder.info.metadata['categories']
        self.split = split
        self._saliency = pathlib.Path(saliency)

    def __len__(self) -> int:
        return len(self.images)

    def only(self, indices: Iterable[int]) -> 'Images':
        """Gives an `Images` of these images alone."""
        result = copy.copy(self)
        result.images = [self.images[i] for i in indices]
        return result

    def tags(self, index: int) -> Float[np.ndarray, ' c']:
        """Gives the tags of an image, 1 for each class that it has and 0 for the others."""
        return np.isin(np.arange(1, len(self.categories) + 1), self.images[index]['tags']).astype(np.float32)

    def image(self, index: int) -> PIL.Image.Image:
        """Reads an image, in RGB."""
        return PIL.Image.open(io.BytesIO(self._records.read(self.images[index]['record'], 'image')), formats=['JPEG']).convert('RGB')

    def mask(self, index: int) -> UInt8[np.ndarray, 'h w']:
        """Reads the labels of an image; all are `IGNORED` where it has no mask."""
        info = self.images[index]
        if not info['mask']:
            return np.full((info['height'], info['width']), IGNORED, np.uint8)
        return read_labels(io.BytesIO(self._records.read(info['record'], 'mask')))

    def saliency(self, index: int) -> PIL.Image.Image:
        """Reads the saliency map of an image in 8 bits, resized to the image's size."""
        info = self.images[index]
        with open_picture(self._saliency / f'{info["id"]}.png') as image:
            return to_grey(image).resize((info['width'], info['height']), PIL.Image.Resampling.BILINEAR)

    def with_saliency(self) -> tuple['Images', int]:
        """Gives the images that have a readable saliency map, and the number of the others; InputError where none has one."""
        def has(info):
            try:
                with open_picture(self._saliency / f'{info["id"]}.png') as image:
                    image.verify()
                return True
            except InputError:
                return False
        indices = [i for i, info in enumerate(self.images) if has(info)]
        if not indices:
            raise InputError(f'{self._saliency}: holds no saliency map <id>.png of the {self.split} images; put them there, or let a '
                             'student make them: stanet distill --config=saliency')
        return self.only(indices), len(self) - len(indices)
