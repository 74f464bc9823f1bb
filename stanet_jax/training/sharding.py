"""Devices and hosts: one mesh axis, `data`, along which batches are split; parameters are replicated on every device."""
from collections.abc import Callable
from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stanet_jax import InputError

# Trees of arrays.
Tree = TypeVar('Tree')
Batch = TypeVar('Batch')
Result = TypeVar('Result')
PIXELS = 384 ** 2  # of the frames that an encoder sees at once on a CPU


def initialize(coordinator: str = '', processes: int = 0, process: int = -1) -> None:
    """Joins the processes of one run.

    Args:
        coordinator: `host:port` of process 0; '' lets JAX find the other processes, as it can on a TPU pod and under `srun`.
        processes: their number, with `coordinator`.
        process: index of this one, with `coordinator`.
    Raises:
        InputError: `coordinator` without the other two, or the processes do not find each other.
    """
    if coordinator and not 0 <= process < processes:
        raise InputError(f'--process={process}, --processes={processes}: --coordinator needs both, with 0 <= process < processes')
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    try:
        if coordinator:
            jax.distributed.initialize(coordinator, processes, process)
        else:
            jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        raise InputError(f'--coordinator/--distributed: the processes did not find each other ({error})') from error


def make_mesh() -> Mesh:
    """The mesh of all devices of all processes, along the axis `data`."""
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device of the mesh holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def padded(batch: int) -> int:
    """The smallest multiple of the number of devices that holds `batch` examples."""
    return -(-batch // jax.device_count()) * jax.device_count()


def together(batch: int, side: int) -> int:
    """How many of a padded batch of frames an encoder sees at once in prediction: all, but on a CPU no more than PIXELS to a device, or one
    frame, as the features of more do not fit its cache. Frames are `side` pixels wide and high."""
    devices = padded(1)
    if jax.default_backend() != 'cpu' or batch % devices:
        return batch
    most = devices * max(PIXELS // side ** 2, 1)
    return max(n for n in range(devices, min(batch, most) + 1, devices) if batch % n == 0)


def slots(batch: int) -> range:
    """The places of this process in a padded batch."""
    local = padded(batch) // jax.process_count()
    return range(jax.process_index() * local, (jax.process_index() + 1) * local)


def put(batch: Batch, mesh: Mesh) -> Batch:
    """Makes a global batch, split over the devices, of the slices of all processes.

    Args:
        batch: this process's slice, a tree of arrays whose first axis is that of the examples.
        mesh: see `make_mesh`.
    """
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def on_local_devices(function: Callable[[Tree, Batch], Result], variables: Tree) -> Callable[[Batch], Result]:
    """Compiles `batch -> function(variables, batch)` for this process's devices.

    The batch's examples are split over the devices; every device holds the variables and the whole result.
    """
    devices = jax.local_devices()
    mesh = jax.make_mesh((len(devices),), ('data',), axis_types=(AxisType.Auto,), devices=devices)
    split, whole = NamedSharding(mesh, PartitionSpec('data')), NamedSharding(mesh, PartitionSpec())
    placed, compiled = jax.device_put(variables, whole), jax.jit(function, out_shardings=whole)
    return lambda batch: compiled(placed, jax.device_put(batch, split))
