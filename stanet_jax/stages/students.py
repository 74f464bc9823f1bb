"""Stage: trains the students STA and STA+ on pseudo-fixations (TPAMI Sec. 5).

The students never take a tag. What the tags tell reaches them through the pseudo-fixations and the audio switch's labels alone.
"""
import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Key, UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError, losses, scam
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data import fragments
from stanet_jax.data.annotations import ANSWERS, LABELS, Annotations
from stanet_jax.data.clips import Clips
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.overlay import overlay
from stanet_jax.models.branch import parse_net
from stanet_jax.models.students import STA, STAPlus
from stanet_jax.stages import classifiers
from stanet_jax.stages.examples import (
    cropping,
    device_batches,
    held_out_clips,
    open_training_clips,
    shown_batch,
    shown_frame,
    warn_about_short_clips,
)
from stanet_jax.stages.nets import compute_dtype, example_batch, front_end, initial_variables, levels_of, net_inputs, those_that_count
from stanet_jax.training import checkpoint, loop, sharding
from stanet_jax.training.checks import require
from stanet_jax.workdir import barrier, open_workdir, read_config

# The final map of three students: Eq. 23, the authors' release's, Eq. 21.
FINAL_FUSIONS = {'product': scam.fuse_product, 'max': scam.fuse_maximum, 'final': scam.fuse_predictions}
# What opens a student's ear while it learns: the switch net's answer, as ever after, or the label that the net learned.
HEARS_BY = {'net': ANSWERS, 'label': LABELS}
STUDENTS = ('STA', 'STA_short', 'STA_long')  # STA+ short and long are named by the granularity of their further fragments

# ---------------------------------------------------------------------------------------------------------- nets and losses


def make_student(config: ConfigDict, net: str = 'STA') -> STA | STAPlus:
    """The module of a student, one of `STUDENTS`, with the fields of the config."""
    fields = (config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm, compute_dtype(config.dtype),
              config.get('remat', False))
    return STAPlus(*fields, flax.core.freeze(config.blender.to_dict())) if parse_net(net).granularity else STA(*fields)


def student_loss(variables: Variables, batch: Mapping[str, AnyArray], key: Key[jax.Array, ''], *, model: nn.Module,
                 jitter: Sequence[float], loss: str = 'bce_kl') -> tuple[Float[jax.Array, ' b'], Variables]:
    """The loss of each example on jittered frames and the new batch statistics.

    For STA it is `map_loss`; for STA+ its sum over the nodes that have a pseudo-fixation (Eq. 20).
    """
    (logits, _), updated = model.apply(variables, **net_inputs(batch, model.encoder, key, jitter), train=True,
                                       mask=those_that_count(batch['mask']), size=batch['target'].shape[-2:], mutable=['batch_stats'])
    losses = map_loss(logits, batch['target'], loss)
    if 'known' in batch:  # nodes that have a pseudo-fixation
        losses = jnp.where(batch['known'], losses, 0).sum(axis=1)
    return losses, updated.get('batch_stats', {})


def predict_maps(variables: Variables, batch: Mapping[str, AnyArray], *, model: nn.Module) -> Float[jax.Array, '*nodes h w']:
    """The logits of a student's maps, of the size of the batch's pseudo-fixations."""
    return model.apply(variables, **net_inputs(batch, model.encoder), size=batch['target'].shape[-2:])[0]


MAP_LOSSES = ('bce_kl', 'bce')  # TPAMI Eq. 17; CVPR


def map_loss(logits: Float[AnyArray, '*lead h w'], target: UInt8[AnyArray, '*lead h w'], loss: str = 'bce_kl') -> Float[jax.Array, '*lead']:
    """`BCE(s, p) + KL(s, p)` (TPAMI Eq. 17), or `BCE(s, p)` alone, of each map: the student's s, given as logits, and the pseudo-fixation
    p, from 0 to 255; `loss` is one of `MAP_LOSSES`."""
    lead, logits, target = logits.shape[:-2], *(x.reshape(-1, *x.shape[-2:]) for x in (logits, target.astype(jnp.float32) / 255))
    divergence = losses.kl_divergence(jax.nn.sigmoid(logits), target) if loss == 'bce_kl' else 0.0
    return (losses.binary_cross_entropy(logits, target) + divergence).reshape(lead)


class TargetNode(NamedTuple):
    """The target of each example, without the further fragments of STA+.

    Attributes:
        logits: of its fixation map.
        target: its pseudo-fixation, from 0 to 255.
        known: whether it has a pseudo-fixation.
    """
    logits: Float[AnyArray, 'b h w']
    target: UInt8[AnyArray, 'b h w']
    known: Bool[AnyArray, ' b']


def target_node(logits: Float[AnyArray, '*nodes h w'], batch: Mapping[str, AnyArray]) -> TargetNode:
    """The target of each example of a batch, from the logits of a student: a map for each example, of STA+ for each node."""
    if 'known' not in batch:
        return TargetNode(logits, batch['target'], batch['mask'])
    return TargetNode(logits[:, 0], batch['target'][:, 0], batch['known'][:, 0])


# ------------------------------------------------------------------------------------------------------------------ examples


def make_student_examples(config: ConfigDict, net: str, clips: Clips, per_clip: int) -> fragments.Examples:
    """The fragments with pseudo-fixations that a student learns from or is measured on, `per_clip` of each clip."""
    granularity, hears_by = parse_net(net).granularity, HEARS_BY[config.hears_by]
    return fragments.Examples(clips, per_clip, 3, front_end(config),
                              Annotations(clips, config.switch, maps=config.maps, hears_by=hears_by),
                              granularity=granularity, count=config.get('fragments', 0), levels=levels_of(net), **cropping(config))


@functools.lru_cache(16)
def _tally_fn(model, mesh):
    """`(variables, batch) -> sums` of the loss, of CC and of the number of examples, compiled."""
    def tally(variables, batch):
        logits, target, known = target_node(predict_maps(variables, batch, model=model), batch)
        maps = jnp.stack([jax.nn.sigmoid(logits), target], axis=1).reshape(len(logits), 2, -1)
        with jax.default_matmul_precision('highest'):
            cc = jnp.nan_to_num(jax.vmap(jnp.corrcoef)(maps)[:, 0, 1])
        return jnp.stack([jnp.where(known, x, 0).sum() for x in (map_loss(logits, target), cc, 1.0)])

    return jax.jit(tally, out_shardings=sharding.replicated(mesh))


def make_student_evaluation(model: nn.Module, examples: fragments.Examples, batch: int,
                            mesh: Mesh) -> Callable[[Variables], dict[str, float]]:
    """`variables -> {'loss', 'cc'}` of a student over the examples, `batch` at a time on the devices of the mesh.

    `loss` is the mean of Eq. 17, `cc` that of the correlation coefficient with the pseudo-fixation, 0 where one of them is constant.
    """
    tally = _tally_fn(model, mesh)

    def evaluate(variables):
        sums = np.sum([jax.device_get(tally(variables, of)) for of in device_batches(examples, batch, mesh)], axis=0)
        return {'loss': float(sums[0] / max(sums[2], 1)), 'cc': float(sums[1] / max(sums[2], 1))}
    return evaluate


# -------------------------------------------------------------------------------------------------------------------- stage


def check(config: ConfigDict) -> None:
    """Checks the fields of a config of this stage.

    Raises:
        InputError: a field has a value that is not allowed; the message names the field.
    """
    classifiers.check(config, STUDENTS, MAP_LOSSES)
    for field, what in (('maps', 'stanet distill --config=pseudo_gt:fine'), ('switch', 'stanet train --config=audio_switch')):
        require(field, config[field], bool(config[field]), f'a student needs this folder; make it by {what}')
    require('every', config.every, config.every >= 1, 'must be 1 (it learns from every clip) or more')
    require('hears_by', config.hears_by, config.hears_by in HEARS_BY, f'must be one of {", ".join(HEARS_BY)}')
    require('blur', config.blur, 0 <= config.blur < 0.25, 'must be from 0 to 0.25 of the side')
    require('fusion', config.fusion, config.fusion in FINAL_FUSIONS, f'must be one of {", ".join(FINAL_FUSIONS)}')


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Trains the students of the config one after the other and draws their maps of held-out clips; what is done is skipped.

    The run gets a copy of the audio switch, so that its folder is all that prediction and evaluation need.
    """
    check(config)
    workdir = open_workdir(config, workdir)
    copy_switch(config.switch, workdir / 'switch')
    splits = {split: clips.only(clips.each(config.every)) for split, clips in open_training_clips(config).items()}
    train, held_out, mesh = splits['train'], held_out_clips(splits), sharding.make_mesh()
    classifiers.forget(workdir / 'maps.png', config.nets)
    for net in config.nets:
        model, example = make_student(config, net), example_batch(config, net, 1, 1)
        warn_about_short_clips(net, train, config.get('fragments', 0))
        measured = make_student_examples(config, net, held_out, config.held_out_frames) if held_out else None
        loop.train(workdir / net, net, config, mesh, examples=make_student_examples(config, net, train, config.data.frames_per_clip),
                   evaluate=make_student_evaluation(model, measured, config.batch, mesh) if measured else lambda variables: {},
                   initial=functools.partial(initial_variables, config, net, model, example, workdir),
                   loss_fn=functools.partial(student_loss, model=model, jitter=tuple(config.jitter), loss=config.loss))
    if held_out and jax.process_index() == 0 and not (workdir / 'maps.png').exists():
        draw_student_maps(config, workdir, held_out)


def copy_switch(run: str | os.PathLike, folder: pathlib.Path) -> None:
    """Copies the config and the variables of a trained audio switch to a folder, unless they are there.

    Raises:
        InputError: `run` is not the folder of a run of `configs/audio_switch.py`, or its weights are missing or broken.
    """
    config = read_config(run)
    if config.get('task') != 'switch':
        raise InputError(f'config.switch={run!r}: not a run of configs/audio_switch.py; make one by stanet train --config=audio_switch')
    if jax.process_index() == 0 and not folder.exists():
        source, temporary = pathlib.Path(run), folder.with_name('.switch')
        checkpoint.load_variables(source / 'switch' / 'variables')  # says so where they are missing or broken
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source / 'switch' / 'variables', temporary / 'variables')
        shutil.copy(source / 'config.json', temporary / 'config.json')
        temporary.rename(folder)
    barrier('switch')


_predict_maps = jax.jit(predict_maps, static_argnames='model')


def draw_student_maps(config: ConfigDict, workdir: pathlib.Path, clips: Clips) -> None:
    """Draws frames of a few clips, their pseudo-fixations and each student's maps: `maps.png` in the workdir."""
    chosen = clips.of_each_kind(3)
    rows: list[tuple[str, list[tuple[str, np.ndarray]]]] = []
    for net in config.nets:
        batch, model = shown_batch(make_student_examples(config, net, clips, 1), chosen), make_student(config, net)
        variables = checkpoint.load_variables(workdir / net / 'variables')
        logits, target, _ = target_node(_predict_maps(variables, batch, model=model), batch)
        maps = np.asarray(scam.min_max(jax.nn.sigmoid(logits)))
        frames = [clips.frame(clip, shown_frame(clips, clip)) for clip in chosen]
        rows = rows or [(clips.tag_names(i), [
            (clips.clips[i]['kind'], frame), ('pseudo-fixation', overlay(frame, of / 255))])
            for i, frame, of in zip(chosen, frames, target, strict=True)]
        for (_, cells), frame, map_ in zip(rows, frames, maps, strict=True):
            cells.append((net.replace('_', '+ '), overlay(frame, map_)))
    contact_sheet(workdir / 'maps.png', rows)
    print(f'what the students see: {workdir / "maps.png"}')
