"""One training on one device, on eight simulated ones, and in four processes: its losses, and the memory of its processes.

The processes have one device each: with two devices each, XLA's all-reduce between processes on CPUs (gloo) was seen to wait for itself for
ever on two busy cores, after 173 steps in four processes.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np

from stanet_jax import InputError
from stanet_jax.data import synthave

ROOT = pathlib.Path(__file__).parents[1]
RUNS = {'one device': (1, 1), 'eight devices': (1, 8), 'four processes': (4, 1)}  # processes, devices of each
BATCH, CLIPS, PER_CLIP = 10, 24, 4  # a batch that neither eight devices nor four processes divide
LIMIT = 900  # seconds of a training
FIRST = 20  # steps in which rounding has not grown much


def command(root, workdir, steps):
    """The training of S on a small SynthAVE. At a low learning rate, as rounding grows with it."""
    passes = (steps - 0.5) * BATCH / (CLIPS * PER_CLIP)
    return [sys.executable, '-m', 'stanet_jax', 'train', '--config=scam_coarse', f'--config.data.root={root}', f'--workdir={workdir}',
            "--config.nets=('S',)", f'--config.epochs.S={passes}', '--config.learning_rate.S=0.01', f'--config.batch={BATCH}',
            '--config.data.side=48', '--config.width=8', f'--config.data.frames_per_clip={PER_CLIP}', '--config.log_every=1',
            f'--config.save_every={steps}', f'--config.evaluate_every={10 * steps}', '--config.held_out_frames=1']


def resident(process):
    """The megabytes that a process has in memory; nan where it has ended."""
    try:
        return int(pathlib.Path(f'/proc/{process.pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGESIZE') / 1e6
    except (OSError, IndexError):
        return float('nan')


def losses(workdir):
    """The loss of each step so far."""
    path = workdir / 'S' / 'log.jsonl'
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith('}')] if path.exists() else []
    return [line['loss'] for line in lines if 'loss' in line]


def train(root, workdir, processes, devices, steps):
    """Trains in so many processes of so many simulated devices; the memory of each after a quarter of the steps and near the end."""
    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={devices}'
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags}
    with socket.socket() as free:
        free.bind(('localhost', 0))
        address = f'localhost:{free.getsockname()[1]}'
    join = [[f'--coordinator={address}', f'--processes={processes}', f'--process={i}'] if processes > 1 else [] for i in range(processes)]
    workdir.mkdir(parents=True)
    with open(workdir / 'output', 'w') as output:
        started = [subprocess.Popen([*command(root, workdir, steps), *more], cwd=ROOT, env=environment, stdout=output, stderr=output)
                   for more in join]
        early, late, end = [], [], time.monotonic() + LIMIT
        try:
            while any(process.poll() is None for process in started) and time.monotonic() < end:
                memory, done = [resident(process) for process in started], len(losses(workdir))
                if not early and done >= steps // 4:
                    early = memory
                if early and done < steps and not np.isnan(memory).any():
                    late = memory
                time.sleep(0.2)
        finally:
            for process in started:
                process.kill()
    if any(process.wait() for process in started):
        raise InputError(f'{workdir}: the training failed or took more than {LIMIT} s; {workdir}/output has its messages')
    return {'early': early, 'late': late}


def simulate(folder, steps=300):
    """The simulation's result, which is kept in `folder`/result.json."""
    result = folder / 'result.json'
    if not result.exists():
        folder.mkdir(parents=True, exist_ok=True)
        root, runs = folder / 'synthave', {}
        synthave.generate(root, synthave.Settings(train=CLIPS, validation=4, test=4, seconds=2.0, side=48), workers=2)
        for name, (processes, devices) in RUNS.items():
            workdir = folder / name.replace(' ', '_')
            memory = train(root, workdir, processes, devices, steps)
            runs[name] = {'processes': processes, 'devices': devices * processes, 'losses': losses(workdir), **memory}
        first = np.array(runs['one device']['losses'])
        for run in runs.values():
            far = np.abs(np.array(run.pop('losses')) - first)
            run['difference'], run['difference_at_first'] = float(far.max()), float(far[:FIRST].max())
        result.write_text(json.dumps({'steps': steps, 'batch': BATCH, 'runs': runs}, indent=1))
    return json.loads(result.read_text())
