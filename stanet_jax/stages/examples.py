"""The clips and fragments that a stage learns from or is measured on."""
import jax

from stanet_jax import InputError
from stanet_jax.data import fragments, sets
from stanet_jax.data.annotations import Annotations
from stanet_jax.models import branch
from stanet_jax.workdir import barrier


def make_examples(config, source, clips, per_clip):
    """The fragments that the net `source` learns from or is measured on: cropped to `config.boxes`, with `config.switch`'s labels."""
    source, _, granularity = source.partition('_')
    switch = config.switch if source == 'SA' else ''
    annotations = Annotations(clips, switch, config.boxes) if switch or config.boxes else None
    return fragments.Examples(clips, per_clip, branch.FRAMES[source], source in branch.SOUND, annotations,
                              least_crop=config.data.least_crop, granularity=granularity, count=config.get('fragments', 0))


def warn_about_short_clips(config, net, clips):
    """Says, once for a training, where the fragments of `net` cannot be what the paper takes."""
    source, _, granularity = net.partition('_')
    short = fragments.describe_shortage(clips, branch.FRAMES[source], granularity, config.get('fragments', 0))
    if short and jax.process_index() == 0:
        print(f'{net}: {short}')


def open_training_clips(config):
    """`open_clips`, with some to train on, and those that are held out: the validation part, else the test part, else None."""
    splits = open_clips(config)
    if 'train' not in splits:
        raise InputError(f'{config.data.root}: no clip to train on; see what was skipped above')
    return splits, splits.get('validation') or splits.get('test')


def open_clips(config, side=0):
    """The clips of the config's set, see `sets.open_splits`; prepared by all processes together, at `side` pixels or the config's."""
    data, part = config.data, (jax.process_index(), jax.process_count())
    return sets.open_splits(data.name, data.root, side or data.side, data.rate, data.prepared, part, barrier)
