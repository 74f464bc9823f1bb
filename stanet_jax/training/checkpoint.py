"""Checkpoints with Orbax: a training's state with its place in the data, and a trained net's variables.

Orbax writes to a temporary name and renames, so what a kill leaves is the last complete checkpoint.
"""
import os
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp

from stanet_jax import InputError


class Checkpoints:
    """The checkpoints of one training, in `folder`; the last two are kept."""

    def __init__(self, folder):
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
        handlers = {'state': ocp.StandardCheckpointHandler(), 'data': ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(pathlib.Path(folder).absolute(), options=options, item_handlers=handlers)

    def save(self, step, state, data):
        """Writes `state`, a tree of arrays, and `data`, a small dict: the place of the data iterator. In the background."""
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(data))
        self._manager.save(step, args=items, force=True)

    def restore(self, state):
        """The newest `(state, data)`, or None. `state` gives shapes and shardings, which may be of other devices than when saved."""
        step = self._manager.latest_step()
        if step is None:
            return None
        self._check(step, state)
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        restored = self._manager.restore(step, args=ocp.args.Composite(
            state=ocp.args.StandardRestore(template), data=ocp.args.JsonRestore()))
        return restored['state'], restored['data']

    def _check(self, step, state):
        saved = _shapes(self._manager.item_metadata(step)['state'])
        wanted = _shapes(jax.eval_shape(lambda: state))
        wrong = sorted(k for k in saved.keys() | wanted.keys() if saved.get(k) != wanted.get(k))
        if wrong:
            k = wrong[0]
            raise InputError(f'{self._manager.directory}/{step}: a checkpoint of another model ({k} is {saved.get(k, "absent")} there '
                             f'and {wanted.get(k, "absent")} here); give another --workdir')

    def interrupted(self, step):
        """Whether the hosts are about to be taken away (several processes: they all learn it at the same step)."""
        return self._manager.reached_preemption(step)

    def close(self):
        """Waits for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _shapes(tree):
    leaves = jax.tree.leaves_with_path(tree)
    return {'.'.join(str(getattr(p, 'key', getattr(p, 'name', getattr(p, 'idx', p)))) for p in path): tuple(x.shape) for path, x in leaves}


def save_variables(folder, variables):
    """Writes a net's variables, a tree of arrays, to `folder`, in place of what is there."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(pathlib.Path(folder).absolute(), variables, force=True)


def replace_variables(folder, variables):
    """`save_variables`, by one process, to a folder that the user named: in place of other variables only, and when all are written.

    Raises:
        InputError: the folder is there and holds other things.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder / '_CHECKPOINT_METADATA').exists():
        raise InputError(f'--out={folder}: is there, and holds other things than weights; give a folder of its own')
    new, old = (folder.with_name(f'.{folder.name}.{os.getpid()}.{kind}') for kind in ('new', 'old'))
    try:
        save_variables(new, variables)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def load_variables(folder):
    """The variables that `save_variables` wrote, as a tree of NumPy arrays."""
    path = pathlib.Path(folder).absolute()
    if not path.is_dir():
        raise InputError(f'{folder}: no such weights; train the net that writes them first')
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            metadata = checkpointer.metadata(path).item_metadata
            template = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), metadata)
            return checkpointer.restore(path, template)
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise InputError(f'{folder}: not the weights of a net ({str(error).splitlines()[0][:200]})') from error


def replace_part(variables, part, trained, source):
    """`variables` with its `part`, a top-level name in `params` and `batch_stats`, taken from an encoder's variables `trained`.

    What `trained` holds beyond that, as a head that is not used here, is left out. `source` says where it comes from, in the
    InputError where it does not fit.
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
