"""Checkpoints with Orbax: a training's state with its place in the data, and a trained net's variables.

Orbax writes to a temporary name and renames, so that a killed process leaves the last complete checkpoint.
"""
import contextlib
import functools
import os
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.scratch import ORBAX_SCRATCH
from stanet_jax.weights.packed import load_file
from stanet_jax.workdir import replacing


class Restored(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        state: of the training, a tree of arrays.
        data: the place in the data, as it was given to `Checkpoints.save`.
    """
    state: Any
    data: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training; the last two are kept."""

    def __init__(self, folder: str | os.PathLike):
        """Opens the checkpoints in `folder`, which is created where it does not exist."""
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
        handlers = {'state': ocp.StandardCheckpointHandler(), 'data': ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(pathlib.Path(folder).absolute(), options=options, item_handlers=handlers)

    def save(self, step: int, state: Any, data: Mapping[str, Any]) -> None:
        """Writes a checkpoint in the background.

        Args:
            step: of the training.
            state: tree of arrays.
            data: the place in the data, as JSON can hold it.
        """
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(data))
        with _telling(self._manager.directory):
            self._manager.save(step, args=items, force=True)

    def restore(self, state: Any) -> Restored | None:
        """Reads the newest checkpoint, if there is any.

        Args:
            state: tree of arrays that gives the shapes and shardings; the devices may differ from those that wrote the checkpoint.
        Raises:
            InputError: the checkpoint has other shapes.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        self._check(step, state)
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        restored = self._manager.restore(step, args=ocp.args.Composite(
            state=ocp.args.StandardRestore(template), data=ocp.args.JsonRestore()))
        return Restored(restored['state'], restored['data'])

    def _check(self, step, state):
        saved = shapes_by_path(self._manager.item_metadata(step)['state'])
        wanted = shapes_by_path(jax.eval_shape(lambda: state))
        wrong = sorted(k for k in saved.keys() | wanted.keys() if saved.get(k) != wanted.get(k))
        if wrong:
            k = wrong[0]
            raise InputError(f'{self._manager.directory}/{step}: a checkpoint of another model ({k} is {saved.get(k, "absent")} there '
                             f'and {wanted.get(k, "absent")} here); give another --workdir')

    def interrupted(self, step: int) -> bool:
        """Whether the hosts are about to be preempted; all processes of a run get the same answer at the same step."""
        return self._manager.reached_preemption(step)

    def close(self) -> None:
        """Waits until the checkpoints are written."""
        with _telling(self._manager.directory):
            self._manager.wait_until_finished()
            self._manager.close()


@contextlib.contextmanager
def _telling(folder: str | os.PathLike) -> Iterator[None]:
    """Raises OSError, with the folder, where Orbax or its TensorStore cannot write, as on a full disk; what is half written goes."""
    _hush()
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or os.fspath(folder)) from error
    except (ValueError, RuntimeError) as error:
        _remove(pathlib.Path(f'{folder}{ORBAX_SCRATCH}'))
        if not (code := re.search(r"os_error_code='(\d+)'", str(error))):
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), os.fspath(folder)) from error


def _remove(folder):
    """Removes a folder, into which writes that were begun before another one failed may still put files."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


@functools.cache
def _hush():
    """Keeps TensorStore from printing a traceback for each of the writes that still go on when one has failed, which is raised."""
    told = sys.unraisablehook

    def tell(raised):
        if 'Event loop is closed' not in str(raised.exc_value):
            told(raised)

    sys.unraisablehook = tell


def shapes_by_path(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf by its path, with dots between."""
    return {jax.tree_util.keystr(path, simple=True, separator='.'): tuple(np.shape(x)) for path, x in jax.tree.leaves_with_path(tree)}


def save_variables(folder: str | os.PathLike, variables: Variables) -> None:
    """Writes a net's variables to `folder`, and replaces what the folder holds."""
    with _telling(folder), ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(pathlib.Path(folder).absolute(), variables, force=True)


def replace_variables(folder: str | os.PathLike, variables: Variables) -> None:
    """Writes variables, in one process, to a folder that the user names. Older variables in it are replaced when all are written.

    Raises:
        InputError: the folder holds other things than variables.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder / '_CHECKPOINT_METADATA').exists():
        raise InputError(f'--out={folder}: is there, and holds other things than weights; give a folder of its own')
    with replacing(folder) as new:
        save_variables(new, variables)


def load_variables(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads the variables that `save_variables` wrote, as a tree of NumPy arrays; InputError where the folder holds none.

    Of a packed run, `<folder>.safetensors` is read in the place of a folder.
    """
    path = pathlib.Path(folder).absolute()
    packed = path.with_name(f'{path.name}.safetensors')
    if os.path.exists(packed) and not path.exists():  # a name may be too long for the suffix
        return load_file(packed)
    if not path.is_dir():
        raise InputError(f'{folder}: no such weights; train the net that writes them first')
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            metadata = checkpointer.metadata(path).item_metadata
            template = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), metadata)
            return checkpointer.restore(path, template)
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise InputError(f'{folder}: not the weights of a net ({str(error).splitlines()[0][:200]}); train or copy it again') from error


def replace_part(variables: Variables, part: str, trained: Variables, source: str | os.PathLike) -> dict[str, Any]:
    """A net's variables with one part replaced by trained variables.

    Args:
        variables: of the net.
        part: a top-level name in `params` and `batch_stats`, as `encoder`.
        trained: of the part alone. Layers that the part does not have, such as a head that is not used, are skipped.
        source: where `trained` comes from, for the message.
    Raises:
        InputError: the shapes do not fit, or a layer is missing.
    """
    result = {}
    for collection, tree in variables.items():
        if part in tree:
            given = trained.get(collection, {})
            new = {k: given.get(k, {}) for k in tree[part]}
            if jax.tree.map(np.shape, tree[part]) != jax.tree.map(np.shape, new):
                raise InputError(f'{source}: its {collection} do not fit the {part}; give weights of the same encoder')
            tree = {**tree, part: new}
        result[collection] = tree
    return result
