"""Reads the tensors of torch files that hold a whole module, or a training's state, by stand-ins: nothing that the file names is run.

`torch.save(net)` pickles the net's class by its name, then its attributes. Any name but those of tensors and containers gives a class made
on the spot, which takes whatever it is given and keeps its attributes alone; the tensors are found in these as torch finds them.
"""
import os
from typing import Any, NamedTuple

import numpy as np

from stanet_jax.weights import torch_file
from stanet_jax.weights.torch_file import Tensor, Unpickler

DEPTH, MODULES = 50, 100_000  # bounds on what is walked through
SETS = (('builtins', 'set'), ('__builtin__', 'set'))


class StandIn:
    """An object of a class that a pickle names. It keeps a dict that it is given as its state and ignores everything else.

    Attributes:
        named: (module, name) of the class that it stands for.
        state: the object's attributes, where the pickle has any.
    """
    __slots__ = ('state',)
    named = ('', '')

    def __new__(cls, *args: Any, **fields: Any) -> 'StandIn':
        """An object without a state."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **fields: Any):
        """Takes whatever it is given."""

    def __call__(self, *args: Any, **fields: Any) -> None:
        """Takes whatever it is given, and gives None."""

    def __setstate__(self, state: Any) -> None:
        """Keeps a dict as the state."""
        if isinstance(state, dict):
            self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignores an entry, of what stands for a dict."""

    def append(self, item: Any) -> None:
        """Ignores an item, of what stands for a list."""

    def extend(self, items: Any) -> None:
        """Ignores items."""


class ModuleUnpickler(Unpickler):
    """Unpickles tensors and containers, and a `StandIn` for everything else."""

    def __init__(self, file: Any):
        super().__init__(file)
        self._made: dict[tuple[str, str], type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Gives what a pickle names `module.name`; nothing is imported."""
        if (module, name) in SETS:
            return set
        if (module, name) in torch_file.ALLOWED:
            return torch_file.ALLOWED[module, name]
        if (module, name) not in self._made:
            self._made[module, name] = type('StandIn', (StandIn,), {'__slots__': (), 'named': (module, name)})
        return self._made[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Gives a storage, or of ('module', class, file, source), as old files mention a module's class first, the class."""
        return pid[1] if pid[0] == 'module' else super().persistent_load(pid)


class Contents(NamedTuple):
    """What a torch file holds.

    Attributes:
        tensors: by name; a prefix `module.` that all have is left out.
        module: of a whole module, the name of the Python module that its class is of; '' of a state dict.
    """
    tensors: dict[str, np.ndarray]
    module: str


def read(path: str | os.PathLike) -> Contents:
    """Reads a state dict, also as the entry `state_dict` of a training's state, or the tensors of a whole module.

    Raises:
        InputError: the file is missing, not torch's, cut short or damaged, or holds no tensors.
    """
    module = ''

    def collect(found: Any) -> dict[str, Tensor]:
        nonlocal module
        if isinstance(found, StandIn):
            module = module_of(found)
            return walk(found)
        state = found.get('state_dict') if isinstance(found, dict) else None
        return torch_file.flatten(state if isinstance(state, dict) else found)

    def reader(file, head):
        if head[:2] != b'PK' and head[:1] != b'\x80':
            raise ValueError('not as torch.save writes it')
        return (torch_file.read_zip if head[:2] == b'PK' else torch_file.read_old)(file, ModuleUnpickler, collect)

    tensors = torch_file.read_with(path, reader)
    if all(key.startswith('module.') for key in tensors):
        tensors = {key.removeprefix('module.'): x for key, x in tensors.items()}
    return Contents(tensors, module)


def entries(module: StandIn, name: str) -> dict[Any, Any]:
    """The dict `name` among a module's attributes; empty where there is none."""
    found = getattr(module, 'state', {}).get(name)
    return found if isinstance(found, dict) else {}


def module_of(root: StandIn) -> str:
    """The name of the Python module of a net's class; of a net in DataParallel, of the net's."""
    inner = entries(root, '_modules').get('module')
    return (inner if isinstance(inner, StandIn) else root).named[0]


def walk(root: StandIn) -> dict[str, Tensor]:
    """The tensors of a module and of those in it, by the names that a state dict has for them; ValueError where there is no end of them."""
    found: dict[str, Tensor] = {}
    todo, walked = [(root, '', 0)], 0
    while todo:
        module, prefix, depth = todo.pop()
        walked += 1
        if depth > DEPTH or walked > MODULES:
            raise ValueError('modules without end')
        for name in ('_parameters', '_buffers'):
            found |= {f'{prefix}{key}': x for key, x in entries(module, name).items() if isinstance(x, Tensor)}
        inner = [(key, child) for key, child in entries(module, '_modules').items() if isinstance(child, StandIn)]
        todo += [(child, f'{prefix}{key}.', depth + 1) for key, child in reversed(inner)]
    return found


