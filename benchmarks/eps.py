"""The experiment for EPS: classifiers trained on tags with and without saliency, their pseudo-masks, and DeepLab trained on these.

    python -m benchmarks.eps --seeds=3 --workdir=runs/experiment-eps --out=docs/results.md
    python -m benchmarks.eps --seeds=1 --epochs=12 --selections none adaptive --workdir=runs/demo-eps --out=runs/demo-eps/eps.md

Every seed has its own world (`stanet_jax.data.synthvoc`) and its own nets. What is done is skipped, so that an interrupted run goes on.
Results are written as a part of the page `--out`; `picture.png` in the workdir shows the maps and masks of each stage for some images.
"""
import argparse
import functools
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from benchmarks.experiment import replace_part
from benchmarks.table1 import mean_and_spread, verdict
from configs import deeplab, eps
from stanet_jax import InputError, compilation, losses
from stanet_jax.data import synthave, synthvoc
from stanet_jax.eps import masks, training
from stanet_jax.eps.images import ImageExamples, mask_reader, open_images
from stanet_jax.eps.scores import score_masks
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.overlay import heat, overlay
from stanet_jax.models import segmentation as nets
from stanet_jax.stages.nets import net_inputs
from stanet_jax.workdir import open_workdir, replace_text

NAMES = {'none': 'CAM (tags alone)', 'naive': 'EPS naive', 'predefined': 'EPS predefined', 'adaptive': 'EPS adaptive'}
TITLE = 'EPS on SynthVOC'


def configs_of(args, seed, selection):
    """The configs of EPS and of DeepLab on its masks, the folder of their runs, and the settings of the seed's world."""
    first, second = eps.get_config(), deeplab.get_config()
    world = synthave.Settings(train=args.train, validation=args.held_out, test=args.held_out, seed=seed)
    for config in (first, second):
        config.seed, config.data.root = seed, str(args.workdir / f'world{seed}')
        config.epochs[config.nets[0]] = args.epochs
    first.selection, folder = selection, args.workdir / f'seed{seed}' / selection
    first.background_classes = tuple(synthave.category_name(k) for k in range(world.categories)[-2:])  # what is mostly small
    second.pseudo_masks = str(folder / 'masks' / 'train')
    return first, second, folder, world


def run_seed(args, seed):
    """Runs all stages of a seed and returns {name: scores}, each a `scores.MaskScores` as a dict, with `saliency` of EPS's estimate."""
    found = {}
    for selection in args.selections:
        first, second, folder, world = configs_of(args, seed, selection)
        if not pathlib.Path(first.data.root).exists():
            synthvoc.generate(first.data.root, world)
        path, splits = open_workdir(first, folder) / 'scores.json', open_images(first)
        if not path.exists():
            training.train(first, folder)
            masks.run(first, folder)
            of_masks = score_masks(splits['train'], folder / 'masks' / 'train', f'{first.data.root}/Context')
            scores = {NAMES[selection]: {**of_masks.to_dict(), 'saliency': foreground_ious(first, folder, splits['train'])}}
            if selection == args.selections[-1]:
                training.train(second, folder / 'deeplab')
                for split in ('train', 'validation'):
                    out = folder / 'deeplab' / 'masks' / split
                    masks.write_labels(second, *training.trained(second, folder / 'deeplab', len(splits[split].categories)),
                                       splits[split], out)
                    scores[f'DeepLab, {split}'] = score_masks(splits[split], out, f'{first.data.root}/Context').to_dict()
            replace_text(path, json.dumps(scores, indent=2) + '\n')
        found |= json.loads(path.read_text())
    picture(args, seed)
    return found


def spread(values, count):
    """At most `count` values of a list, evenly spread over it."""
    count = min(count, len(values))
    return [values[k * len(values) // count] for k in range(count)]


def estimates(config, folder, images):
    """EPS's outputs for images, at one scale.

    A dict of the frames, the given and the estimated saliency, the maximum over the tags' maps, each over its own maximum, and the true
    labels.
    """
    model, variables = training.trained(config, folder, len(images.categories))
    examples = ImageExamples(images, config.data.side, saliency=True, target=images.mask)
    found = [examples.example(i) for i in range(len(images))]
    batch = {k: np.stack([of[k] for of in found]) for k in found[0]}

    @jax.jit
    def look(variables, batch):
        maps = model.apply(variables, **net_inputs(batch, model.encoder))
        saliency = jax.image.resize(batch['saliency'] / 255.0, maps.shape[:3], 'nearest')
        tagged = (jax.nn.relu(maps) if config.selection == 'none' else jax.nn.softmax(maps))[..., :-1] * batch['tags'][:, None, None]
        tagged = (tagged / jnp.maximum(tagged.max(axis=(1, 2), keepdims=True), 1e-5)).max(axis=-1)  # as in `pseudo_scores`
        return losses.eps_saliency(maps, saliency, batch['tags'])[1]['estimate'], tagged

    estimate, tagged = (np.asarray(nets.resized(x, batch['target'].shape[1:])[..., 0])
                        for x in (y[..., None] for y in look(variables, batch)))
    return {'frames': batch['frames'], 'saliency': batch['saliency'] / 255, 'estimate': estimate, 'tagged': tagged, 'true': batch['target']}


def foreground_ious(config, folder, images, count=192):
    """The intersection over union with the true foreground of the given and of the estimated saliency, thresholded at one half."""
    found = estimates(config, folder, images.only(spread(range(len(images)), count)))
    true = found['true'] > 0
    return {k: float(((found[k] > .5) & true).sum() / ((found[k] > .5) | true).sum()) for k in ('saliency', 'estimate')}


def picture(args, seed, count=3):
    """Draws `picture.png`: saliency, maps, masks, DeepLab's and true labels of images with the first category and with several others."""
    rows = []
    for selection in dict.fromkeys((args.selections[0], args.selections[-1])):
        config, _, folder, _ = configs_of(args, seed, selection)
        images = open_images(config)['train']
        tags = [info['tags'] for info in images.images]
        chosen = (spread([i for i, of in enumerate(tags) if 1 in of], count)
                  + spread([i for i, of in enumerate(tags) if 1 not in of and len(of) > 1], count))
        found, pseudo = estimates(config, folder, images.only(chosen)), mask_reader(folder / 'masks' / 'train', images)
        if not rows:
            rows = [(', '.join(images.categories[tag - 1] for tag in tags[i]),
                     [('image', frame), ('saliency given', heat(saliency))])
                    for i, frame, saliency in zip(chosen, found['frames'], found['saliency'], strict=True)]
        name = NAMES[selection].split()[0]
        for (_, cells), i, frame, tagged in zip(rows, chosen, found['frames'], found['tagged'], strict=True):
            cells += [(f'{name} map', overlay(frame, tagged)), (f'{name} mask', training.colours(pseudo(i)))]
    labels = mask_reader(folder / 'deeplab' / 'masks' / 'train', images)
    for (_, cells), i, frame in zip(rows, chosen, found['frames'], strict=True):
        cells += [('DeepLab', training.over(frame, labels(i))), ('truth', training.colours(images.mask(i)))]
    contact_sheet(args.workdir / 'picture.png', rows, side=96, across=1)
    print(f'what each stage makes of some images: {args.workdir / "picture.png"}')


def expectation(text, values, least):
    """A line of a Markdown list: whether each seed's value is above `least`, see `table1.verdict`."""
    return f'- {text}, expected above {least:g}: {verdict(values, least)}'


def document(args, found):
    """The part of the page on EPS, from each seed's scores."""
    def values(name, *path):
        return [functools.reduce(lambda tree, key: tree[key], path, scores[name]) for scores in found]

    first = synthave.category_name(0)
    columns = {'mean IoU': ('mean_iou',), 'boundary recall': ('boundary', 'recall'), 'precision': ('boundary', 'precision'),
               'F1': ('boundary', 'f1'), 'track taken for its class': ('confusion', first), 'IoU of that class': ('iou', first)}
    lines = ['| | ' + ' | '.join(columns) + ' |', '|---|' + '---|' * len(columns)]
    for name in found[0]:
        lines.append(f'| {name} | ' + ' | '.join(mean_and_spread(values(name, *path)) for path in columns.values()) + ' |')
    names = [NAMES[selection] for selection in args.selections]

    def check(text, ours, theirs, *path, sign=1, least=0.0):
        return expectation(text, sign * (np.array(values(ours, *path)) - values(theirs, *path)), least)

    last, checks = names[-1], []
    if NAMES['none'] in names:
        checks += [check(f'{last} over CAM, mean IoU', last, NAMES['none'], 'mean_iou'),
                   check(f'{last} over CAM, boundary F1', last, NAMES['none'], 'boundary', 'f1'),
                   check(f'{last} below CAM, track taken for its class', last, NAMES['none'], 'confusion', first, sign=-1)]
    checks += [check(f'{last} over {name}, mean IoU', last, name, 'mean_iou') for name in names[:-1] if name != NAMES['none']]
    small = [synthave.category_name(k) for k in range(synthave.Settings().categories)[-2:]]
    checks += [check(f'{last} over {name}, IoU of {category}, which the saliency mostly misses', last, name, 'iou', category)
               for name in names[:-1] if name != NAMES['none'] for category in small]
    checks.append(check('DeepLab on held-out images over its pseudo-masks, mean IoU', 'DeepLab, validation', last, 'mean_iou', least=-0.03))
    quality = [f'| {name} | {mean_and_spread(values(name, "saliency", "saliency"))} | '
               f'{mean_and_spread(values(name, "saliency", "estimate"))} |' for name in names if name != NAMES['none']]
    return '\n'.join([
        f'Written by `python -m benchmarks.eps --seeds={len(found)}`; {args.train} images to train on, {args.epochs:g} passes over them. '
        f'Masks of the training images against the true ones, DeepLab (on the masks of {last}) of held-out images, too; mean ± standard '
        f'deviation over {len(found)} seeds. Boundaries are met within {max(1, .0075 * np.hypot(96, 96)):.1f} pixels of 96.', '',
        *lines, '', 'Foreground, IoU with what is no background: the saliency that is given, and what EPS makes of it.', '',
        '| | given | estimated |', '|---|---|---|', *quality, '', '## Expected orders', '', *checks, ''])


def main():
    """Runs the seeds and writes the part of the page."""
    parser = argparse.ArgumentParser(description='Runs EPS for several seeds and writes a page of results.')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--train', type=int, default=960, help='images to train on')
    parser.add_argument('--held_out', type=int, default=96, help='images of the validation and of the test part')
    parser.add_argument('--epochs', type=float, default=eps.get_config().epochs.EPS)
    parser.add_argument('--selections', nargs='+', default=list(NAMES), choices=NAMES, help='the last one teaches DeepLab')
    parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs/experiment-eps'))
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('docs/results.md'))
    args = parser.parse_args()
    logging.set_verbosity(logging.WARNING)
    compilation.prepare()
    try:
        found = [run_seed(args, seed) for seed in range(args.seeds)]
        replace_part(args.out, TITLE, document(args, found))
    except InputError as error:
        sys.exit(f'error: {error}')
    print(document(args, found))
    print(f'results: {args.out}')


if __name__ == '__main__':
    main()
