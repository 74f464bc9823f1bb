"""EPS (Lee et al., CVPR 2021): tags and saliency teach a classifier, its maps make pseudo-masks, and these teach a segmentation net.

The first stage trains `EPS` (`losses.eps_saliency`), `masks` writes what its maps say of the training images,

    <workdir>/masks/<split>/<id>.png     labels in VOC's colours, as large as the image
    <workdir>/masks/<split>/tags.jsonl   the tags that they were made with

and the second stage trains `DeepLab` on these files. Both nets are trained by `loop.train` and look at images by `look`.
"""
import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from stanet_jax import InputError, losses
from stanet_jax.data import augmentation as augment
from stanet_jax.data import fragments, synthvoc, voc
from stanet_jax.evaluation import metrics
from stanet_jax.media import contact_sheet as visualize
from stanet_jax.models import segmentation
from stanet_jax.stages import classifiers as classification
from stanet_jax.training import checkpoint, sharding
from stanet_jax.training import loop as training
from stanet_jax.training.loop import need

SELECTIONS = ('adaptive', 'naive', 'predefined', 'none')  # 'none': tags alone, whose class activation maps are the baseline
FILL = np.round(255 * augment.MEAN).astype(np.uint8)  # of what lies outside an image: 0 for the nets

# ------------------------------------------------------------------------------------------------------------------- images


def open_data(config):
    """The prepared set's images, `{split: voc.Images}` of the splits that hold any; made or prepared first by process 0."""
    data = config.data

    def prepare():
        if data.name == 'synthvoc' and not os.path.exists(data.root):
            synthvoc.generate(data.root)
        return voc.prepare(data.root, data.prepared)

    if jax.process_index() == 0:
        builder = prepare()
    sharding.barrier('data')
    if jax.process_index() > 0:
        builder = prepare()
    saliency = data.saliency or os.path.join(data.root, 'SALImages')
    splits = {split: voc.Images(builder, split, saliency) for split in builder.info.metadata['splits']}
    return {split: images for split, images in splits.items() if len(images)}


def place(image, scale, corner, side, mirror, fill, resample=PIL.Image.Resampling.BILINEAR):
    """A PIL image scaled, mirrored and moved by -corner (y, x) in a square of `side` pixels; uint8 [side, side] or [side, side, 3]."""
    size = [max(1, round(scale * n)) for n in image.size]
    image = image.resize(size, resample)
    if mirror:
        image = image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    result = PIL.Image.new(image.mode, (side, side), fill)
    result.paste(image, (-corner[1], -corner[0]))
    return np.asarray(result)


@dataclasses.dataclass(frozen=True)
class Examples:
    """What the nets learn from, as `fragments.batches` takes it: images at random scales and places, or as a whole.

    Attributes:
        images: a `voc.Images`.
        side: of the square that they are cropped to or set into.
        long_side: range that the longer side is resized to, at random; without augmentation images are as they are, or made to fit.
        saliency: whether `saliency` uint8 [side, side] is read, 0 outside of the image.
        target: `index -> labels` uint8 [h, w], read as `target` [side, side], `voc.IGNORED` outside of the image; None for none.
    """
    images: Any
    side: int
    long_side: tuple = (0, 0)
    saliency: bool = False
    target: Any = None

    def __len__(self):
        return len(self.images)

    def example(self, index, rng=None):
        """Example `index`: `frames` uint8 [side, side, 3], `tags`, `mask` and what was asked for."""
        image = self.images.image(index)
        scale, mirror, corner = min(1, self.side / max(image.size)), False, (0, 0)
        if rng is not None:
            scale = rng.integers(self.long_side[0], self.long_side[1] + 1) / max(image.size)
            mirror = bool(rng.integers(2))
            # Anywhere that the square lies within the image, or the image within the square.
            room = [round(scale * n) - self.side for n in (image.height, image.width)]
            corner = [int(rng.integers(min(0, r), max(0, r) + 1)) for r in room]
        put = functools.partial(place, scale=scale, corner=corner, side=self.side, mirror=mirror)
        result = {'mask': np.True_, 'frames': put(image, fill=tuple(FILL.tolist())), 'tags': self.images.tags(index)}
        if self.saliency:
            result['saliency'] = put(self.images.saliency(index), fill=0)
        if self.target:
            labels = PIL.Image.fromarray(self.target(index))
            result['target'] = put(labels, fill=voc.IGNORED, resample=PIL.Image.Resampling.NEAREST)
        return result


def mask_reader(folder, images):
    """`index -> labels`, of the pseudo-masks in a folder; InputError where one is missing or of another size."""
    folder = pathlib.Path(folder)

    def read(index):
        info = images.images[index]
        path = folder / f'{info["id"]}.png'
        if not path.exists():
            raise InputError(f'{path}: no such mask; make them first: python distill.py --config=configs/eps.py')
        labels = voc.read_labels(path)
        if labels.shape != (info['height'], info['width']):
            raise InputError(f'{path}: {labels.shape[1]}x{labels.shape[0]} pixels, its image has {info["width"]}x{info["height"]}')
        return labels
    return read


# --------------------------------------------------------------------------------------------------------------------- nets


def make_model(config, net, classes):
    """EPS or DeepLab, as the config has it."""
    fields = {'classes': classes, 'encoder': config.encoder.name, 'batch_norm': config.batch_norm,
              'dtype': classification.compute_dtype(config)}
    return segmentation.EPS(**fields) if net == 'EPS' else segmentation.DeepLab(**fields, rates=tuple(config.rates), width=config.width)


def eps_loss(variables, batch, key, *, model, jitter, selection, **fields):
    """`L_cls + L_sal` of each example [b] (EPS Sec. 3.3), and the new batch statistics; `fields` are of `losses.eps_saliency`."""
    maps, updated = apply(variables, batch, key, model, jitter)
    result = losses.multilabel_soft_margin(maps[..., :-1].mean(axis=(1, 2)), batch['tags'])
    if selection != 'none':
        saliency = jax.image.resize(batch['saliency'].astype(jnp.float32) / 255, maps.shape[:3], 'nearest')

        def one(maps, saliency, tags):
            return losses.eps_saliency(maps[None], saliency[None], tags[None], selection=selection, **fields)[0]

        result += jax.vmap(one)(maps, saliency, batch['tags'])
    return result, updated


def deeplab_loss(variables, batch, key, *, model, jitter):
    """Cross-entropy with the labels of each example [b], at the image's size, and the new batch statistics."""
    logits, updated = apply(variables, batch, key, model, jitter)
    return losses.pixel_cross_entropy(segmentation.resized(logits, batch['target'].shape[1:]), batch['target']), updated


def apply(variables, batch, key, model, jitter):
    """What a net makes of a batch in training, and the new batch statistics."""
    out, updated = model.apply(variables, **classification.inputs(batch, key, jitter), train=True, mask=batch['mask'],
                               mutable=['batch_stats'], rngs={'dropout': key})
    return out, updated.get('batch_stats', {})


def look(variables, frames, *, model, scales, activation):
    """A net's maps of images at several scales and mirrored, summed.

    Args:
        frames: uint8 [b, h, w, 3].
        scales: of the images.
        activation: 'softmax', or 'relu' for class activation maps.
    Returns:
        [b, h, w, C + 1], each scale's maps resized to the images.
    """
    act, x = {'softmax': jax.nn.softmax, 'relu': jax.nn.relu}[activation], augment.normalise(frames)
    total = 0
    for scale in scales:
        scaled = segmentation.resized(x, [max(1, round(scale * n)) for n in frames.shape[1:3]])
        for turn in (lambda x: x, lambda x: x[:, :, ::-1]):
            total += segmentation.resized(turn(act(model.apply(variables, turn(scaled)))), frames.shape[1:3])
    return total


def pseudo_labels(maps, tags, valid, background=0.2):
    """Labels out of EPS's maps and the tags: each tagged class over its maximum, the background a constant, the largest wins.

    Args:
        maps: [b, h, w, c], non-negative, without the background's; tags: [b, c].
        valid: bool [b, h, w], False outside of the image.
        background: the score that a class must be above.
    Returns:
        uint8 [b, h, w], 0 for the background.
    """
    maps = jnp.where(valid[..., None], maps, 0)
    scores = maps / jnp.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-5) * tags[:, None, None]
    scores = jnp.concatenate([jnp.full((*scores.shape[:3], 1), background), scores], axis=-1)
    return scores.argmax(axis=-1).astype(jnp.uint8)


def labels_of(variables, batch, *, model, config):
    """The labels uint8 [b, h, w] that a net gives images, with EPS by their tags; `batch`: `frames`, `tags` and `valid`."""
    cam = config.get('selection') == 'none'
    maps = look(variables, batch['frames'], model=model, scales=config.masks.scales, activation='relu' if cam else 'softmax')
    if config.nets[0] == 'DeepLab':
        return maps.argmax(axis=-1).astype(jnp.uint8)
    return pseudo_labels(maps[..., :-1], batch['tags'], batch['valid'], config.masks.background)


# ----------------------------------------------------------------------------------------------------------------- training


def check(config):
    """Refuses a config whose fields cannot be meant, with the field's name."""
    data = config.data
    need('nets', config.nets, len(config.nets) == 1, 'must name one net')
    training.check(config, ('EPS', 'DeepLab'))
    need('data.name', data.name, data.name in ('voc', 'synthvoc'), 'must be voc or synthvoc')
    need('data.long_side', data.long_side, len(data.long_side) == 2 and 0 < data.long_side[0] <= data.long_side[1], 'must be a range')
    need('masks.scales', config.masks.scales, config.masks.scales and min(config.masks.scales) > 0, 'must be numbers above 0')
    for field in ('canvas', 'batch'):
        need(f'masks.{field}', config.masks[field], config.masks[field] > 0, 'must be above 0')
    if config.nets[0] == 'EPS':
        need('selection', config.selection, config.selection in SELECTIONS, f'must be one of {", ".join(SELECTIONS)}')
        need('threshold', config.threshold, 0 <= config.threshold <= 1, 'must be in [0, 1]')
        need('mix', config.mix, 0 <= config.mix <= 1, 'must be in [0, 1]')
        need('masks.background', config.masks.background, 0 < config.masks.background < 1, 'must be between 0 and 1')
    else:
        need('rates', config.rates, config.rates and min(config.rates) > 0, 'must be numbers above 0')
        need('width', config.width, config.width >= 0, 'must be 0 or more')
        need('pseudo_masks', config.pseudo_masks, os.path.isdir(config.pseudo_masks),
             'no such folder; make them first: python distill.py --config=configs/eps.py')


def loss_of(config, net, model, categories):
    """The loss function of a net, as `loop.update` takes it."""
    fields = {'model': model, 'jitter': tuple(config.jitter)}
    if net == 'DeepLab':
        return functools.partial(deeplab_loss, **fields)
    unknown = sorted(set(config.background_classes) - set(categories))
    need('background_classes', config.background_classes, not unknown, f'the set has no class {", ".join(unknown)}')
    return functools.partial(eps_loss, **fields, selection=config.selection, threshold=config.threshold, mix=config.mix,
                             background_classes=np.isin(categories, config.background_classes))


def train(config, workdir):
    """Trains the config's net in `workdir`; one that was begun goes on, one that is done is left."""
    check(config)
    workdir, splits, (net,) = training.open_workdir(config, workdir), open_data(config), config.nets
    if 'train' not in splits:
        raise InputError(f'{config.data.root}: no image to train on; see what was skipped above')
    images, mesh = splits['train'], sharding.make_mesh()
    held_out = splits.get('validation') or splits.get('test')
    model = make_model(config, net, len(images.categories))
    target = mask_reader(config.pseudo_masks, images) if net == 'DeepLab' else None
    saliency = net == 'EPS' and config.selection != 'none'
    if saliency:
        images, missing = images.with_saliency()
        if missing and jax.process_index() == 0:
            print(f'{missing} images have no saliency map that can be read, and are left out of the training')
    examples = Examples(images, config.data.side, tuple(config.data.long_side), saliency, target)
    example = {k: v[None] for k, v in examples.example(0).items()}
    evaluate = make_evaluation(model, held_out, config, mesh) if held_out else lambda variables: {}
    training.train(workdir / net, net, config, mesh, examples=examples, evaluate=evaluate,
                   initial=lambda: classification.initial_variables(config, net, model, example, workdir),
                   loss_fn=loss_of(config, net, model, images.categories))
    if held_out and jax.process_index() == 0:
        show(config, workdir, model, held_out)


def make_evaluation(model, images, config, mesh):
    """`variables -> {'mean_iou'}` of the first `config.held_out` images, at one scale and set into the square of the training."""
    images = images.only([i for i, info in enumerate(images.images) if info['mask']][:config.held_out])
    if not images:
        return lambda variables: {}
    single = config.copy_and_resolve_references()
    single.masks.scales = (1.0,)
    examples, labels = Examples(images, config.data.side, target=images.mask), len(images.categories) + 1

    @functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
    def tally(variables, batch):
        valid = (batch['target'] != voc.IGNORED) & batch['mask'][:, None, None]
        found = labels_of(variables, {**batch, 'valid': valid}, model=model, config=single)
        return jnp.zeros((labels, labels), jnp.int32).at[jnp.where(valid, batch['target'], 0), found].add(valid)

    def evaluate(variables):
        batches = fragments.batches(examples, batch=config.batch, slots=sharding.slots(config.batch))
        confusion = sum(np.int64(jax.device_get(tally(variables, sharding.put(batch, mesh)))) for batch in batches)
        return {'mean_iou': float(np.nanmean(metrics.ious(confusion)))}
    return evaluate


def show(config, workdir, model, images, count=12):
    """Draws images, their true labels and what the net says of them: `labels.png` in the workdir."""
    examples = Examples(images.only(range(min(count, len(images)))), config.data.side, target=images.mask)
    found = [examples.example(index) for index in range(len(examples))]
    batch = {k: np.stack([of[k] for of in found]) for k in found[0]}
    valid = batch['target'] != voc.IGNORED
    labels = jax.jit(functools.partial(labels_of, model=model, config=config))(load(workdir, config), {**batch, 'valid': valid})
    rows = [(info['id'], [('image', frame), ('true', colours(true)), (config.nets[0], over(frame, label))])
            for info, frame, true, label in zip(images.images, batch['frames'], batch['target'], np.asarray(labels), strict=False)]
    visualize.contact_sheet(workdir / 'labels.png', rows)
    print(f'what the net says: {workdir / "labels.png"}')


def colours(labels):
    """Labels uint8 [h, w] in VOC's colours, uint8 [h, w, 3]."""
    return np.uint8(voc.palette()).reshape(256, 3)[labels]


def over(frame, labels):
    """Labels [h, w] over an image uint8 [h, w, 3], the background left as it is."""
    return np.where(labels[..., None] > 0, (0.4 * frame + 0.6 * colours(labels)), frame).astype(np.uint8)


def run_config(workdir):
    """The config of a run of EPS or DeepLab; InputError for others."""
    config = training.read_config(workdir)
    if config.get('task') not in ('eps', 'deeplab'):
        raise InputError(f'{workdir}: a run of {config.get("task")!r}; give one of configs/eps.py or configs/deeplab.py')
    return config


def trained(config, workdir, classes):
    """The config's net and its variables, of the run in `workdir`."""
    return make_model(config, config.nets[0], classes), load(workdir, config)


def load(workdir, config):
    """The variables of the net of a run."""
    return checkpoint.load_variables(pathlib.Path(workdir) / config.nets[0] / 'variables')
