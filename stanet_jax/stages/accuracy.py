"""How often trained nets are right on held-out clips, by kind of clip, and pictures of what they look at."""
import functools
import json
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import InputError
from stanet_jax.data.batches import iterate_batches
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.overlay import overlay
from stanet_jax.stages.examples import make_examples
from stanet_jax.stages.nets import make_classifier, predict_tags
from stanet_jax.training import checkpoint, sharding
from stanet_jax.workdir import replace_text


def make_tally_fn(source, model, clips, config, mesh, per_clip):
    """`variables -> tallies by clip`: sums over `per_clip` frames of each clip, see `accuracy_by_kind`."""
    n, c = len(clips), len(clips.categories)

    @functools.partial(jax.jit, donate_argnums=0)
    def tally(sums, variables, batch):
        logits, _ = predict_tags(variables, batch, model=model)
        tag = (batch['tags'] * logits).sum(1)  # clips have one tag; its logit against the others'
        right = tag > jnp.where(batch['tags'] > 0, -jnp.inf, logits).max(1)
        mask = batch['mask'].astype(jnp.float32)
        add = {'right': right * mask, 'frames': mask, 'confidence': jax.nn.softmax(logits) * mask[:, None]}
        return jax.tree.map(lambda s, a: s.at[batch['clip']].add(a), sums, add)

    examples = make_examples(config, source, clips, per_clip)

    def evaluate(variables):
        sums = {'right': np.zeros(n, np.float32), 'frames': np.zeros(n, np.float32), 'confidence': np.zeros((n, c), np.float32)}
        sums = jax.device_put(sums, sharding.replicated(mesh))
        for batch in iterate_batches(examples, batch=config.batch, slots=sharding.slots(config.batch)):
            sums = tally(sums, variables, sharding.put(batch, mesh))
        return jax.device_get(sums)
    return evaluate


def accuracy_by_kind(tallies, clips):
    """Tallies -> `{kind: {'frames': share of frames whose best class is the tag, 'clips': the same of clips' mean confidence,
    'count': clips}}`, with all clips under `all`."""
    kinds = np.array([clip['kind'] for clip in clips.clips])
    tags = np.array([clip['tag'] for clip in clips.clips])
    clip_right = tallies['confidence'].argmax(1) == tags
    result = {}
    for kind in ['all', *dict.fromkeys(kinds)]:
        of = (kinds == kind) | (kind == 'all')
        result[kind] = {'frames': float(tallies['right'][of].sum() / tallies['frames'][of].sum()),
                        'clips': float(clip_right[of].mean()), 'count': int(of.sum())}
    return result


def measure(config, workdir, splits, split=''):
    """Measures every trained net on a split (the test split where there is one), by kind; draws what they look at.

    Writes `accuracy.json` and `cams.png` into the workdir and prints the table.
    """
    workdir = pathlib.Path(workdir)
    split = split or ('test' if 'test' in splits else 'validation')
    if split not in splits:
        raise InputError(f'--split={split}: the set holds {", ".join(splits)}')
    clips, mesh, results, shown = splits[split], sharding.make_mesh(), {}, {}
    for source in config.nets:
        if not (workdir / source / 'variables').exists():
            raise InputError(f'{workdir}/{source}: not trained yet; run train.py with this config and workdir first')
        variables = checkpoint.load_variables(workdir / source / 'variables')
        model = make_classifier(config, source, len(clips.categories))
        tallies = make_tally_fn(source, model, clips, config, mesh, config.data.frames_per_clip)(
            jax.device_put(variables, sharding.replicated(mesh)))
        results[source] = accuracy_by_kind(tallies, clips)
        if jax.process_index() == 0 and source != 'A':
            shown[source] = example_maps(config, source, model, variables, clips)
            contact_sheet(workdir / source / 'cams.png', map_rows({source: shown[source]}, clips))
    if jax.process_index() == 0:
        replace_text(workdir / 'accuracy.json', json.dumps({'split': split, 'nets': results}, indent=2) + '\n')
        print(accuracy_table(results, split))
        if shown:
            contact_sheet(workdir / 'cams.png', map_rows(shown, clips))
            print(f'what they look at: {workdir / "cams.png"}')


def accuracy_table(results, split):
    """The nets' accuracies as text: a row for each kind, frames and clips."""
    kinds = next(iter(results.values()))
    lines = [f'accuracy on {split}: frames (clips)', f'{"":18}{"clips":>6}' + ''.join(f'{net:>15}' for net in results)]
    for kind, first in kinds.items():
        cells = [f'{results[net][kind]["frames"]:.3f} ({results[net][kind]["clips"]:.3f})' for net in results]
        lines.append(f'{kind:18}{first["count"]:6}' + ''.join(f'{cell:>15}' for cell in cells))
    return '\n'.join(lines)


class ExampleMap(NamedTuple):
    """A clip's index, its middle frame uint8 [h, w, 3], a net's confidence in the tag and its class activation map [h', w']."""
    clip: int
    frame: np.ndarray
    confidence: float
    cam: np.ndarray


def example_maps(config, source, model, variables, clips, per_kind=2):
    """What the net makes of a few clips' middle frames, `per_kind` of each kind: a list of ExampleMap."""
    chosen = clips.of_each_kind(per_kind)
    examples = make_examples(config, source, clips, 1)
    examples = [examples.at(i, clips.clips[i]['frames'] * 5 // 8) for i in chosen]
    batch = {k: np.stack([e[k] for e in examples]) for k in examples[0]}
    logits, cams = jax.jit(functools.partial(predict_tags, model=model))(variables, batch)
    confidence = (jax.nn.softmax(logits) * batch['tags']).sum(1)
    frames = batch['frames'][:, 0] if batch['frames'].ndim == 6 else batch['frames']  # the target's
    return [ExampleMap(*of) for of in zip(chosen, frames[:, frames.shape[1] // 2], np.asarray(confidence), np.asarray(cams), strict=True)]


def map_rows(shown, clips):
    """{net: its ExampleMaps} as rows of (title, [(label, image)]) for `contact_sheet`: the frame, then each net's map over it."""
    rows = []
    for examples in zip(*shown.values(), strict=True):
        clip, frame = clips.clips[examples[0].clip], examples[0].frame
        cells = [(clip['kind'], frame)]
        cells += [(f'{source} {of.confidence:.2f}', overlay(of.frame, of.cam)) for source, of in zip(shown, examples, strict=True)]
        rows.append((clips.categories[clip['tag']], cells))
    return rows
