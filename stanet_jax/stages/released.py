"""The authors' checkpoints as a run of ours: `write` converts a file, `read` gives its nets back.

    <run>/config.json                   `task` 'released', and of each net what it is and which file it came from
    <run>/<net>/variables               of STA, STA_short, STA_long and switch; of S, SA, ST and S_short, ST_long, SA_cross and so on

Their encoders are parts `encoder` and `audio_encoder`, which our own nets take by `config.start_from`.
"""
import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import ml_collections

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.models.release import NETS
from stanet_jax.training import checkpoint
from stanet_jax.weights import release
from stanet_jax.workdir import read_config, replace_text

TASK = 'released'
PLAIN = {'sta': 'STA', 'cvpr_sta': 'STA', 'switch': 'switch', 'cvpr_switch': 'switch', 's': 'S', 'sa': 'SA', 'st': 'ST'}
# Nets with further fragments, of which a file does not say where these are from: their name, and the default.
PLUS = {'stagcn': ('STA', 'short'), 's_plus': ('S', 'short'), 'st_plus': ('ST', 'short'), 'sa_plus': ('SA', 'long')}
GRANULARITIES = ('short', 'long', 'cross')


class ReleasedNet(NamedTuple):
    """A released net of a run.

    Attributes:
        kind: which it is, as 'sta'.
        version: which of its versions.
        module: of `models.release`.
        variables: of the module.
    """
    kind: str
    version: str
    module: nn.Module
    variables: Variables


def role(net: str, path: str | os.PathLike) -> str:
    """What a released net is called in a run: 'STA' of 'sta', 'STA_short' of 'stagcn', of a file named `..._long...` 'STA_long'."""
    if net in PLAIN:
        return PLAIN[net]
    source, default = PLUS[net]
    named = pathlib.Path(path).stem.lower()
    return f'{source}_{next((of for of in GRANULARITIES if of in named), default)}'


def write(loaded: release.Loaded, source: str | os.PathLike, out: str | os.PathLike) -> str:
    """Adds a net to a run of released nets, where it replaces one of the same name; gives its name.

    Args:
        loaded: from the file.
        source: the file.
        out: folder of the run; created where it does not exist.
    Raises:
        InputError: the folder holds something else.
    """
    folder, name = pathlib.Path(out), role(loaded.net, source)
    known = {}
    if folder.exists() and any(folder.iterdir()):
        config = read_config(folder)
        if config.get('task') != TASK:
            raise InputError(f'--out={out}: is there, and is no run of released nets; give another --out')
        known = config.nets.to_dict()
    fields = {field.name: getattr(loaded.module, field.name) for field in dataclasses.fields(loaded.module)  # type: ignore[arg-type]
              if field.name not in ('parent', 'name')}
    known[name] = {'net': loaded.net, 'version': loaded.version, 'fields': fields, 'file': pathlib.Path(source).name}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.replace_variables(folder / name / 'variables', loaded.variables)
    replace_text(folder / 'config.json', json.dumps({'task': TASK, 'nets': known}, indent=2, sort_keys=True) + '\n')
    return name


def run_of(path: str | os.PathLike) -> tuple[pathlib.Path, ml_collections.ConfigDict, str]:
    """The folder of the run that `path` is or is a net of, its config, and the net, '' for all; InputError where there is no run."""
    path = pathlib.Path(path)
    inside = not (path / 'config.json').exists() and (path.parent / 'config.json').exists()
    run = path.parent if inside else path
    return run, read_config(run), path.name if inside else ''


def is_released(run: str | os.PathLike) -> bool:
    """Whether a folder is a run of released nets, or a net of one."""
    try:
        return run_of(run)[1].get('task') == TASK
    except InputError:
        return False


def read(path: str | os.PathLike, names: Sequence[str]) -> dict[str, ReleasedNet]:
    """Those nets of a run, or the one net of it that `path` names, that are among `names`.

    Raises:
        InputError: there is no such run or net, or its weights are missing or of another net.
    """
    run, config, only = run_of(path)
    if only and only not in config.nets:
        raise InputError(f'{path}: no net of {run}, which has {", ".join(sorted(config.nets))}')
    return {name: read_net(run / name, config.nets[name].to_dict()) for name in names if name in config.nets and only in ('', name)}


def read_net(folder: pathlib.Path, entry: Mapping) -> ReleasedNet:
    """A net of a run by its entry in the config; InputError where its weights are missing or of another net."""
    variables = checkpoint.load_variables(folder / 'variables')
    try:
        module = NETS[entry['net'], entry['version']](**entry['fields'])
    except (KeyError, TypeError) as error:
        raise InputError(f'{folder.parent}/config.json: names no released net ({error}); convert the file again') from error
    if jax.tree.map(lambda x: x.shape, variables) != jax.tree.map(lambda x: x.shape, release.shapes_of(module)):
        raise InputError(f'{folder}/variables: not the weights of {entry["net"]} ({entry["version"]}); convert the file again')
    return ReleasedNet(entry['net'], entry['version'], module, variables)
