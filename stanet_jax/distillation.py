"""Trains the student STA on pseudo-fixations (TPAMI Sec. 5, Eq. 17); no tag enters it but through them and the switch's labels."""
import functools
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import InputError, checkpoint, classification, losses, scam, sharding, training, visualize
from stanet_jax.data import fragments
from stanet_jax.data.annotations import Annotations
from stanet_jax.models import students


def make_student(config):
    """The student as the config has it."""
    dtype = classification.compute_dtype(config)
    return students.STA(config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm, dtype)


def loss_fn(variables, batch, key, *, model, jitter):
    """Eq. 17 of each example [b], binary cross-entropy and KL divergence to the pseudo-fixation, and the new batch statistics."""
    (logits, _), updated = model.apply(variables, **classification.inputs(batch, key, jitter), train=True, mask=batch['mask'],
                                       mutable=['batch_stats'])
    return map_loss(logits, batch['target']), updated.get('batch_stats', {})


def map_loss(logits, target):
    """`BCE(s, p) + KL(s, p)` (Eq. 17): logits [b, h, w] of the student's map, target uint8 [b, h, w] -> [b]."""
    target = target.astype(jnp.float32) / 255
    return losses.binary_cross_entropy(logits, target) + losses.kl_divergence(jax.nn.sigmoid(logits), target)


def examples_of(config, clips, per_clip):
    """The fragments that the student learns from or is measured on."""
    return fragments.Examples(clips, per_clip, 3, True, Annotations(clips, config.switch, maps=config.maps),
                              least_crop=config.data.least_crop)


def make_evaluation(model, clips, config, mesh):
    """`variables -> {'loss', 'cc'}`: the means of Eq. 17 and of the correlation with the pseudo-fixation over held-out frames."""
    examples = examples_of(config, clips, config.held_out_frames)

    @functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
    def tally(variables, batch):
        logits, _ = model.apply(variables, **classification.inputs(batch))
        maps = jnp.stack([jax.nn.sigmoid(logits), batch['target']], axis=1).reshape(len(logits), 2, -1)
        cc = jax.vmap(jnp.corrcoef)(maps)[:, 0, 1]
        return jnp.stack([jnp.where(batch['mask'], x, 0).sum() for x in (map_loss(logits, batch['target']), cc, 1.0)])

    def evaluate(variables):
        batches = fragments.batches(examples, batch=config.batch, slots=sharding.slots(config.batch))
        sums = np.sum([jax.device_get(tally(variables, sharding.put(b, mesh))) for b in batches], axis=0)
        return {'loss': float(sums[0] / max(sums[2], 1)), 'cc': float(sums[1] / max(sums[2], 1))}
    return evaluate


def run(config, workdir):
    """Trains the student; the run takes the switch along, so that `predict.py` and `evaluate.py` need this folder alone."""
    classification.check(config, ('STA',))
    workdir = training.open_workdir(config, workdir)
    splits = classification.open_data(config)
    if 'train' not in splits:
        raise InputError(f'{config.data.root}: no clip to train on; see what was skipped above')
    mesh, model, name = sharding.make_mesh(), make_student(config), 'STA'
    take_switch(config.switch, workdir / 'switch')
    held_out = splits.get('validation') or splits.get('test')
    example = classification.example_batch(config, 'STA', 1, 1)
    training.train(workdir / name, name, config, mesh, examples=examples_of(config, splits['train'], config.data.frames_per_clip),
                   evaluate=make_evaluation(model, held_out, config, mesh) if held_out else lambda variables: {},
                   initial=lambda: classification.initial_variables(config, name, model, example, workdir),
                   loss_fn=functools.partial(loss_fn, model=model, jitter=tuple(config.jitter)))
    if held_out and jax.process_index() == 0:
        show(config, model, checkpoint.load_variables(workdir / name / 'variables'), held_out, workdir / 'maps.png')


def take_switch(run, folder):
    """Copies the switch net of a run of `configs/audio_switch.py`: its config and its variables."""
    config = training.read_config(run)
    if config.get('task') != 'switch':
        raise InputError(f'config.switch={run!r}: not a run of configs/audio_switch.py')
    if jax.process_index() == 0 and not folder.exists():
        source, temporary = pathlib.Path(run), folder.with_name('.switch')
        checkpoint.load_variables(source / 'switch' / 'variables')  # says so where they are missing or broken
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source / 'switch' / 'variables', temporary / 'variables')
        shutil.copy(source / 'config.json', temporary / 'config.json')
        temporary.rename(folder)
    sharding.barrier('switch')


def show(config, model, variables, clips, path, per_kind=3):
    """Draws frames, their pseudo-fixations and what the student makes of them."""
    examples, count, chosen = examples_of(config, clips, 1), {}, []
    for i, clip in enumerate(clips.clips):
        count[clip['kind']] = count.get(clip['kind'], 0) + 1
        if count[clip['kind']] <= per_kind:
            chosen.append(i)
    found = [examples.at(i, clips.clips[i]['frames'] * 5 // 8) for i in chosen]
    batch = {k: np.stack([e[k] for e in found]) for k in found[0]}
    logits, _ = jax.jit(model.apply)(variables, **classification.inputs(batch))
    maps = np.asarray(scam.min_max(jax.nn.sigmoid(logits)))
    rows = []
    for i, example, map_ in zip(chosen, found, maps, strict=True):
        frame = example['frames'][1]
        rows.append((clips.categories[clips.clips[i]['tag']], [
            (clips.clips[i]['kind'], frame), ('pseudo-fixation', visualize.overlay(frame, example['target'] / 255)),
            ('student', visualize.overlay(frame, map_))]))
    visualize.contact_sheet(path, rows)
    print(f'what the student sees: {path}')
