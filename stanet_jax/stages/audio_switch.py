"""The audio switch: does the sound tell what the picture shows? (CVPR Sec. 3.4, TPAMI Sec. 3.3)

The label of (frame, second of sound) is 1 where the best class of an audio-only tagger is the clip's tag. The tagger is VGGSound's net
with its 309 classes where its weights are given; otherwise one trained on the tags, cross-fitted: a clip is labelled by a tagger that
never saw it. The switch is a net of SA's structure with one logit that learns the labels from picture and sound, so that it answers
for untagged videos too.
"""
import csv
import functools
import importlib.resources
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from stanet_jax import InputError
from stanet_jax.data import annotations, fragments
from stanet_jax.data.batches import iterate_batches
from stanet_jax.stages import classifiers
from stanet_jax.stages.examples import open_training_clips
from stanet_jax.stages.nets import example_batch, initial_variables, make_classifier, predict_tags, tag_loss
from stanet_jax.training import checkpoint, loop, sharding
from stanet_jax.workdir import barrier, open_workdir, replace_text

FOLDS = 2


def make_switch(config):
    """A net of SA's structure with one logit, above 0 where the switch is open."""
    return make_classifier(config, 'SA', 1)


class BalancedDraw:
    """`(index, rng) -> (clip, frame)`: at even indices a frame of label 0, at odd ones of label 1; without rng spread over them."""

    def __init__(self, labels, size):
        every = np.array([(clip, frame) for clip, row in enumerate(labels) for frame in range(len(row))])
        flat = np.concatenate(labels)
        self._of, self._size = [every[flat == 0], every[flat == 1]], size

    def __call__(self, index, rng=None):
        choices = self._of[index % 2]
        place = rng.integers(len(choices)) if rng is not None else index * len(choices) // self._size
        return tuple(int(i) for i in choices[place])


class LabelsAsTags:
    """The switch's labels in the place of tags, as `fragments.Examples` takes annotations."""

    def __init__(self, labels):
        self._labels = labels

    def __call__(self, clip, frame):
        return {'tags': self._labels[clip][frame:frame + 1]}


# ------------------------------------------------------------------------------------------------------------------- labels


def assign_folds(clips, seed):
    """The fold of each clip, [n] in 0 ... FOLDS - 1: drawn at random, every tag dealt evenly, a video's clips all in one fold."""
    tags = {clip['id']: clip['tag'] for clip in clips.clips}
    drawn = sorted(np.random.default_rng(seed).permutation(sorted(tags)).tolist(), key=tags.get)
    place = {name: i for i, name in enumerate(drawn)}
    return [place[clip['id']] % FOLDS for clip in clips.clips]


def vggsound_table(categories):
    """bool [c, 309]: by which classes of VGGSound's net each category of AVE is heard; `data/vggsound.csv` has them.

    Raises:
        InputError: a category that is not AVE's.
    """
    lines = (importlib.resources.files('stanet_jax.data') / 'vggsound.csv').read_text('utf-8').splitlines()
    heard_as = [row['AVE'].split(';') for row in csv.DictReader(line for line in lines if not line.startswith('#'))]
    table = np.array([[category in known for known in heard_as] for category in categories])
    unknown = [category for category, row in zip(categories, table, strict=True) if not row.any()]
    if unknown:
        raise InputError(f'config.audio_encoder.weights: VGGSound has no class that is known to be "{unknown[0]}"; add it to '
                         'stanet_jax/data/vggsound.csv, or leave the weights out to train taggers on the tags')
    return table


def label_frames(config, workdir, splits, mesh):
    """Writes `labels.jsonl` into the workdir: {split, id, labels} for each clip, a label for each frame."""
    path = workdir / 'labels.jsonl'
    if path.exists():
        print(f'labels: done already, in {path}')
        return
    known = config.audio_encoder.name.startswith('vggsound') and config.audio_encoder.weights
    answers = (labels_by_vggsound if known else labels_by_taggers)(config, workdir, splits, mesh)
    lines = [{'split': split, 'id': clip['id'], 'labels': row.tolist()}
             for split, clips in splits.items() for clip, row in zip(clips.clips, answers[split], strict=True)]
    if jax.process_index() == 0:
        replace_text(path, ''.join(json.dumps(line) + '\n' for line in lines))
    barrier('labels')


def labels_by_vggsound(config, workdir, splits, mesh):
    """The labels {split: [clip: int [t]]} by the classes of VGGSound's net."""
    loaded = checkpoint.load_variables(config.audio_encoder.weights)
    variables = {collection: {'audio_encoder': tree} for collection, tree in loaded.items()}
    return {split: tagger_labels(config, variables, clips, mesh, split, vggsound_table(clips.categories))
            for split, clips in splits.items()}


def labels_by_taggers(config, workdir, splits, mesh):
    """The labels {split: [clip: int [t]]} by taggers that are trained on the tags, here in the workdir."""
    train = splits['train']
    answers, of = {split: [None] * len(clips) for split, clips in splits.items()}, assign_folds(train, config.seed)
    for fold in range(FOLDS):
        seen = {**splits, 'train': train.only([i for i in range(len(train)) if of[i] != fold])}
        folder = workdir / f'tagger{fold}'
        classifiers.train_net(config, 'A', seen, folder, mesh)
        variables = checkpoint.load_variables(folder / 'A' / 'variables')
        for split, clips in splits.items():
            # Held-out clips were seen by no tagger: the first one answers.
            mine = [i for i in range(len(clips)) if of[i] == fold] if split == 'train' else range(len(clips)) if fold == 0 else []
            one_class = np.eye(len(clips.categories), dtype=bool)
            found = tagger_labels(config, variables, clips.only(mine), mesh, f'{split}, fold {fold}', one_class)
            for i, row in zip(mine, found, strict=True):
                answers[split][i] = row
    return answers


def tagger_labels(config, variables, clips, mesh, name, table):
    """Whether the tagger's best class is one of the tag's, `table` bool [tags, classes], for each frame of each clip: a list of int [t]."""
    if not len(clips):
        return []
    model = make_classifier(config, 'A', table.shape[1])
    longest = max(clip['frames'] for clip in clips.clips)
    examples = fragments.Examples(clips, longest, sound=True, draw=functools.partial(every_frame, clips, longest))

    @functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
    def right(variables, batch):
        best = model.apply(variables, audio=batch['audio'])[0].argmax(axis=1)
        return ((batch['tags'] > 0) & jnp.asarray(table.T)[best]).any(axis=1) & (batch['phi'] > 0)

    variables = jax.device_put(variables, sharding.replicated(mesh))
    batches = iterate_batches(examples, batch=config.batch, slots=sharding.slots(config.batch))
    answers = [right(variables, sharding.put(batch, mesh)) for batch in
               tqdm.tqdm(batches, f'Labels, {name}', -(-len(examples) // config.batch), unit='batch', mininterval=1)]
    answers = np.concatenate([np.asarray(a)[:config.batch] for a in answers])[:len(examples)].reshape(len(clips), longest)
    return [row[:clip['frames']].astype(int) for row, clip in zip(answers, clips.clips, strict=True)]


def every_frame(clips, longest, index, rng=None):
    """Each frame of each clip in order, shorter clips filled up to the longest one with their last frame."""
    clip, frame = divmod(index, longest)
    return clip, min(frame, clips.clips[clip]['frames'] - 1)


# ---------------------------------------------------------------------------------------------------------------------- net


def run(config, workdir):
    """Trains the taggers, labels every frame, trains the switch; measures it on held-out clips and, on SynthAVE, against the truth."""
    classifiers.check(config, ('A', 'switch'))
    workdir = open_workdir(config, workdir)
    (splits, held_out), mesh = open_training_clips(config), sharding.make_mesh()
    label_frames(config, workdir, splits, mesh)
    model = make_switch(config)
    labels = {split: annotations.labels(workdir, clips) for split, clips in splits.items()}
    for value in (0, 1):
        if not any((row == value).any() for row in labels['train']):
            raise InputError(f'{workdir}/labels.jsonl: no training frame has label {value}; the switch needs both')
    size = len(splits['train']) * config.data.frames_per_clip
    examples = fragments.Examples(splits['train'], config.data.frames_per_clip, 1, True, LabelsAsTags(labels['train']),
                                  BalancedDraw(labels['train'], size), least_crop=config.data.least_crop)

    def evaluate(variables):
        if not held_out:
            return {}
        found = predict_switch(config, model, variables, held_out, mesh, config.held_out_frames)
        return {'accuracy': agreement(found, labels[held_out.split])['all']}

    loop.train(workdir / 'switch', 'switch', config, mesh, examples=examples, evaluate=evaluate,
                   initial=lambda: initial_variables(config, 'switch', model, example_batch(config, 'SA', 1, 1), workdir),
                   loss_fn=functools.partial(tag_loss, model=model, jitter=tuple(config.jitter)))
    if held_out:
        report_agreement(config, workdir, splits, labels, mesh)


def predict_switch(config, model, variables, clips, mesh, per_clip):
    """The switch's answer for some frames of each clip: {(clip, frame): 0 or 1}."""
    examples = fragments.Examples(clips, per_clip, 1, True)

    @functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
    def opens(variables, batch):
        return predict_tags(variables, {**batch, 'tags': jnp.ones((len(batch['phi']), 1))}, model=model)[0][:, 0] > 0

    batches = iterate_batches(examples, batch=config.batch, slots=sharding.slots(config.batch))
    open_ = np.concatenate([np.asarray(opens(variables, sharding.put(b, mesh)))[:config.batch] for b in batches])
    return {fragments.target_frame(clips, per_clip, i): int(open_[i]) for i in range(len(examples))}


def agreement(found, labels, kinds=None):
    """The share of frames in `found` {(clip, frame): answer} that agree with `labels`, by kind of clip and in `all`."""
    hits = {}
    for (clip, frame), answer in found.items():
        for kind in {'all', kinds[clip] if kinds else 'all'}:
            hits.setdefault(kind, []).append(answer == labels[clip][frame])
    return {kind: float(np.mean(hits[kind])) for kind in ['all', *dict.fromkeys(kinds or [])] if kind in hits}


def report_agreement(config, workdir, splits, labels, mesh):
    """Prints and writes to `accuracy.json` how often net and labels agree, and where the truth is known, how often each is right."""
    split = 'test' if 'test' in splits else 'validation'
    clips, model = splits[split], make_switch(config)
    kinds = [clip['kind'] for clip in clips.clips]
    variables = jax.device_put(checkpoint.load_variables(workdir / 'switch' / 'variables'), sharding.replicated(mesh))
    found = predict_switch(config, model, variables, clips, mesh, config.data.frames_per_clip)
    result = {'net agrees with labels': agreement(found, labels[split], kinds)}
    truth = pathlib.Path(config.data.root) / 'truth.jsonl'
    if truth.exists():
        known = {line['id']: line['switch'] for line in annotations.read_lines(truth, 'make the set again')}
        right = [[known[clip['id']]] * clip['frames'] for clip in clips.clips]
        result['net is right'] = agreement(found, right, kinds)
        result['labels are right'] = agreement({(c, f): labels[split][c][f] for c, f in found}, right, kinds)
    if jax.process_index() == 0:
        replace_text(workdir / 'accuracy.json', json.dumps({'split': split, **result}, indent=2) + '\n')
        print(f'audio switch on {split}, share of frames')
        for name, row in result.items():
            print(f'  {name}: ' + ', '.join(f'{kind} {value:.3f}' for kind, value in row.items()))
