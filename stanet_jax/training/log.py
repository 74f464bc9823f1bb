"""The log of a training: `log.jsonl` and TensorBoard."""
import json
import os
import pathlib
from collections.abc import Mapping
from typing import SupportsFloat, TextIO

import jax
import tensorboardX
import tqdm

from stanet_jax.workdir import replace_text

SHOWN = ('loss', 'held_out/accuracy', 'held_out/cc')  # on the progress bar


class Log:
    """Writes a training's numbers by step to `log.jsonl` and to TensorBoard, in process 0; the other processes write nothing."""

    def __init__(self, folder: str | os.PathLike, start: int):
        """Opens the log in `folder`; lines of steps after `start`, which a resumed training repeats, are dropped."""
        self._file: TextIO | None = None
        self._waiting: tuple[int, Mapping[str, SupportsFloat]] | None = None
        if jax.process_index() == 0:
            path = pathlib.Path(folder) / 'log.jsonl'
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in lines if line.endswith('}') and json.loads(line)['step'] <= start]
            replace_text(path, ''.join(line + '\n' for line in kept))
            self._file = open(path, 'a')
            self._board = tensorboardX.SummaryWriter(str(folder), purge_step=start + 1)

    def later(self, step: int, metrics: Mapping[str, SupportsFloat], progress: tqdm.tqdm) -> None:
        """Keeps the metrics of a step for the next call, as they may not be computed yet, and writes those that were kept before."""
        self.flush(progress)
        self._waiting = step, metrics

    def flush(self, progress: tqdm.tqdm) -> None:
        """Writes the metrics that `later` keeps."""
        if self._waiting:
            self.write(*self._waiting, progress)
            self._waiting = None

    def write(self, step: int, values: Mapping[str, SupportsFloat], progress: tqdm.tqdm) -> None:
        """Writes the values of a step, and shows some of them on the progress bar."""
        if self._file:
            self._file.write(json.dumps({'step': step, **{k: round(float(v), 6) for k, v in values.items()}}) + '\n')
            self._file.flush()
            for k, v in values.items():
                self._board.add_scalar(k, v, step)
            progress.set_postfix({k.split('/')[-1]: f'{v:.3f}' for k, v in values.items() if k in SHOWN}, refresh=False)

    def close(self) -> None:
        """Closes the files."""
        if self._file:
            self._file.close()
            self._board.close()
