"""What a training tells of itself: `log.jsonl` and TensorBoard."""
import json
import pathlib

import jax
import tensorboardX

from stanet_jax.workdir import replace_text


class Log:
    """`log.jsonl` and TensorBoard, by process 0. Lines of steps that a restart does again are dropped."""

    def __init__(self, folder, start):
        self._file, self._waiting = None, None
        if jax.process_index() == 0:
            path = pathlib.Path(folder) / 'log.jsonl'
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in lines if line.endswith('}') and json.loads(line)['step'] <= start]
            replace_text(path, ''.join(line + '\n' for line in kept))
            self._file = open(path, 'a')
            self._board = tensorboardX.SummaryWriter(str(folder), purge_step=start + 1)

    def later(self, step, metrics, progress):
        """Writes the metrics that were given the time before: those of this step may not have been computed yet."""
        self.flush(progress)
        self._waiting = step, metrics

    def flush(self, progress):
        if self._waiting:
            self.write(*self._waiting, progress)
            self._waiting = None

    def write(self, step, values, progress):
        if self._file:
            self._file.write(json.dumps({'step': step, **{k: round(float(v), 6) for k, v in values.items()}}) + '\n')
            self._file.flush()
            for k, v in values.items():
                self._board.add_scalar(k, v, step)
            progress.set_postfix({k.split('/')[-1]: f'{v:.3f}' for k, v in values.items() if k in SHOWN}, refresh=False)

    def close(self):
        if self._file:
            self._file.close()
            self._board.close()


SHOWN = ('loss', 'held_out/accuracy', 'held_out/cc')
