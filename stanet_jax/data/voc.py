"""The reader of sets for segmentation in the layout of PASCAL VOC 2012, which SynthAVE's export and a COCO that was sorted so have too.

    <root>/JPEGImages/<id>.jpg
    <root>/SegmentationClassAug/<id>.png     labels as a palette's places: 0 background, 1 ... C the classes, 255 ignored
    <root>/SALImages/<id>.png                saliency, 8 bit; or in any other folder, see `saliency`
    <root>/train_aug.txt, val.txt            ids, one a line; `LISTS` says under which names, here or in ImageSets/Segmentation
    <root>/tags.txt                          optional: `<id> <label> <label> ...`; without it the tags are the labels in the mask
    <root>/classes.txt                       optional: the names of the classes, one a line; without it VOC's twenty

`prepare` copies the files once into ArrayRecord files by way of TensorFlow Datasets (without TensorFlow); `Images` reads them.
"""
import copy
import functools
import hashlib
import io
import os
import pathlib

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds
import tqdm

from stanet_jax import InputError
from stanet_jax.data import records

LISTS = {'train': ('train_aug.txt', 'train.txt'), 'validation': ('val.txt',), 'test': ('test.txt',)}
CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'dining table', 'dog', 'horse',
           'motorbike', 'person', 'potted plant', 'sheep', 'sofa', 'train', 'tv monitor')
IGNORED = 255
INSTRUCTIONS = ('get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012 and SegmentationClassAug (the masks '
                'of SBD in VOC\'s colours); the folder then holds JPEGImages, SegmentationClassAug and lists of ids, as train_aug.txt')
IMAGES_PER_SHARD = 512


class Voc(tfds.core.ShardBasedBuilder):
    """One record per image; `info.metadata` lists categories, images and what was skipped, see `prepare`."""
    VERSION = tfds.core.Version('1.0.0')
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    code_path = None  # TFDS would look for checksums of downloads beside it, with a package that it does not require.

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, description='Images with tags and masks.', homepage='http://host.robots.ox.ac.uk/pascal/VOC/voc2012',
            disable_shuffling=True, metadata=tfds.core.MetadataDict(),
            features=tfds.features.FeaturesDict({
                'image': tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg'),
                'mask': tfds.features.Text(),  # the PNG file as it is, so that its palette's places stay; empty where there is none
            }))

    def _shard_iterators_per_split(self, dl_manager):
        root = pathlib.Path(dl_manager.manual_dir)
        found = lists(root)
        self.info.metadata.update(categories=class_names(root), splits={split: [] for split in found}, skipped=[],
                                  fingerprint=fingerprint(root))
        tags, shards = read_tags(root, len(class_names(root))), {}
        for split, path in found.items():
            ids = read_ids(path)
            # Asked for one after the other, in this order: each adds its images to the metadata.
            shards[split] = [functools.partial(self._shard, root, split, ids[k:k + IMAGES_PER_SHARD], tags)
                             for k in range(0, max(1, len(ids)), IMAGES_PER_SHARD)]
        return shards

    def _shard(self, root, split, ids, tags):
        images = self.info.metadata['splits'][split]
        read = functools.partial(try_read, root, tags=tags, classes=len(self.info.metadata['categories']))
        found = records.in_order(read, ids, os.cpu_count() or 1)
        for name, (record, info, reason) in zip(ids, tqdm.tqdm(found, f'Preparing {split}', len(ids), mininterval=1, unit=' images'),
                                                strict=True):
            if reason:
                self.info.metadata['skipped'].append({'split': split, 'id': name, 'reason': reason})
                continue
            images.append(info)
            yield len(images), record

    def _download_and_prepare(self, dl_manager, download_config=None):
        super()._download_and_prepare(dl_manager, download_config)
        if not any(self.info.metadata['splits'].values()):
            # Raised here, where TFDS still throws away what it has written.
            skipped = self.info.metadata['skipped']
            reason = skipped[0]['reason'] if skipped else 'the lists are empty'
            raise InputError(f'{dl_manager.manual_dir}: no image can be used ({reason}); {INSTRUCTIONS}')


def lists(root):
    """{split: path of its list of ids}, of the lists that there are."""
    found = {}
    for split, names in LISTS.items():
        paths = [folder / name for name in names for folder in (root, root / 'ImageSets' / 'Segmentation')]
        there = [path for path in paths if path.is_file()]
        if there:
            found[split] = there[0]
    return found


def read_ids(path):
    """The ids of a list: of each line what its first field names, which may be a path as in DeepLab's lists."""
    return [pathlib.PurePosixPath(line.split()[0]).stem for line in path.read_text().splitlines() if line.strip()]


def class_names(root):
    path = root / 'classes.txt'
    return [line.strip() for line in path.read_text().splitlines() if line.strip()] if path.exists() else list(CLASSES)


def read_tags(root, classes):
    """{id: labels} of `tags.txt`; None where there is no such file."""
    path = root / 'tags.txt'
    if not path.exists():
        return None
    tags = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, *labels = line.split() or ['']
        if not all(label.isdecimal() and 1 <= int(label) <= classes for label in labels):
            raise InputError(f'{path}:{number}: must be an id and labels from 1 to {classes}, got {line!r}')
        tags[name] = sorted({int(label) for label in labels})
    return tags


def try_read(root, name, tags, classes):
    """`read_image`'s record and info, and '', or why there are none. One bad file must not end the others' work."""
    try:
        return *read_image(root, name, tags, classes), ''
    except (InputError, OSError) as error:
        return None, None, str(error)


def read_image(root, name, tags, classes):
    """An image's record, and its `{id, tags, height, width, mask}`; InputError or OSError where it cannot be used."""
    image, mask = root / 'JPEGImages' / f'{name}.jpg', root / 'SegmentationClassAug' / f'{name}.png'
    with PIL.Image.open(image, formats=['JPEG']) as opened:
        size = opened.convert('RGB').size  # decodes it: a truncated one is an OSError
    labels = None
    if mask.exists():
        labels = read_labels(mask)
        if labels.shape[::-1] != size:
            raise InputError(f'{mask}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {size[0]}x{size[1]}')
        if (labels[labels != IGNORED] > classes).any():
            raise InputError(f'{mask}: label {labels[labels != IGNORED].max()}, but there are {classes} classes')
    if tags is None and labels is None:
        raise InputError(f'{mask}: no such mask, and no tags.txt')
    known = tags.get(name, []) if tags is not None else sorted(set(np.unique(labels).tolist()) - {0, IGNORED})
    record = {'image': image.read_bytes(), 'mask': mask.read_bytes() if labels is not None else b''}
    return record, {'id': name, 'tags': known, 'height': size[1], 'width': size[0], 'mask': labels is not None}


def read_labels(file):
    """The labels of a PNG, uint8 [h, w]: a palette's places, or grey values; InputError where it holds colours instead."""
    with PIL.Image.open(file) as image:
        if image.mode not in ('P', 'L'):
            raise InputError(f'{file}: its mode is {image.mode}; labels are a palette\'s places (P) or grey values (L)')
        return np.array(image)


def palette():
    """VOC's colours: 768 numbers, of label k the bits of k spread over red, green and blue."""
    bits = np.arange(256)[:, None, None] >> (3 * np.arange(8)[:, None] + np.arange(3)) & 1
    return (bits << (7 - np.arange(8)[:, None])).sum(axis=1).ravel().tolist()


def label_image(labels):
    """Labels uint8 [h, w] as a PIL image in VOC's colours."""
    image = PIL.Image.fromarray(labels).convert('P')
    image.putpalette(palette())
    return image


def fingerprint(root):
    digest = hashlib.sha256()
    for path in (*lists(root).values(), root / 'classes.txt', root / 'tags.txt'):
        if path.exists():
            digest.update(f'{path.name} {path.stat().st_size}\n'.encode() + path.read_bytes())
    return digest.hexdigest()


def prepare(root, prepared=''):
    """Copies the set into records, once; later calls open what is there.

    Args:
        root: the folder with JPEGImages.
        prepared: where the records go, `<root>/prepared` by default; as large as images and masks.
    Returns:
        The TFDS builder. Its `info.metadata` holds `categories`; `splits`: for each a list of images `{id, tags, height, width, mask}`,
        tags being labels from 1 on, mask whether there is one; `skipped`: a list of `{split, id, reason}`; and a `fingerprint`.
    Raises:
        InputError: no lists, no image that can be used, `prepared` cannot be written, or it was made of other lists.
    """
    root = pathlib.Path(root)
    if not lists(root):
        raise InputError(f'{root}: holds no list of ids ({", ".join(name for names in LISTS.values() for name in names)}); {INSTRUCTIONS}')
    prepared = os.fspath(prepared) or root / 'prepared'
    builder, new = records.prepare(lambda: Voc(data_dir=os.fspath(prepared)), prepared, os.fspath(root), fingerprint(root))
    if new:
        counts = ', '.join(f'{split} {len(images)}' for split, images in builder.info.metadata['splits'].items())
        skipped = builder.info.metadata['skipped']
        print(f'prepared {counts} images; skipped {len(skipped)}' + (f', the first: {skipped[0]["reason"]}' if skipped else ''))
    return builder


class Images:
    """The images of one split, read at random from many threads and processes.

    Attributes:
        images: list of dicts, see `prepare`.
        categories: names of the classes; label k is `categories[k - 1]`.
        split: its name.
        saliency: folder of saliency maps `<id>.png`.
    """

    def __init__(self, builder, split, saliency=''):
        self._records = records.Records(builder, split)
        self.images = [{**image, 'record': k} for k, image in enumerate(builder.info.metadata['splits'][split])]
        self.categories, self.split = builder.info.metadata['categories'], split
        self._saliency = pathlib.Path(saliency)

    def __len__(self):
        return len(self.images)

    def only(self, indices):
        """These images alone, as another `Images`."""
        result = copy.copy(self)
        result.images = [self.images[i] for i in indices]
        return result

    def tags(self, index):
        """float32 [c], multi-hot."""
        return np.isin(np.arange(1, len(self.categories) + 1), self.images[index]['tags']).astype(np.float32)

    def image(self, index):
        """The image, a PIL image in RGB."""
        return PIL.Image.open(io.BytesIO(self._records.read(self.images[index]['record'], 'image')), formats=['JPEG']).convert('RGB')

    def mask(self, index):
        """The labels, uint8 [h, w]; all ignored where there are none."""
        info = self.images[index]
        if not info['mask']:
            return np.full((info['height'], info['width']), IGNORED, np.uint8)
        return read_labels(io.BytesIO(self._records.read(info['record'], 'mask')))

    def saliency(self, index):
        """The saliency map, a PIL image of 8 bits, as large as the image."""
        info = self.images[index]
        with PIL.Image.open(self._saliency / f'{info["id"]}.png') as image:
            return image.convert('L').resize((info['width'], info['height']), PIL.Image.Resampling.BILINEAR)

    def with_saliency(self):
        """Those that have a saliency map, and how many have none that can be read; InputError where none has."""
        def has(info):
            try:
                with PIL.Image.open(self._saliency / f'{info["id"]}.png') as image:
                    image.verify()
                return True
            except (OSError, SyntaxError):  # which is what Pillow raises of a damaged PNG
                return False
        found = [i for i, info in enumerate(self.images) if has(info)]
        if not found:
            raise InputError(f'{self._saliency}: holds no saliency map <id>.png of the {self.split} images; put them there, or let a '
                             'student make them: python distill.py --config=configs/saliency.py')
        return self.only(found), len(self) - len(found)
