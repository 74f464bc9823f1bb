"""Stage: the audio switch, which says whether a clip's sound belongs to what its picture shows (CVPR Sec. 3.7, TPAMI Sec. 3.3).

A frame with its second of sound has label 1 where the best class of an audio-only tagger is the clip's tag, else 0, see
`stages.sound_labels`. The switch is a net of SA's structure with one logit that learns these labels from picture and sound, so that it can
answer for videos without tags.
"""
import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Num
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.data import annotations, fragments
from stanet_jax.data.clips import Clips
from stanet_jax.models.classifiers import Classifier
from stanet_jax.stages import classifiers
from stanet_jax.stages.accuracy import default_split
from stanet_jax.stages.examples import cropping, held_out_clips, open_training_clips, predict_examples
from stanet_jax.stages.nets import (
    example_batch,
    front_end,
    initial_variables,
    make_classifier,
    predict_tags,
    tag_loss,
)
from stanet_jax.stages.sound_labels import label_frames, write_labels
from stanet_jax.training import checkpoint, loop, sharding
from stanet_jax.workdir import open_workdir, replace_text


def make_switch(config: ConfigDict) -> Classifier:
    """The switch's module: SA with one logit, which is above 0 where the switch is open."""
    return make_classifier(config, 'SA', 1)


class BalancedDraw:
    """Draws training examples of the switch, half of each label: `(index, rng) -> (clip, frame)`.

    Even indices give frames of label 0, odd ones frames of label 1; without `rng` they are spread evenly over the frames of the label.
    """

    def __init__(self, labels: Sequence[Num[np.ndarray, ' _']], size: int):
        """Takes the labels of the frames of each clip, in {0, 1}, and the number of examples of an epoch."""
        every = np.array([(clip, frame) for clip, row in enumerate(labels) for frame in range(len(row))])
        flat = np.concatenate(labels)
        self._by_label, self._size = [every[flat == 0], every[flat == 1]], size

    def __call__(self, index: int | np.integer, rng: np.random.Generator | None = None) -> tuple[int, int]:
        """The (clip, frame) of example `index`."""
        choices = self._by_label[index % 2]
        place = rng.integers(len(choices)) if rng is not None else index * len(choices) // self._size
        clip, frame = choices[place]
        return int(clip), int(frame)


class LabelsAsTags:
    """The switch's labels in place of tags, as annotations of `fragments.Examples`: `(clip, frame) -> {'tags': [label]}`."""

    def __init__(self, labels: Sequence[Num[np.ndarray, ' _']]):
        """Takes the labels of the frames of each clip, in {0, 1}."""
        self._labels = labels

    def __call__(self, clip: int, frame: int) -> dict[str, Num[np.ndarray, '1']]:
        """The label of a frame, under `tags`."""
        return {'tags': self._labels[clip][frame:frame + 1]}


# ---------------------------------------------------------------------------------------------------------------------- net


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Labels every frame and trains the switch on the labels; measures it on held-out clips, see `report_agreement`.

    What is done is skipped.
    """
    classifiers.check(config, ('A', 'switch'))
    workdir = open_workdir(config, workdir)
    splits, mesh = open_training_clips(config), sharding.make_mesh()
    held_out = held_out_clips(splits)
    label_frames(config, workdir, splits, mesh)
    model = make_switch(config)
    labels = {split: annotations.labels(workdir, clips) for split, clips in splits.items()}
    for value in (0, 1):
        if not any((row == value).any() for row in labels['train']):
            raise InputError(f'{workdir}/labels.jsonl: no training frame has label {value}; the switch needs both, but nets '
                             'may hear without one: --config.switch=')
    size = len(splits['train']) * config.data.frames_per_clip or int(splits['train'].ends[-1])
    examples = fragments.Examples(splits['train'], config.data.frames_per_clip, 1, front_end(config), LabelsAsTags(labels['train']),
                                  BalancedDraw(labels['train'], size), **cropping(config))

    def evaluate(variables: Variables) -> dict[str, float]:
        if not held_out:
            return {}
        answers = predict_switch(config, model, variables, held_out, config.held_out_frames, mesh)
        return {'accuracy': agreement(answers, labels[held_out.split])['all']}

    loop.train(workdir / 'switch', 'switch', config, mesh, examples=examples, evaluate=evaluate,
               initial=lambda: initial_variables(config, 'switch', model, example_batch(config, 'SA', 1, 1), workdir),
               loss_fn=functools.partial(tag_loss, model=model, jitter=tuple(config.jitter)))  # one logit: a cross-entropy
    write_answers(config, workdir, splits, mesh)
    if held_out:
        report_agreement(config, workdir, splits, labels)


def write_answers(config: ConfigDict, workdir: pathlib.Path, splits: Mapping[str, Clips], mesh: Mesh) -> None:
    """Writes what the trained switch answers for every frame, by which students hear; unless it is there."""
    path, variables = workdir / annotations.ANSWERS, checkpoint.load_variables(workdir / 'switch' / 'variables')
    if path.exists():
        return
    answers = {}
    for split, clips in splits.items():
        found = predict_switch(config, make_switch(config), variables, clips, 0, mesh, f'Answers, {split}')
        answers[split] = [np.array([found[i, k] for k in range(clip['frames'])]) for i, clip in enumerate(clips.clips)]
    write_labels(path, splits, answers)


def predict_switch(config: ConfigDict, model: nn.Module, variables: Variables, clips: Clips, per_clip: int,
                   mesh: Mesh, title: str = '') -> dict[tuple[int, int], int]:
    """The switch's answers {(clip, frame): 1 where it is open, else 0} for `per_clip` frames of each clip, or all; 0 without sound."""
    examples = fragments.Examples(clips, per_clip, 1, front_end(config))

    def opens(variables, batch):
        return predict_tags(variables, {**batch, 'tags': jnp.ones((len(batch['phi']), 1))}, model=model).logits[:, 0] * batch['phi'] > 0

    answers = predict_examples(opens, variables, examples, batch=config.batch, mesh=mesh, title=title)
    return {fragments.target_frame(clips, per_clip, i): int(answer) for i, answer in enumerate(answers)}


def agreement(answers: Mapping[tuple[int, int], int], labels: Sequence[Sequence[float] | Num[np.ndarray, ' _']],
              kinds: Sequence[str] | None = None) -> dict[str, float]:
    """The share of answers that equal the labels: over all frames, under 'all', and over the clips of each kind.

    Args:
        answers: {(clip, frame): 0 or 1}.
        labels: of each frame of each clip.
        kinds: of each clip; None for 'all' alone.
    """
    hits: dict[str, list[bool]] = {}
    for (clip, frame), answer in answers.items():
        for kind in {'all', kinds[clip] if kinds else 'all'}:
            hits.setdefault(kind, []).append(answer == labels[clip][frame])
    return {kind: float(np.mean(hits[kind])) for kind in ['all', *dict.fromkeys(kinds or [])] if kind in hits}


def report_agreement(config: ConfigDict, workdir: pathlib.Path, splits: Mapping[str, Clips],
                     labels: Mapping[str, Sequence[Num[np.ndarray, ' _']]]) -> None:
    """Prints how often the trained switch and the labels agree on the test (or validation) split, and writes `accuracy.json`.

    On SynthAVE, where it is known whether the sound belongs to the picture, also how often switch and labels are right.
    """
    split = default_split(splits)
    clips = splits[split]
    kinds = [clip['kind'] for clip in clips.clips]
    given = annotations.labels(workdir, clips, annotations.ANSWERS)
    answers = {(i, k): int(answer) for i, row in enumerate(given) for k, answer in enumerate(row)}
    result = {'net agrees with labels': agreement(answers, labels[split], kinds)}
    truth = pathlib.Path(config.data.root) / 'truth.jsonl'
    if truth.exists():
        known = {line['id']: line['switch'] for line in annotations.read_lines(truth, 'make the set again')}
        right = [[known[clip['id']]] * clip['frames'] for clip in clips.clips]
        result['net is right'] = agreement(answers, right, kinds)
        result['labels are right'] = agreement({(c, f): int(labels[split][c][f]) for c, f in answers}, right, kinds)
    if jax.process_index() == 0:
        replace_text(workdir / 'accuracy.json', json.dumps({'split': split, **result}, indent=2) + '\n')
        print(f'audio switch on {split}, share of frames')
        for name, row in result.items():
            print(f'  {name}: ' + ', '.join(f'{kind} {value:.3f}' for kind, value in row.items()))
