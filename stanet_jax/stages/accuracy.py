"""The accuracy of trained classifiers on held-out clips, by kind of clip, and pictures of their class activation maps."""
import functools
import json
import os
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data import fragments
from stanet_jax.data.clips import Clips
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.overlay import overlay
from stanet_jax.stages.examples import device_batches, make_examples, shown_batch, shown_picture
from stanet_jax.stages.nets import make_classifier, predict_tags
from stanet_jax.training import checkpoint, sharding
from stanet_jax.workdir import replace_text

# ----------------------------------------------------------------------------------------------------------------- accuracy


class Tallies(NamedTuple):
    """Sums over the frames that a classifier was measured on, for each clip.

    Attributes:
        right: how many frames have a tag of the clip as their best class.
        frames: how many frames there are.
        confidence: the classes' probabilities, summed over the frames.
    """
    right: Float[AnyArray, ' n']
    frames: Float[AnyArray, ' n']
    confidence: Float[AnyArray, 'n c']


@functools.partial(jax.jit, static_argnames='model', donate_argnums=0)
def _add_batch(sums: Tallies, variables: Variables, batch: Mapping[str, AnyArray], *, model: nn.Module) -> Tallies:
    """The sums, of all clips, and what a classifier adds to them on a batch."""
    logits = predict_tags(variables, batch, model=model).logits
    tag = jnp.where(batch['tags'] > 0, logits, -jnp.inf).max(1)  # the best of the clip's tags against the other classes
    right = tag > jnp.where(batch['tags'] > 0, -jnp.inf, logits).max(1)
    mask = batch['mask'].astype(jnp.float32)
    add = Tallies(right * mask, mask, jax.nn.softmax(logits) * mask[:, None])
    return jax.tree.map(lambda s, a: s.at[batch['clip']].add(a), sums, add)


def make_tally_fn(model: nn.Module, examples: fragments.Examples, batch: int, mesh: Mesh) -> Callable[[Variables], Tallies]:
    """`variables -> Tallies` of a classifier over the examples, `batch` at a time on the devices of the mesh."""
    n, c = len(examples.clips), len(examples.clips.categories)

    def evaluate(variables):
        sums = Tallies(np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros((n, c), np.float32))
        sums = jax.device_put(sums, sharding.replicated(mesh))
        for of in device_batches(examples, batch, mesh):
            sums = _add_batch(sums, variables, of, model=model)
        return jax.device_get(sums)
    return evaluate


def accuracy_by_kind(tallies: Tallies, clips: Sequence[Mapping]) -> dict[str, dict[str, float]]:
    """The accuracies of a classifier by kind of clip, those of all clips under 'all'.

    Each is a dict of `frames`, the share of frames whose best class is a tag of the clip; `clips`, the share of clips whose mean
    probabilities are largest for one; and `count`, the number of clips.

    Args:
        tallies: of the clips.
        clips: dicts with `kind` and `tags`.
    """
    kinds = np.array([clip['kind'] for clip in clips])
    clip_right = np.array([best in clip['tags'] for best, clip in zip(tallies.confidence.argmax(1), clips, strict=True)])
    result = {}
    for kind in ['all', *dict.fromkeys(kinds)]:
        of = (kinds == kind) | (kind == 'all')
        result[kind] = {'frames': float(tallies.right[of].sum() / tallies.frames[of].sum()),
                        'clips': float(clip_right[of].mean()), 'count': int(of.sum())}
    return result


def measure(config: ConfigDict, workdir: str | os.PathLike, splits: Mapping[str, Clips], split: str = '') -> None:
    """Measures every trained classifier of a run, by kind of clip, and draws class activation maps of a few clips.

    Writes `accuracy.json` and `cams.png` into the run's folder and prints the table.

    Args:
        config: of the run.
        workdir: its folder.
        splits: clips by split.
        split: which of them; by default 'test' where there is one, else 'validation'.
    Raises:
        InputError: there is no such split, or a net is not trained yet.
    """
    workdir = pathlib.Path(workdir)
    split = split or default_split(splits)
    if split not in splits:
        raise InputError(f'--split={split}: the set holds {", ".join(splits)}')
    clips, mesh, results, shown = splits[split], sharding.make_mesh(), {}, {}
    for net in config.nets:
        if not (workdir / net / 'variables').exists():
            raise InputError(f'{workdir}/{net}: not trained yet; run `stanet train` with this config and workdir first')
        variables = checkpoint.load_variables(workdir / net / 'variables')
        model = make_classifier(config, net, len(clips.categories))
        tally = make_tally_fn(model, make_examples(config, net, clips, config.data.frames_per_clip), config.batch, mesh)
        results[net] = accuracy_by_kind(tally(jax.device_put(variables, sharding.replicated(mesh))), clips.clips)
        if jax.process_index() == 0 and net != 'A':
            shown[net] = example_maps(model, variables, make_examples(config, net, clips, 1))
            contact_sheet(workdir / net / 'cams.png', map_rows({net: shown[net]}, clips))
    if jax.process_index() == 0:
        if shown:
            contact_sheet(workdir / 'cams.png', map_rows(shown, clips))
            print(f'what they look at: {workdir / "cams.png"}')
        replace_text(workdir / 'accuracy.json', json.dumps({'split': split, 'nets': results}, indent=2) + '\n')
        print(accuracy_table(results, split))


def default_split(splits: Collection[str]) -> str:
    """The split that classifiers are measured on: 'test' where there is one, else 'validation'."""
    return 'test' if 'test' in splits else 'validation'


def measured_split(workdir: str | os.PathLike) -> str | None:
    """The split that the classifiers of a run were measured on; None where they were not."""
    path = pathlib.Path(workdir) / 'accuracy.json'
    return json.loads(path.read_text())['split'] if path.exists() else None


def accuracy_table(results: Mapping[str, Mapping[str, Mapping[str, float]]], split: str) -> str:
    """The accuracies {net: see `accuracy_by_kind`} as text: a row for each kind, a column of 'frames (clips)' for each net."""
    kinds = next(iter(results.values()))
    lines = [f'accuracy on {split}: frames (clips)', f'{"":18}{"clips":>6}' + ''.join(f'{net:>15}' for net in results)]
    for kind, first in kinds.items():
        cells = [f'{results[net][kind]["frames"]:.3f} ({results[net][kind]["clips"]:.3f})' for net in results]
        lines.append(f'{kind:18}{first["count"]:6}' + ''.join(f'{cell:>15}' for cell in cells))
    return '\n'.join(lines)


# ----------------------------------------------------------------------------------------------------------------- pictures


class ExampleMap(NamedTuple):
    """A frame of a clip and what a classifier sees in it.

    Attributes:
        clip: index of the clip.
        frame: RGB, see `examples.shown_frame`.
        confidence: the net's, in the clip's tag.
        cam: class activation map of the tag, in [0, 1].
    """
    clip: int
    frame: UInt8[np.ndarray, 'h w 3']
    confidence: float
    cam: Float[np.ndarray, 'h2 w2']


_predict_tags = jax.jit(predict_tags, static_argnames='model')


def example_maps(model: nn.Module, variables: Variables, examples: fragments.Examples, per_kind: int = 2) -> list[ExampleMap]:
    """A classifier's maps of a few clips, `per_kind` of each kind, see `Clips.of_each_kind`."""
    chosen = examples.clips.of_each_kind(per_kind)
    batch = shown_batch(examples, chosen)
    logits, cams = _predict_tags(variables, batch, model=model)
    confidence = (jax.nn.softmax(logits) * batch['tags']).sum(1)
    frames = [shown_picture(examples, clip) for clip in chosen]
    return [ExampleMap(*of) for of in zip(chosen, frames, confidence.tolist(), np.asarray(cams), strict=True)]


def map_rows(shown: Mapping[str, Sequence[ExampleMap]], clips: Clips) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    """The maps {net: its ExampleMaps} as the rows of a `contact_sheet`: each clip's frame, then each net's map over it.

    Rows are (title, [(label, RGB image)]).
    """
    rows = []
    for examples in zip(*shown.values(), strict=True):
        clip, frame = clips.clips[examples[0].clip], examples[0].frame
        cells = [(clip['kind'], frame)]
        cells += [(f'{net} {of.confidence:.2f}', overlay(of.frame, of.cam)) for net, of in zip(shown, examples, strict=True)]
        rows.append((clips.tag_names(examples[0].clip), cells))
    return rows
