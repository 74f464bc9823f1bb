"""Devices and hosts: one mesh axis, `data`, along which batches are split; parameters are on every device."""
import os

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from stanet_jax import InputError


def initialize(coordinator='', processes=0, process=-1, automatic=False):
    """Joins the processes of one run; does nothing where there is only this one.

    Args:
        coordinator: `host:port` of process 0, with `processes`, their number, and `process`, this one's index.
        automatic: let JAX find the others, as it can on a TPU pod. Under `srun` with several tasks it is done unasked.
    """
    automatic = automatic or int(os.environ.get('SLURM_STEP_NUM_TASKS', 1)) > 1
    if not coordinator and not automatic:
        return
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


def make_mesh():
    """All devices of all processes on the axis `data`."""
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicated(mesh):
    return NamedSharding(mesh, PartitionSpec())


def padded(batch):
    """The least multiple of the number of devices that holds `batch` examples."""
    return -(-batch // jax.device_count()) * jax.device_count()


def slots(batch):
    """This process's places in a padded batch, a range."""
    local = padded(batch) // jax.process_count()
    return range(jax.process_index() * local, (jax.process_index() + 1) * local)


def put(batch, mesh):
    """This process's slice of a batch (a tree of arrays, axis 0 the examples) -> the global batch, split over the devices."""
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def on_local_devices(function, variables):
    """`batch -> function(variables, batch)`, compiled; the batch's examples are split over this process's devices, the answer is whole."""
    devices = jax.local_devices()
    mesh = jax.make_mesh((len(devices),), ('data',), axis_types=(AxisType.Auto,), devices=devices)
    split, whole = NamedSharding(mesh, PartitionSpec('data')), NamedSharding(mesh, PartitionSpec())
    variables, function = jax.device_put(variables, whole), jax.jit(function, out_shardings=whole)
    return lambda batch: function(variables, jax.device_put(batch, split))
