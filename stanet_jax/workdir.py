"""A run's folder: its config, files that are written whole or not at all, and reading it back."""
import concurrent.futures
import json
import os
import pathlib
import shutil

import jax
import ml_collections
import tqdm
from jax.experimental import multihost_utils

from stanet_jax import InputError


def barrier(name):
    """Waits until all processes are here."""
    multihost_utils.sync_global_devices(name)


def replace_text(path, text):
    """Writes a file whole or not at all."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    temporary.write_text(text)
    temporary.replace(path)


def open_workdir(config, workdir):
    """The folder of a run, made if it is not there; it keeps the config, and takes no other one afterwards.

    Raises:
        InputError: it cannot be written, or belongs to a run of another config.
    """
    workdir = pathlib.Path(workdir)
    text = json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'
    path = workdir / 'config.json'
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            was, now = _flatten(json.loads(path.read_text())), _flatten(json.loads(text))
            changed = [f'{k} was {was.get(k)!r} and is {now.get(k)!r}' for k in sorted(was.keys() | now.keys())
                       if was.get(k) != now.get(k)]
            if changed:
                raise InputError(f'{workdir}: belongs to a run of another config ({"; ".join(changed[:3])}); give another --workdir')
        elif jax.process_index() == 0:
            replace_text(path, text)
    except json.JSONDecodeError as error:
        raise InputError(f'{path}: not a run\'s config ({error}); give another --workdir') from error
    except OSError as error:
        raise InputError(f'{workdir}: cannot be written ({error.strerror}); give another --workdir') from error
    return workdir


def _flatten(tree, prefix=''):
    items = [_flatten(v, f'{prefix}{k}.') if isinstance(v, dict) else {prefix + k: v} for k, v in tree.items()]
    return {k: v for item in items for k, v in item.items()}


def read_config(workdir):
    """The config of the run in a folder."""
    path = pathlib.Path(workdir) / 'config.json'
    try:
        return ml_collections.ConfigDict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: not a run ({error.__class__.__name__}); give the --workdir of one that train.py made') from error


def write_missing(out, names, sizes, make, unit, again=False):
    """Makes what is missing of the files or folders `names` in `out`; each process does its share, each appears when it is whole.

    Args:
        out: the folder; made if it is not there.
        sizes: what each counts for on the progress line, which counts in `unit`.
        make: `missing -> iterator of (i, write)`, in any order; `write(path)`, called by a thread, writes the one of `names[i]` to a path.
        again: all are missing; what is there is replaced.
    """
    scratch = out / f'.writing.{jax.process_index()}'
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    missing = [i for i in range(jax.process_index(), len(names), jax.process_count()) if again or not (out / names[i]).exists()]

    def put(write, name):
        write(scratch / name)
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        (scratch / name).rename(out / name)

    with concurrent.futures.ThreadPoolExecutor(2) as pool, tqdm.tqdm(
            total=sum(sizes[i] for i in missing), desc=f'{out.parent.name} {out.name}', unit=unit, mininterval=1) as progress:
        waiting = []
        for i, write in make(missing):
            waiting.append(pool.submit(put, write, names[i]))
            while len(waiting) > 4 or waiting and waiting[0].done():
                waiting.pop(0).result()
            progress.update(sizes[i])
        for job in waiting:
            job.result()
    shutil.rmtree(scratch)
    barrier(f'{out} written')
