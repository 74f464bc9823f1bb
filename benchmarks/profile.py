"""Where the time of a command goes.

    python -m benchmarks.profile -- stanet predict my.mp4 --out=predictions
    python -m benchmarks.profile --trace=trace -- stanet train --config=scam_coarse --workdir=runs/coarse

Runs the command in this process and prints a Markdown table of what its wall time and that of its child processes was spent on.
`--trace` also keeps a trace of what XLA and JAX do, DIR/plugins/profile/*/perfetto_trace.json.gz, for ui.perfetto.dev; it is meant for
short commands.

How it is measured: every 5 ms the stack of every Python thread is looked at, and the moment is divided evenly among the threads that do
something, each by the innermost of its functions that `sampling.RULES` knows. `waiting` is when all wait, `waiting for decoding` when a
thread waits for the process that decodes. Child processes sample themselves; their seconds come beside those of this process, not out of
them. On a CPU a net is computed by the thread that calls it, so that it is counted as what called for it: JAX's own asynchronous dispatch
is off, and input is waited for.

What it cannot see: threads of C++ (XLA's, FFmpeg's) beyond the Python thread that waits for them; on an accelerator what the device does
while Python goes on, which the trace shows; a thread that waits for Python's lock counts as one that works. Encoder and heads of one
compiled program, as in a training step, are one.
"""
import argparse
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

START = time.perf_counter()

import jax  # noqa: E402 - importing is part of what a command takes
import jax.monitoring  # noqa: E402

from benchmarks import sampling  # noqa: E402
from stanet_jax import cli  # noqa: E402
from stanet_jax.training import sharding  # noqa: E402

COMPILING = {'/jax/core/compile/jaxpr_trace_duration': 'tracing', '/jax/core/compile/jaxpr_to_mlir_module_duration': 'lowering',
             '/jax/core/compile/backend_compile_duration': 'compiling or fetching from a cache'}


def run(words):
    """Runs a command, and gives its exit code and, where it ended in an error, the message."""
    try:
        cli.main(words)
    except SystemExit as error:
        return (error.code, '') if isinstance(error.code, int | None) else (1, error.code)
    return 0, ''


def compute_at_once():
    """On a CPU, has every net computed in the thread that calls it, at once; which takes input that is there already."""
    put = sharding.put

    def put_and_wait(batch, mesh):
        result = put(batch, mesh)
        return jax.block_until_ready(result) if jax.default_backend() == 'cpu' else result

    sharding.put = put_and_wait
    jax.config.update('jax_cpu_enable_async_dispatch', False)


def start_trace(folder):
    """Starts a trace of JAX and XLA in a folder; Python's functions, which the table has, are left out, as they are very many."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(folder, create_perfetto_trace=True, profiler_options=options)


def sample_children(folder):
    """Has Python processes that this one starts sample themselves and write to a folder."""
    (folder / 'sitecustomize.py').write_text(
        f'import importlib.util\nspec = importlib.util.spec_from_file_location("stanet_sampling", {str(sampling.__file__)!r})\n'
        'module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\nmodule.start_in_child()\n')
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(folder), os.environ.get('PYTHONPATH', '')]))
    os.environ[sampling.FOLDER] = str(folder)


def children(folder):
    """The seconds of all child processes by category."""
    total = {}
    for path in folder.glob('*.json'):
        for category, seconds in json.loads(path.read_text()).items():
            total[category] = total.get(category, 0) + seconds
    return total


def table(wall, own, of_children):
    """The lines of the Markdown table; the seconds of this process add up to the wall time."""
    order = [*sampling.CATEGORIES, sampling.OTHER, sampling.WAITING]
    lines = ['| | share of the time | seconds | seconds of child processes |', '|---|---|---|---|']
    for category in order:
        mine, theirs = own.get(category, 0), of_children.get(category, 0)
        if category == sampling.WAITING:
            theirs = 0  # a child without work
        if max(mine, theirs) >= 0.005 * wall:
            lines.append(f'| {category} | {mine / wall:.1%} | {mine:.2f} | {f"{theirs:.2f}" if theirs else ""} |')
    return [*lines, f'| all | | {wall:.2f} | |']


def report(wall, sampler, of_children, compiled):
    """What is printed of a command."""
    own = dict(sampler.seconds)
    own['imports'] = own.get('imports', 0) + wall - sum(own.values())  # what came before the first sample
    used = resource.getrusage(resource.RUSAGE_SELF)
    lines = [f'{wall:.2f} s of wall time, {used.ru_utime + used.ru_stime:.2f} s of CPU in this process, {os.cpu_count()} cores, '
             f'{jax.device_count()} x {jax.devices()[0].device_kind}', '', *table(wall, own, of_children), '']
    lines.append(f'compilation as JAX measures it, of {len(compiled["compiling or fetching from a cache"])} programs: '
                 + ', '.join(f'{name} {sum(took):.2f} s' for name, took in compiled.items()))
    largest = sorted(sampler.others.items(), key=lambda item: -item[1])[:5]
    lines += [f'other, most of it: {", ".join(f"{where} {seconds:.2f} s" for where, seconds in largest)}'] if largest else []
    return '\n'.join(lines)


def main():
    """Runs the command and prints the table; ends with the command's exit code."""
    parser = argparse.ArgumentParser(description='Says where the time of a command goes.')
    parser.add_argument('--trace', help='folder for a trace')
    parser.add_argument('command', nargs='+', help='after --: stanet and its words')
    args = parser.parse_args()
    words = args.command[1:] if args.command[0] == 'stanet' else args.command
    compiled = {name: [] for name in COMPILING.values()}
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled[COMPILING[event]].append(seconds) if event in COMPILING else None)
    compute_at_once()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        sample_children(folder)
        sampler = sampling.Sampler()
        sampler.start()
        if args.trace:
            start_trace(args.trace)
        code, message = run(words)
        sampler.end()
        wall = time.perf_counter() - START
        if args.trace:
            jax.profiler.stop_trace()
        print('\n' + report(wall, sampler, children(folder), compiled), flush=True)
    if message:
        print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == '__main__':
    main()
