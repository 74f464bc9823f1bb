"""The labels of the audio switch: whether what is heard around a frame is its clip's tag, as an audio-only tagger has it.

The tagger is a net with classes of its own, VGGSound's or YAMNet's, where its weights are given and its classes stand for the tags;
otherwise taggers are trained on the tags with cross-fitting: every training clip is labelled by a tagger that was trained without it.
"""
import csv
import functools
import importlib.resources
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.data import fragments
from stanet_jax.data.annotations import LABELS
from stanet_jax.data.clips import Clips
from stanet_jax.models.backbones.classes import heard_as
from stanet_jax.stages import classifiers
from stanet_jax.stages.examples import predict_examples
from stanet_jax.stages.nets import encoder_weights, front_end, make_classifier, net_inputs
from stanet_jax.training import checkpoint
from stanet_jax.workdir import barrier, replace_text

FOLDS = 2
Labels = dict[str, list[Int[np.ndarray, ' _']]]  # {split: [clip: [frame]]} in {0, 1}


def assign_folds(clips: Sequence[Mapping], seed: int) -> list[int]:
    """The fold of each clip, from 0 to FOLDS - 1: random, with the clips of each first tag spread evenly and a film's clips in one fold.

    Args:
        clips: dicts with `source`, the film, and `tags`.
        seed: of the draw.
    """
    tags = {clip['source']: clip['tags'][0] for clip in clips}
    drawn = sorted(np.random.default_rng(seed).permutation(sorted(tags)).tolist(), key=lambda name: tags[name])
    place = {name: i for i, name in enumerate(drawn)}
    return [place[clip['source']] % FOLDS for clip in clips]


def vggsound_table(categories: Sequence[str]) -> Bool[np.ndarray, 'c 309']:
    """Which of the 309 classes of VGGSound's net stand for each category, as listed in `data/vggsound.csv`: AVE's or a class itself.

    Raises:
        InputError: a category that is neither.
    """
    lines = (importlib.resources.files('stanet_jax.data') / 'vggsound.csv').read_text('utf-8').splitlines()
    named = [[row['class'], *row['AVE'].split(';')] for row in csv.DictReader(line for line in lines if not line.startswith('#'))]
    table = np.array([[category in known for known in named] for category in categories])
    unknown = [category for category, row in zip(categories, table, strict=True) if not row.any()]
    if unknown:
        raise InputError(f'config.audio_encoder.weights: VGGSound has no class that is known to be "{unknown[0]}"; add it to '
                         'stanet_jax/data/vggsound.csv, or leave the weights out to train taggers on the tags')
    return table


# Which classes of an audio encoder stand for each of the c tags: {encoder: tags -> bool [c, k]}.
TABLES: dict[str, Callable[[Sequence[str]], Bool[np.ndarray, 'c k']]] = {
    'vggsound': vggsound_table, 'vggsound_average': vggsound_table, 'yamnet': heard_as}


def label_frames(config: ConfigDict, workdir: pathlib.Path, splits: Mapping[str, Clips], mesh: Mesh) -> None:
    """Labels every frame of every clip and writes `labels.jsonl` into the workdir, unless it is there.

    Each line is a clip: `split`, `id` and `labels`, one for each frame.
    """
    path = workdir / LABELS
    if path.exists():
        print(f'labels: done already, in {path}')
        return
    write_labels(path, splits, make_labels(config, workdir, splits, mesh))


def write_labels(path: pathlib.Path, splits: Mapping[str, Clips], labels: Labels) -> None:
    """Writes labels of every frame, as `annotations.labels` reads them; process 0 does, the others wait."""
    lines = [{'split': split, 'id': clip['id'], 'labels': row.tolist()}
             for split, clips in splits.items() for clip, row in zip(clips.clips, labels[split], strict=True)]
    if jax.process_index() == 0:
        replace_text(path, ''.join(json.dumps(line) + '\n' for line in lines))
    barrier(path.stem)


def make_labels(config: ConfigDict, workdir: pathlib.Path, splits: Mapping[str, Clips], mesh: Mesh) -> Labels:
    """The labels by the classes of the config's audio encoder where it has any for the clip's tags, else by taggers that are trained."""
    name, train = config.audio_encoder.name, splits['train']
    if not config.audio_encoder.weights or name not in TABLES:
        return labels_by_taggers(config, workdir, splits, mesh)
    known = TABLES[name](train.categories).any(axis=1)
    named = labels_by_classes(config, splits, mesh)
    if known.all():
        return named
    print(f'{name} has no class for {", ".join(np.array(train.categories)[~known])}: taggers are trained for these')
    trained = labels_by_taggers(config, workdir, splits, mesh)
    return {split: [rows[i] if clips.multi_hot(i)[known].any() else trained[split][i] for i in range(len(clips))]
            for (split, rows), clips in zip(named.items(), splits.values(), strict=True)}


def labels_by_classes(config: ConfigDict, splits: Mapping[str, Clips], mesh: Mesh) -> Labels:
    """The labels by the classes of a pretrained tagger: whether the best one stands for the clip's tag."""
    labels = {}
    for split, clips in splits.items():
        table = TABLES[config.audio_encoder.name](clips.categories)
        if clips.features:
            labels[split] = [kept_labels(clips, i, table) for i in range(len(clips))]
            continue
        variables = {collection: {'audio_encoder': tree} for collection, tree in encoder_weights(config.audio_encoder).items()}
        labels[split] = tagger_labels(make_classifier(config, 'A', table.shape[1]), variables, clips, table, front_end(config),
                                      batch=config.batch, mesh=mesh, title=split)
    return labels


def kept_labels(clips: Clips, i: int, table: Bool[np.ndarray, 'c k']) -> Int[np.ndarray, ' _']:
    """As `tagger_labels`, of clip i, by the logits that a frozen tagger gave, see `stages.features`."""
    assert clips.features is not None
    best = np.asarray(clips.features.of_clip(clips.clips[i], 'logits')).argmax(axis=1)
    fits = np.asarray(table[clips.multi_hot(i) > 0]).any(axis=0)
    return (np.take(fits, best) & (clips.clips[i]['samples'] > 0)).astype(int)


def labels_by_taggers(config: ConfigDict, workdir: pathlib.Path, splits: Mapping[str, Clips], mesh: Mesh) -> Labels:
    """The labels by taggers that are trained on the tags, in `<workdir>/tagger<fold>`.

    Training clips are labelled by the tagger that was trained on the other fold, all other clips by the first tagger. Each takes as many
    steps as A, on fewer clips.
    """
    train, config = splits['train'], config.copy_and_resolve_references()
    config.epochs.A *= FOLDS / (FOLDS - 1)
    folds = assign_folds(train.clips, config.seed)
    labels: Labels = {split: [np.zeros(0, int)] * len(clips) for split, clips in splits.items()}
    one_class = np.eye(len(train.categories), dtype=bool)
    for fold in range(FOLDS):
        seen = {**splits, 'train': train.only([i for i in range(len(train)) if folds[i] != fold])}
        folder = workdir / f'tagger{fold}'
        classifiers.train_net(config, 'A', seen, folder, mesh)
        variables = checkpoint.load_variables(folder / 'A' / 'variables')
        for split, clips in splits.items():
            chosen = [i for i in range(len(clips)) if (folds[i] == fold if split == 'train' else fold == 0)]
            rows = tagger_labels(make_classifier(config, 'A', len(one_class)), variables, clips.only(chosen), one_class,
                                 front_end(config), batch=config.batch, mesh=mesh, title=f'{split}, fold {fold}')
            for i, row in zip(chosen, rows, strict=True):
                labels[split][i] = row
    return labels


def tagger_labels(model: nn.Module, variables: Variables, clips: Clips, table: Bool[np.ndarray, 'c k'], front_end: str, *, batch: int,
                  mesh: Mesh, title: str) -> list[Int[np.ndarray, ' _']]:
    """Whether the best class of an audio-only tagger is one of the tag's, 1 or 0, for each frame of each clip; 0 without sound.

    Args:
        model: the tagger, a net 'A' of k classes.
        variables: of the tagger.
        clips: to be labelled.
        table: which of the k classes stand for each of the c tags.
        front_end: which of `sound.FRONT_ENDS` makes what the tagger hears.
        batch: how many frames are computed at a time.
        mesh: the devices, see `sharding.make_mesh`.
        title: of the progress bar.
    """
    if not len(clips):
        return []
    longest = max(clip['frames'] for clip in clips.clips)
    examples = fragments.Examples(clips, longest, sound=front_end, draw=functools.partial(every_frame, clips, longest))

    def right(variables, batch):
        best = model.apply(variables, **net_inputs(batch, model.encoder))[0].argmax(axis=1)
        return ((batch['tags'] > 0) & jnp.asarray(table.T)[best]).any(axis=1) & (batch['phi'] > 0)

    labels = predict_examples(right, variables, examples, batch=batch, mesh=mesh, title=f'Labels, {title}').reshape(len(clips), longest)
    return [row[:clip['frames']].astype(int) for row, clip in zip(labels, clips.clips, strict=True)]


def every_frame(clips: Clips, longest: int, index: int | np.integer, rng: np.random.Generator | None = None) -> tuple[int, int]:
    """The (clip, frame) of example `index` when each clip has `longest` examples: all its frames in order, then the last one repeated."""
    clip, frame = divmod(int(index), longest)
    return clip, min(frame, clips.clips[clip]['frames'] - 1)


