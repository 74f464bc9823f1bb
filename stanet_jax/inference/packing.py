"""Packs trained students into a folder of safetensors and configs that is small enough to ship: without frozen encoders and checkpoints."""
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.training import checkpoint
from stanet_jax.weights.packed import save_file
from stanet_jax.workdir import check_replaceable, read_config, replacing, write_config

WEIGHTS = 'variables.safetensors'
PLACES = ('switch', 'boxes', 'maps')  # fields that name folders of the machine where it was trained


def pack(run: str | os.PathLike, out: str | os.PathLike, nets: Sequence[str]) -> int:
    """Packs students of a run with their audio switch, as float16, into a folder that `predictor.Predictor` takes as it takes a run.

    Args:
        run: folder of a run of students on frozen encoders.
        out: folder to write; students that were packed into it before are replaced.
        nets: which of its students.
    Returns:
        The size of all files, in bytes.
    Raises:
        InputError: no such run or net, or encoders that are not frozen, whose weights would have to be packed, too; or
            `out` holds other things.
    """
    config = read_config(run)
    if not config.encoder.get('frozen'):
        raise InputError(f'{run}: trained with encoders of its own; only students on frozen encoders are packed')
    if not set(nets) <= set(config.nets):
        raise InputError(f'{run}: has {", ".join(config.nets)}, not {", ".join(nets)}')
    config.nets = tuple(nets)
    folder, out = pathlib.Path(run), pathlib.Path(out)
    check_replaceable(out, rf'(.*/)?({WEIGHTS}|config\.json)', 'packed students')
    with replacing(out) as new:
        new.mkdir()
        write_config(new, without_places(config))
        for net in nets:
            write_net(new / net, folder / net)
        write_net(new / 'switch', folder / 'switch')
        write_config(new / 'switch', without_places(read_config(folder / 'switch')))
    return sum(path.stat().st_size for path in out.rglob('*') if path.is_file())


def write_net(out: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes the variables of a trained net as `<out>/variables.safetensors`."""
    out.mkdir(parents=True)
    save_file(out / WEIGHTS, checkpoint.load_variables(folder / 'variables'), np.float16)


def without_places(config: ConfigDict) -> ConfigDict:
    """A config without what says where it was trained."""
    kept: dict[str, Any] = json.loads(config.to_json_best_effort())
    kept |= {'start_from': {}, **{field: '' for field in PLACES if field in kept}}
    kept['data'] |= {'root': '', 'prepared': ''}
    return ConfigDict(kept)
