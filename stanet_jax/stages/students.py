"""Trains the students STA and STA+ on pseudo-fixations (TPAMI Sec. 5); no tag enters them but through these and the switch's labels."""
import functools
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import InputError, losses, scam
from stanet_jax.data import fragments
from stanet_jax.data.annotations import Annotations
from stanet_jax.data.batches import iterate_batches
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.overlay import overlay
from stanet_jax.models import students
from stanet_jax.stages import classifiers
from stanet_jax.stages.examples import open_training_clips, warn_about_short_clips
from stanet_jax.stages.nets import compute_dtype, example_batch, initial_variables, net_inputs
from stanet_jax.training import checkpoint, loop, sharding
from stanet_jax.workdir import barrier, open_workdir, read_config

STUDENTS = ('STA', 'STA_short', 'STA_long')  # STA+ by what else it sees


def make_student(config, net='STA'):
    """The student `net`, one of `STUDENTS`, as the config has it."""
    fields = (config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm, compute_dtype(config))
    return students.STAPlus(*fields, config.blender.to_dict()) if '_' in net else students.STA(*fields)


def student_loss(variables, batch, key, *, model, jitter):
    """The loss of each example [b], Eq. 17, of STA+ the mean over its nodes (Eq. 20), and the new batch statistics."""
    (logits, _), updated = model.apply(variables, **net_inputs(batch, key, jitter), train=True, mask=batch['mask'],
                                       mutable=['batch_stats'])
    losses = map_loss(logits, batch['target'])
    if 'known' in batch:  # nodes that have a pseudo-fixation
        losses = jnp.where(batch['known'], losses, 0).sum(axis=1) / jnp.maximum(batch['known'].sum(axis=1), 1)
    return losses, updated.get('batch_stats', {})


def map_loss(logits, target):
    """`BCE(s, p) + KL(s, p)` (Eq. 17): logits [..., h, w] of the student's map, target uint8 [..., h, w] -> [...]."""
    lead, logits, target = logits.shape[:-2], *(x.reshape(-1, *x.shape[-2:]) for x in (logits, target.astype(jnp.float32) / 255))
    return (losses.binary_cross_entropy(logits, target) + losses.kl_divergence(jax.nn.sigmoid(logits), target)).reshape(lead)


def make_student_examples(config, net, clips, per_clip):
    """The fragments that the student `net` learns from or is measured on."""
    granularity = net.partition('_')[2]
    return fragments.Examples(clips, per_clip, 3, True, Annotations(clips, config.switch, maps=config.maps),
                              least_crop=config.data.least_crop, granularity=granularity, count=config.get('fragments', 0))


def target_node(logits, batch):
    """The map of the target, [b, h, w], its pseudo-fixation, and whether there is one, [b]."""
    if 'known' not in batch:
        return logits, batch['target'], batch['mask']
    return logits[:, 0], batch['target'][:, 0], batch['known'][:, 0]


def make_student_evaluation(net, model, clips, config, mesh):
    """`variables -> {'loss', 'cc'}`: the means of Eq. 17 and of the correlation with the pseudo-fixation over held-out frames."""
    examples = make_student_examples(config, net, clips, config.held_out_frames)

    @functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
    def tally(variables, batch):
        logits, target, known = target_node(model.apply(variables, **net_inputs(batch))[0], batch)
        maps = jnp.stack([jax.nn.sigmoid(logits), target], axis=1).reshape(len(logits), 2, -1)
        cc = jax.vmap(jnp.corrcoef)(maps)[:, 0, 1]
        return jnp.stack([jnp.where(known, x, 0).sum() for x in (map_loss(logits, target), cc, 1.0)])

    def evaluate(variables):
        batches = iterate_batches(examples, batch=config.batch, slots=sharding.slots(config.batch))
        sums = np.sum([jax.device_get(tally(variables, sharding.put(b, mesh))) for b in batches], axis=0)
        return {'loss': float(sums[0] / max(sums[2], 1)), 'cc': float(sums[1] / max(sums[2], 1))}
    return evaluate


def run(config, workdir):
    """Trains the students; the run takes the switch along, so that `predict.py` and `evaluate.py` need this folder alone."""
    classifiers.check(config, STUDENTS)
    workdir = open_workdir(config, workdir)
    (splits, held_out), mesh = open_training_clips(config), sharding.make_mesh()
    copy_switch(config.switch, workdir / 'switch')
    for net in config.nets:
        model, example = make_student(config, net), example_batch(config, net, 1, 1)
        warn_about_short_clips(config, net, splits['train'])
        examples = make_student_examples(config, net, splits['train'], config.data.frames_per_clip)
        loop.train(workdir / net, net, config, mesh, examples=examples,
                   evaluate=make_student_evaluation(net, model, held_out, config, mesh) if held_out else lambda variables: {},
                   initial=functools.partial(initial_variables, config, net, model, example, workdir),
                   loss_fn=functools.partial(student_loss, model=model, jitter=tuple(config.jitter)))
    if held_out and jax.process_index() == 0:
        draw_student_maps(config, workdir, held_out)


def copy_switch(run, folder):
    """Copies the switch net of a run of `configs/audio_switch.py`: its config and its variables."""
    config = read_config(run)
    if config.get('task') != 'switch':
        raise InputError(f'config.switch={run!r}: not a run of configs/audio_switch.py')
    if jax.process_index() == 0 and not folder.exists():
        source, temporary = pathlib.Path(run), folder.with_name('.switch')
        checkpoint.load_variables(source / 'switch' / 'variables')  # says so where they are missing or broken
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source / 'switch' / 'variables', temporary / 'variables')
        shutil.copy(source / 'config.json', temporary / 'config.json')
        temporary.rename(folder)
    barrier('switch')


def draw_student_maps(config, workdir, clips):
    """Draws frames, their pseudo-fixations and what each student makes of them: `maps.png` in the workdir."""
    chosen, rows = clips.of_each_kind(3), []
    for net in config.nets:
        examples, model = make_student_examples(config, net, clips, 1), make_student(config, net)
        found = [examples.at(i, clips.clips[i]['frames'] * 5 // 8) for i in chosen]
        batch = {k: np.stack([e[k] for e in found]) for k in found[0]}
        variables = checkpoint.load_variables(workdir / net / 'variables')
        logits, target, _ = target_node(jax.jit(model.apply)(variables, **net_inputs(batch))[0], batch)
        maps = np.asarray(scam.min_max(jax.nn.sigmoid(logits)))
        frames = batch['frames'].reshape(len(chosen), -1, *batch['frames'].shape[-3:])[:, 1]  # the targets
        rows = rows or [(clips.categories[clips.clips[i]['tag']], [
            (clips.clips[i]['kind'], frame), ('pseudo-fixation', overlay(frame, of / 255))])
            for i, frame, of in zip(chosen, frames, target, strict=True)]
        for (_, cells), frame, map_ in zip(rows, frames, maps, strict=True):
            cells.append((net.replace('_', '+ '), overlay(frame, map_)))
    contact_sheet(workdir / 'maps.png', rows)
    print(f'what the students see: {workdir / "maps.png"}')
