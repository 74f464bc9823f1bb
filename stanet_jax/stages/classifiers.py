"""Stage: trains the classifiers S, SA, ST and S+, SA+, ST+ on clips' tags and measures them on held-out clips (TPAMI Sec. 3, 4)."""
import os
import pathlib
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stanet_jax.arrays import Variables
from stanet_jax.data.clips import Clips
from stanet_jax.models import blenders, branch, classifiers, fusion
from stanet_jax.stages.accuracy import accuracy_by_kind, default_split, make_tally_fn, measure, measured_split
from stanet_jax.stages.examples import check_data, cropping, held_out_clips, make_examples, open_training_clips, warn_about_short_clips
from stanet_jax.stages.nets import TAG_LOSSES, example_batch, initial_variables, make_classifier, make_tag_loss
from stanet_jax.training import loop, sharding
from stanet_jax.training.checks import check_training, require
from stanet_jax.workdir import open_workdir


def check(config: ConfigDict, known: Sequence[str] = ('A', 'S', 'SA', 'ST', 'STA', *classifiers.PLUS_NETS),
          known_losses: Sequence[str] = tuple(TAG_LOSSES)) -> None:
    """Checks the fields of a config that trains nets on clips; `known` are the nets that it may name.

    Raises:
        InputError: a field has a value that is not allowed; the message names the field.
    """
    check_training(config, known)
    check_data(config)
    for field in ('width', 'held_out_frames'):
        require(field, config[field], config[field] > 0, 'must be above 0')
    require('data.frames_per_clip', config.data.frames_per_clip, config.data.frames_per_clip >= 0, 'must be above 0, or 0 for every frame')
    cropping(config)
    frozen = [config[part].get('frozen', False) for part in ('encoder', 'audio_encoder')]
    require('audio_encoder.frozen', frozen[1], frozen[0] == frozen[1], 'must be as encoder.frozen: both encoders are frozen, or none')
    for part in ('encoder', 'audio_encoder'):
        require(f'{part}.weights', config[part].weights, config[part].weights or not frozen[0], 'a frozen encoder needs pretrained weights')
    require('loss', config.loss, config.loss in known_losses, f'must be one of {", ".join(known_losses)}')
    require('sa_fuse', config.sa_fuse, config.sa_fuse in fusion.SA_FUSIONS, f'must be one of {", ".join(fusion.SA_FUSIONS)}')
    if any(branch.parse_net(net).granularity for net in config.nets):
        require('fragments', config.fragments, config.fragments > 0, 'must be above 0')
        require('blender.name', config.blender.name, config.blender.name in blenders.BLENDERS,
                f'must be one of {", ".join(blenders.BLENDERS)}')
        require('blender.steps', config.blender.get('steps', 0), config.blender.get('steps', 0) >= 0, 'must be 0 or more')


def train_net(config: ConfigDict, net: str, splits: Mapping[str, Clips], workdir: pathlib.Path, mesh: Mesh) -> None:
    """Trains one classifier, unless that is done, and writes its variables to `<workdir>/<net>/variables`.

    Args:
        config: of the run.
        net: one of its nets.
        splits: clips by split, with 'train'; the held-out ones are measured on during the training.
        workdir: folder of the run.
        mesh: devices to train on.
    """
    train, held_out = splits['train'], held_out_clips(splits)
    model, per_clip = make_classifier(config, net, len(train.categories)), config.data.frames_per_clip
    tally = make_tally_fn(model, make_examples(config, net, held_out, config.held_out_frames), config.batch, mesh) if held_out else None

    def evaluate(variables: Variables) -> dict[str, float]:
        if not tally or not held_out:
            return {}
        result = accuracy_by_kind(tally(variables), held_out.clips)
        return {'accuracy': result['all']['frames'], **{f'accuracy_{k}': v['frames'] for k, v in result.items() if k != 'all'}}

    example = example_batch(config, net, len(train.categories), 1)
    warn_about_short_clips(net, train, config.get('fragments', 0))
    loop.train(workdir / net, net, config, mesh, examples=make_examples(config, net, train, per_clip, config.open_only), evaluate=evaluate,
               initial=lambda: initial_variables(config, net, model, example, workdir),
               loss_fn=make_tag_loss(config, net, model))


def run_unimodal(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Trains those nets of the config that neither hear beside seeing nor begin from nets that do, A and S; see `run`.

    The audio switch begins from them, and SA and STA hear by the switch's labels.
    """
    check(config)
    workdir = open_workdir(config, workdir)
    splits, mesh = open_training_clips(config), sharding.make_mesh()
    for net in (net for net in config.nets if net in ('A', 'S')):
        train_net(config, net, splits, workdir, mesh)


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Trains the nets of the config one after the other and measures them, see `accuracy.measure`.

    A net that was interrupted goes on from its last checkpoint; one that is done is skipped, and where all are they are not measured again.
    """
    check(config)
    workdir = open_workdir(config, workdir)
    splits, mesh = open_training_clips(config), sharding.make_mesh()
    forget(workdir / 'accuracy.json', config.nets)
    for net in config.nets:
        train_net(config, net, splits, workdir, mesh)
    if len(splits) == 1:
        print('no validation or test split: nothing is held out to measure on')
    elif measured_split(workdir) != default_split(splits):
        measure(config, workdir, splits)


def forget(told: pathlib.Path, nets: Sequence[str]) -> None:
    """Removes what is told of the nets of a run, a file in its folder, where one of them is not trained yet."""
    if jax.process_index() == 0 and not all((told.parent / net / 'variables').exists() for net in nets):
        told.unlink(missing_ok=True)
