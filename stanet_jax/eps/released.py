"""The authors' checkpoints to runs of ours: of EPS to a run of EPS that makes pseudo-masks, of all others see `stages.released`."""
import os
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.configs import eps
from stanet_jax.stages import released
from stanet_jax.training import checkpoint
from stanet_jax.weights import convert, release
from stanet_jax.workdir import read_config, write_config

SUFFIXES = ('.pth', '.pt', '.params')


def convert_files(source: str | os.PathLike, out: str | os.PathLike) -> None:
    """Converts a file of the authors' releases, or all in a folder, to the run `out`, and prints what each is and what of it is not used.

    ImageNet's ResNet-38 becomes a folder of weights that configs take as `config.encoder.weights`.

    Raises:
        InputError: no such file, none in the folder, one of no released net, or `out` holds something else.
    """
    source = pathlib.Path(source)
    files = sorted(path for path in source.iterdir() if path.suffix in SUFFIXES) if source.is_dir() else [source]
    if not files:
        raise InputError(f'--src={source}: holds no {", ".join(SUFFIXES)} file; give a file that docs/release.md lists')
    for file in files:
        loaded, unused = release.load_all(file)
        if loaded.net == 'resnet38':
            checkpoint.replace_variables(out, loaded.variables)
            place = f'{out}'
        elif loaded.net in ('eps', 'eps_cls'):
            write_eps(loaded, out)
            place = f'{out}/EPS'
        else:
            place = f'{out}/{released.write(loaded, file, out)}'
        size = sum(x.size for x in jax.tree.leaves(loaded.variables))
        print(f'{file}: {loaded.net} ({loaded.version}), {size:,} numbers to {place}; not used: {convert.summary(unused)}')


def write_eps(loaded: release.Loaded, out: str | os.PathLike) -> None:
    """Makes a run of EPS of its checkpoint; one without a background's map becomes the baseline `selection='none'`.

    Raises:
        InputError: the folder holds another run.
    """
    folder, maps = pathlib.Path(out), loaded.module.maps
    if folder.exists() and any(folder.iterdir()) and not read_config(folder).get('released'):
        raise InputError(f'--out={out}: is there, and is no run of a released EPS; give another --out')
    config = eps.get_config('voc12' if maps < 80 else 'coco')
    config.released, config.encoder.weights = f'{loaded.net}, {maps} maps', ''
    if loaded.net == 'eps_cls':
        config.selection = 'none'
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.replace_variables(folder / 'EPS' / 'variables', eps_variables(loaded))
    write_config(folder, config)


def eps_variables(loaded: release.Loaded) -> Variables:
    """The variables of `segmentation.EPS`; a map of zeros is added for a background that the checkpoint does not have."""
    params = dict(loaded.variables['params'])
    kernel = params.pop('fc8')['kernel']
    if loaded.net == 'eps_cls':
        kernel = np.pad(kernel, [(0, 0)] * 3 + [(0, 1)])
    return {**loaded.variables, 'params': {**params, 'classifier': {'kernel': kernel}}}


def adopt(config: ConfigDict, workdir: str | os.PathLike) -> ConfigDict:
    """The config to go on with in a workdir: of a released run its own, with the data and the masks of `config`; else `config`.

    A released run is not made on some data, so that it takes any.
    """
    path = pathlib.Path(workdir) / 'config.json'
    own = read_config(workdir) if path.exists() else ConfigDict()
    if not own.get('released'):
        return config
    own.data, own.masks = config.data, config.masks
    if jax.process_index() == 0:
        write_config(workdir, own)
    return own
