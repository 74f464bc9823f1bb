"""Checks of a config's fields, whose errors name the field."""
import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.models import backbones
from stanet_jax.weights import sources


def require(field: str, value: Any, allowed: object, why: str) -> None:
    """Raises InputError where a field of a config has a value that is not allowed.

    Args:
        field: its name in the config.
        value: its value, for the message.
        allowed: true where the value is allowed.
        why: what the value must be.
    """
    if not allowed:
        raise InputError(f'config.{field}={value!r}: {why}')


def check_training(config: ConfigDict, known: Sequence[str]) -> None:
    """Checks the fields that all trainings read; InputError for a value that is not allowed. `known` are the nets that it may name."""
    require('nets', config.nets, config.nets and set(config.nets) <= set(known), f'must name nets out of {", ".join(known)}')
    for part, sort in (('encoder', backbones.IMAGE), ('audio_encoder', backbones.SOUND)):
        if part in config:
            require(f'{part}.name', config[part].name, config[part].name in sort, f'must be one of {", ".join(sort)}')
            weights = config[part].weights
            require(f'{part}.weights', weights, not weights or weights in sources.KEPT or pathlib.Path(weights).is_dir(),
                    "no such folder; stanet convert makes it of the publisher's file, `stanet weights` tells what 'pip' and 'fetched' "
                    "have, and '' begins from random weights")
            if weights in sources.KEPT:
                sources.locate(config[part].name, weights)  # says how to get them
    for field, choices in (('batch_norm', ('batch', 'running')), ('schedule', ('constant', 'cosine', 'polynomial')),
                           ('dtype', ('auto', 'float32', 'bfloat16'))):
        require(field, config[field], config[field] in choices, f'must be one of {", ".join(choices)}')
    remat = config.get('remat', False)
    require('remat', remat, not remat or config.encoder.name in backbones.REMAT,
            f'config.encoder.name={config.encoder.name!r} has no such; only {", ".join(backbones.REMAT)} have')
    for field in ('batch', 'evaluate_every', 'save_every', 'log_every'):
        require(field, config[field], config[field] > 0, 'must be above 0')
    require('data.side', config.data.side, config.data.side > 0, 'must be above 0')
    require('data.workers', config.data.workers, config.data.workers >= 0, 'must be 0 or more')
    for net in config.nets:
        for field in ('epochs', 'learning_rate', 'new_multiplier'):
            given, taken = config[field].get(net), field == 'epochs' and isinstance(config.start_from.get(net), str)
            require(f'{field}.{net}', given, (given or 0) > 0 or taken and given == 0, 'must be a number above 0')
        require(f'optimizer.{net}', config.optimizer.get(net), config.optimizer.get(net) in ('sgd', 'adam'), 'must be sgd or adam')
    require('jitter', config.jitter, len(config.jitter) == 4 and min(config.jitter) >= 0, 'must be four numbers of at least 0')
