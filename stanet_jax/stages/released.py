"""The authors' checkpoints as a run of ours: `write` converts a file, `read` gives its nets back.

    <run>/config.json                   `task` 'released', and of each net what it is and which file it came from
    <run>/<net>/variables               of STA, STA_short, STA_long and switch; of S, SA, ST and S_short, ST_long, SA_cross and so on

Their encoders are parts `encoder` and `audio_encoder`, which our own nets take by `config.start_from`.
"""
import dataclasses
import functools
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.models.release import NETS, parts
from stanet_jax.training import checkpoint
from stanet_jax.weights import release
from stanet_jax.workdir import find_run, read_config, write_config

TASK = 'released'
PLAIN = {'sta': 'STA', 'cvpr_sta': 'STA', 'switch': 'switch', 'cvpr_switch': 'switch', 's': 'S', 'sa': 'SA', 'st': 'ST'}
# Nets with further fragments, of which a file does not say where these are from: their name, and the default.
PLUS = {'stagcn': ('STA', 'short'), 's_plus': ('S', 'short'), 'st_plus': ('ST', 'short'), 'sa_plus': ('SA', 'long')}
SIDE = 256  # of the classification nets' frames
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
    config = {'task': TASK, 'nets': known, 'data': {'side': SIDE}, 'encoder': {'name': 'resnext101_32x8d'},
              'audio_encoder': {'name': 'vggsound', 'hears': 'release'}}  # what stages ask of a run whose nets make maps
    write_config(folder, ml_collections.ConfigDict(config))
    return name


def is_released(run: str | os.PathLike) -> bool:
    """Whether a folder is a run of released nets, or a net of one."""
    try:
        return find_run(run).config.get('task') == TASK
    except InputError:
        return False


def read(path: str | os.PathLike, names: Collection[str]) -> dict[str, ReleasedNet]:
    """Those nets of a run, or the one net of it that `path` names, that are among `names`.

    Raises:
        InputError: there is no such run or net, or its weights are missing or of another net.
    """
    run, config, only = find_run(path)
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


# ------------------------------------------------------------------------------------------ classification nets as sources of maps


class Source:
    """A released classification net with the interface of `classifiers.Classifier`, as `source_maps` applies it.

    Its logits are those by which the release decides whether a frame's map is kept, its maps `relu((map_first + map_fused) / 2)`, what the
    release keeps of them. `encoder` is the name of its image encoder.
    """

    def __init__(self, module: nn.Module):
        """Of a module of `models.release`."""
        self.module, self.encoder = module, 'vgg16' if hasattr(module, 'look') else 'resnext101_32x8d'

    def apply(self, variables: Variables, *arguments: AnyArray | None, method: str = 'classify', **inputs: AnyArray) -> Any:
        """What `Classifier.apply` and `ClassifierPlus.apply` give for this method."""
        return getattr(self, method)(functools.partial(self.module.apply, variables), *arguments, **inputs)

    def classify(self, apply: Any, frames: AnyArray, audio: AnyArray | None = None,
                 phi: AnyArray | None = None) -> tuple[AnyArray, dict[str, AnyArray]]:
        """The answer of S, SA and ST to the middle one of one or three frames."""
        middle = frames.shape[1] // 2
        offsets = getattr(self.module, 'offsets', (0,))
        given = {f'frame{k}' if len(offsets) > 1 else 'frame': frames[:, middle + offset] for k, offset in enumerate(offsets)}
        out = apply({**given, **({} if audio is None else {'audio': audio})})
        shape = [n // 16 for n in frames.shape[2:4]]  # S's maps are so large, those of SA and ST are half of it
        return out[self.module.deciding], {'maps': parts.enlarge(kept_maps(out['map_first'], out['map_fused']), shape)}

    def encode_frames(self, apply: Any, frames: AnyArray) -> dict[str, AnyArray]:
        """What S+, SA+ and ST+ see of frames."""
        seen = apply(frames.reshape(-1, *frames.shape[-3:]), method='look')
        return {'C5': seen.reshape(*frames.shape[:-3], *seen.shape[1:])}

    def encode_audio(self, apply: Any, audio: AnyArray) -> AnyArray:
        """What SA+ hears of sounds."""
        return apply(audio.reshape(-1, *audio.shape[-2:]), method='listen').reshape(*audio.shape[:-2], -1)

    def node(self, apply: Any, seen: AnyArray, heard: AnyArray | None = None, phi: AnyArray | None = None) -> AnyArray:
        """The nodes of fragments, and behind them in the channels their `map_first`."""
        return jnp.concatenate(apply([seen[:, k] for k in range(seen.shape[1])], heard, method='node'), axis=-1)

    def reason(self, apply: Any, nodes: AnyArray) -> tuple[AnyArray, dict[str, AnyArray]]:
        """The answer to the target, the first of three nodes."""
        own, first = jnp.split(nodes, 2, axis=-1)
        fused = apply([own[:, i] for i in range(own.shape[1])], method='reason')[0]
        return parts.mean(fused), {'maps': kept_maps(first[:, 0], fused)}


def kept_maps(first: AnyArray, fused: AnyArray) -> AnyArray:
    """What the release keeps of a net's maps."""
    return jax.nn.relu((first + fused) / 2)
