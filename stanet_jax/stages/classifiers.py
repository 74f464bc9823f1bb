"""Trains the classifiers S, SA and ST on clips' tags, measures them on held-out clips, shows what they look at (TPAMI Sec. 3)."""
import functools

from stanet_jax.data import sets
from stanet_jax.models import blenders, classifiers, fusion
from stanet_jax.stages.accuracy import accuracy_by_kind, make_tally_fn, measure
from stanet_jax.stages.examples import make_examples, open_training_clips, warn_about_short_clips
from stanet_jax.stages.nets import example_batch, initial_variables, make_classifier, tag_loss
from stanet_jax.training import loop, sharding
from stanet_jax.training.checks import check_training, require
from stanet_jax.workdir import open_workdir


def check(config, known=('A', 'S', 'SA', 'ST', 'STA', *classifiers.PLUS_NETS)):
    """Refuses a config whose fields cannot be meant, with the field's name."""
    check_training(config, known)
    require('data.name', config.data.name, config.data.name in sets.NAMES, f'must be one of {", ".join(sets.NAMES)}')
    for field in ('width', 'held_out_frames'):
        require(field, config[field], config[field] > 0, 'must be above 0')
    for field in ('rate', 'frames_per_clip'):
        require(f'data.{field}', config.data[field], config.data[field] > 0, 'must be above 0')
    require('data.least_crop', config.data.least_crop, 0 < config.data.least_crop <= 1, 'must be above 0, and 1 at most')
    require('sa_fuse', config.sa_fuse, config.sa_fuse in fusion.SA_FUSIONS, f'must be one of {", ".join(fusion.SA_FUSIONS)}')
    if any('_' in net for net in config.nets):
        require('fragments', config.fragments, config.fragments > 0, 'must be above 0')
        require('blender.name', config.blender.name, config.blender.name in blenders.BLENDERS,
             f'must be one of {", ".join(blenders.BLENDERS)}')
        require('blender.steps', config.blender.get('steps', 0), config.blender.get('steps', 0) >= 0, 'must be 0 or more')


def train_net(config, source, splits, workdir, mesh):
    """Trains one net on `splits` ({name: Clips}), unless that is done already, and leaves its `variables` in its folder."""
    train, held_out = splits['train'], splits.get('validation') or splits.get('test')
    classes, per_clip = len(train.categories), config.data.frames_per_clip
    model = make_classifier(config, source, classes)
    evaluation = make_tally_fn(source, model, held_out, config, mesh, config.held_out_frames) if held_out else None

    def evaluate(variables):
        if not evaluation:
            return {}
        result = accuracy_by_kind(evaluation(variables), held_out)
        return {'accuracy': result['all']['frames'], **{f'accuracy_{k}': v['frames'] for k, v in result.items() if k != 'all'}}

    example = example_batch(config, source, classes, 1)
    warn_about_short_clips(config, source, train)
    loop.train(workdir / source, source, config, mesh, examples=make_examples(config, source, train, per_clip), evaluate=evaluate,
                   initial=lambda: initial_variables(config, source, model, example, workdir),
                   loss_fn=functools.partial(tag_loss, model=model, jitter=tuple(config.jitter)))


def run(config, workdir):
    """Trains the config's nets one after the other in `workdir`; one that was begun goes on, one that is done is left."""
    check(config)
    workdir = open_workdir(config, workdir)
    (splits, _), mesh = open_training_clips(config), sharding.make_mesh()
    for source in config.nets:
        train_net(config, source, splits, workdir, mesh)
    if len(splits) > 1:
        measure(config, workdir, splits)
    else:
        print('no validation or test split: nothing is held out to measure on')
