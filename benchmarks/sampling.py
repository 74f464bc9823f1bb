"""A sampler of Python stacks: what the threads of a process do, by category, in this process and, by a file, in its children.

It needs the standard library alone, as `benchmarks.profile` has it loaded in child processes that import neither JAX nor this package.
"""
import json
import os
import pathlib
import re
import sys
import threading
import time

INTERVAL = 0.005  # seconds between two samples
WAITING, OTHER = 'waiting', 'other'
FOLDER = 'STANET_SAMPLES'  # environment variable: where children write theirs

# Innermost frames in which a thread does nothing.
IDLE = re.compile(r'(threading|queue|selectors|socket|subprocess|multiprocessing/(connection|pool|queues|synchronize|popen_fork)|'
                  r'concurrent/futures/(_base|thread|process))\.py$')
# What the innermost frame that a line fits does: category, file, function. A stack is walked from its innermost frame outwards.
RULES = tuple((category, re.compile(file), re.compile(f'({function})$')) for category, file, function in (
    ('waiting for decoding', r'stanet_jax/media/box\.py$', '_receive|poll'),
    ('compilation', r'jax/_src/(compiler|compilation_cache|interpreters/(mlir|partial_eval))\.py$', '.*'),
    ('imports', r'<frozen importlib', '.*'),
    ('spectrogram', r'stanet_jax/media/sound\.py$', 'log_.*|_mel.*|_spectrogram.*|resample|_as_wave'),
    (WAITING, r'stanet_jax/media/box\.py$', 'serve|_listen'),  # a child without work
    ('waiting for the device', r'stanet_jax/inference/videos\.py$', 'predict_blocks|<genexpr>'),
    ('writing', r'stanet_jax/(media/(overlay|soundtrack|contact_sheet)|training/log|inference/videos)\.py$', '.*'),
    ('writing', r'stanet_jax/(training/checkpoint|inference/pictures)\.py$', 'write_picture|save.*|replace_variables'),
    ('writing', r'stanet_jax/(workdir|media/clip|data/shards|pipeline/(report|pictures))\.py$',
     'replace_text|put|to_jpeg|_store|_serialise|write.*'),
    ('decode', r'stanet_jax/media/', '.*'),
    ('decode', r'stanet_jax/data/(clips|records|features|fragments|stretches|annotations|batches)\.py$', '.*'),
    ('encoders', r'stanet_jax/inference/(predictor|training_free)\.py$', '_encoded|_raw_maps'),
    ('encoders', r'stanet_jax/stages/features\.py$', '.*'),
    ('heads', r'stanet_jax/inference/(predictor|training_free)\.py$', '_blended|predict_.*|_smooth|whole_film_bank'),
    ('training steps', r'stanet_jax/training/loop\.py$', '.*'),
    ('scores', r'stanet_jax/evaluation/', '.*'),
    ('other nets and stages', r'stanet_jax/(stages|eps|baselines|inference|models|scam|losses)', '[^<].*'),
    ('made world', r'stanet_jax/data/synth', '.*')))
CATEGORIES = tuple(dict.fromkeys(category for category, *_ in RULES if category != WAITING))


class Sampler(threading.Thread):
    """Looks every `INTERVAL` at the stacks of all other threads of the process.

    Each moment is divided evenly among the threads that do something; where all of them wait, it is `waiting`.

    Attributes:
        seconds: by category; together they are the time since the start.
        others: seconds of `other`, by innermost function.
    """

    def __init__(self, path: pathlib.Path | None = None):
        """Writes what it has to a file every second, where a path is given, as child processes may be ended at any time."""
        super().__init__(daemon=True, name='sampler')
        self.seconds: dict[str, float] = {}
        self.others: dict[str, float] = {}
        self._path, self._known, self._ended = path, {}, threading.Event()

    def run(self) -> None:
        """Samples until `end`."""
        last = written = time.perf_counter()
        while not self._ended.wait(INTERVAL):
            now = time.perf_counter()
            self._sample(now - last)
            last = now
            if self._path and now - written > 1:
                if not self._path.parent.exists():
                    return  # the parent is done
                self.write()
                written = now

    def end(self) -> None:
        """Stops sampling."""
        self._ended.set()
        self.join()

    def write(self) -> None:
        """Writes the seconds to the file."""
        scratch = self._path.with_suffix('.new')
        scratch.write_text(json.dumps(self.seconds))
        scratch.replace(self._path)

    def _sample(self, passed):
        busy = []
        for thread, frame in sys._current_frames().items():
            if thread != self.ident:
                category, where = self.classify(frame)
                if category != WAITING:
                    busy.append((category, where))
        for category, where in busy or [(WAITING, '')]:
            self.seconds[category] = self.seconds.get(category, 0) + passed / max(len(busy), 1)
            if category == OTHER:
                self.others[where] = self.others.get(where, 0) + passed / len(busy)

    def classify(self, frame):
        """The category of a stack, given by its innermost frame, and the name of that frame's function."""
        code, waits, innermost = frame.f_code, bool(IDLE.search(frame.f_code.co_filename)), frame
        while frame is not None:
            category = self._category(frame.f_code)
            if category and (not waits or category == 'waiting for decoding'):
                return category, ''
            frame = frame.f_back
        return (WAITING, '') if waits else (OTHER, f'{"/".join(code.co_filename.split("/")[-2:])}:{code.co_name}:{innermost.f_lineno}')

    def _category(self, code):
        if code not in self._known:
            self._known[code] = next((category for category, file, function in RULES
                                      if file.search(code.co_filename) and function.match(code.co_name)), None)
        return self._known[code]


def start_in_child() -> None:
    """Starts a sampler in a child process, which writes to the folder that the environment names, and in the forks of this process."""
    folder = os.environ.get(FOLDER)
    if folder:
        Sampler(pathlib.Path(folder) / f'{os.getpid()}.json').start()


os.register_at_fork(after_in_child=start_in_child)
