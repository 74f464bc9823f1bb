"""Long work in one process: its memory stays flat and its open files constant, over a long film and over many short ones."""
import contextlib
import os
import pathlib
import resource
import shutil
import threading
from collections.abc import Callable

import numpy as np

from benchmarks.torture import inputs
from benchmarks.torture.campaign import Campaign, Summary
from benchmarks.torture.processes import CONTEXT

# Seconds of the long film, its frames a second, and how many short films of how many frames.
QUICK, LONG = (30, 10, 20, 10), (1800, 10, 200, 25)
WARM_UP = 0.3  # of the samples
GROWTH = 16 << 20  # bytes of memory more at the end than after the warm-up


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign."""
    seconds, rate, films, frames = QUICK if campaign.quick else LONG
    inputs.write_film(campaign.work / 'warm.mp4', frames=60 if campaign.quick else 400)
    run = inputs.make_students(campaign.work / 'students')
    inputs.write_film(campaign.work / 'long.mp4', frames=seconds * rate, rate=rate)
    (campaign.work / 'short').mkdir()
    for number in range(films):
        inputs.write_film(campaign.work / 'short' / f'{number:03d}.mp4', frames=frames)
    told = [watch(campaign, what, run, campaign.work / path) for what, path in (
        (f'a film of {seconds / 60:g} min', 'long.mp4'), (f'{films} films of {frames} frames', 'short'))]
    return Summary(f'prediction by a tiny student, in one process, of a film of {seconds / 60:g} minutes ({rate} frames a second) and of '
                   f'{films} films of {frames} frames', films + 1, '; '.join(told))


def watch(campaign: Campaign, what: str, run: pathlib.Path, path: pathlib.Path) -> str:
    """Predicts a file or a folder in a process of its own; gives what its memory and open files did."""
    kept, out = campaign.work / 'samples.npy', campaign.work / 'out'
    process = CONTEXT.Process(target=predict, args=(run, campaign.work / 'warm.mp4', path, out, kept))
    process.start()
    process.join()
    reproduction = f'endurance.predict({run.name}, warm.mp4, {path.name}, out, samples)'
    if process.exitcode:
        campaign.fault(f'{what}: ends with code {process.exitcode}', reproduction)
        return f'{what} failed'
    memory, children, handles = np.load(kept).T
    warm = slice(int(len(memory) * WARM_UP), None)
    part = max(1, len(memory[warm]) // 4)
    ends = [(np.median(of[warm][:part]), np.median(of[warm][-part:])) for of in (memory, children)]
    told = ', '.join(f'{name} {first / 2**20:.0f} to {last / 2**20:.0f} MiB' for name, (first, last) in
                     zip(('memory', 'that of the decoder'), ends, strict=True))
    told = f'{what}: {told}, open files {int(handles[warm].min())} to {int(handles[warm].max())}'
    if any(last - first > GROWTH for first, last in ends) or abs(np.median(handles[warm][:9]) - np.median(handles[warm][-9:])) > 2:
        shutil.copy(kept, campaign.work / 'samples')
        campaign.fault(f'not flat: {told}', reproduction, [campaign.work / 'samples'])
    return told


def predict(run: pathlib.Path, warm: pathlib.Path, path: pathlib.Path, out: pathlib.Path, kept: pathlib.Path) -> None:
    """Predicts a film to warm up, then a film or a folder of films; writes a `.npy` file of (memory, that of children, open files).

    They are sampled from the end of the first film on.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)
    from stanet_jax.inference.opening import open_students  # here, as the process is forked before JAX is used
    from stanet_jax.inference.videos import predict_videos
    predictor, samples = open_students(run / 'STA'), list[tuple[int, int, int]]()
    for _ in range(2):
        predict_videos(predictor, [warm], out)
    with sampling(lambda: samples.append((memory_of(os.getpid()), sum(map(memory_of, children())), len(os.listdir('/proc/self/fd'))))):
        predict_videos(predictor, [path], out)
    np.save(kept, np.array(samples))


class sampling:
    """Calls a function every tenth of a second, in a thread."""

    def __init__(self, sample: Callable[[], object]):
        self._sample, self._ended = sample, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._ended.wait(0.1):
            self._sample()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()


def children() -> list[int]:
    """The children of this process."""
    found = []
    for task in os.listdir('/proc/self/task'):
        with contextlib.suppress(OSError):  # a thread that has just ended
            found += [int(child) for child in pathlib.Path(f'/proc/self/task/{task}/children').read_text().split()]
    return found


def memory_of(process: int) -> int:
    """The bytes of memory that a process has to itself; 0 where it is gone."""
    try:
        resident, shared = pathlib.Path(f'/proc/{process}/statm').read_text().split()[1:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * resource.getpagesize()
