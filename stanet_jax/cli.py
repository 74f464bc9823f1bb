"""The `stanet` command, as in `stanet train --config=scam_coarse`. Each command is a module of `stanet_jax.commands` with its own flags.

Only what a command needs is imported, and only when it runs: importing JAX alone takes longer than `--help` should. A mistake of the user
ends the process with one line on stderr and exit code 1.
"""
import difflib
import errno
import importlib
import io
import os
import pathlib
import re
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn, TypeVar

from absl import flags, logging

import stanet_jax
from stanet_jax import InputError, compilation, one_line
from stanet_jax.media import box

T = TypeVar('T')
COMMANDS = {
    'train': 'trains classifiers on tags, the audio switch, EPS',
    'distill': 'makes pseudo-fixations and pseudo-masks, trains students on them',
    'evaluate': 'scores maps, students or masks; measures classifiers',
    'predict': 'fixation maps and overlays of videos; labels of images',
    'convert': "makes weights of other frameworks' files",
    'weights': 'lists pretrained encoders and fetches their weights',
    'data': 'makes, converts and checks data sets',
    'pack': 'packs trained students into a small folder',
    'run': 'every stage after the other, and a report',
    'report': "writes a finished run's report.html anew",
    'tables': 'a table of the papers, their figures and ours side by side',
}
DATA = {
    'synthave': 'writes SynthAVE, a small audio-visual world with known gaze',
    'synthvoc': "writes frames of SynthAVE as a set for segmentation, in VOC's layout",
    'check': 'says what of a data set or of fixation sets is in a folder, and what will be skipped',
    'diem': 'makes a fixation set of the raw gaze of DIEM',
    'tagged': "makes films of fixation sets' videos, with tags to train on",
}
CONFIGS = pathlib.Path(__file__).parent / 'configs'

COORDINATOR = flags.DEFINE_string('coordinator', '', 'host:port of process 0, in a run of several processes.')
PROCESSES = flags.DEFINE_integer('processes', 0, 'How many processes the run has; with --coordinator.')
PROCESS = flags.DEFINE_integer('process', -1, 'Index of this process; with --coordinator.')
DISTRIBUTED = flags.DEFINE_bool('distributed', False, 'Let JAX find the other processes, as on a TPU pod.')
DECODE_TIMEOUT = flags.DEFINE_float('decode_timeout', box.SECONDS, 'Seconds without a frame after which a media file is given up.', 0.001)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name; they are those of this process by default."""
    words, name, commands = sys.argv[1:] if arguments is None else list(arguments), 'stanet', COMMANDS
    path = 'stanet_jax.commands'
    while True:
        word = words.pop(0) if words else '--help'
        if word in ('-h', '--help', '--helpfull', 'help'):
            print(overview(name, commands))
            return
        if word == '--version':
            print(stanet_jax.__version__)
            return
        if word not in commands:
            fail(f'{word!r} is no command of {name}; {suggestion(word, commands)}')
        name, path = f'{name} {word}', f'{path}.{word}'
        if word != 'data':
            run(name, importlib.import_module(path), words)
            return
        commands = DATA


def overview(name: str, commands: Mapping[str, str]) -> str:
    """The help text of `stanet` or `stanet data`: the commands with a line each."""
    lines = [f'{name} COMMAND [--flags]; {name} COMMAND --help tells more', '']
    return '\n'.join(lines + [f'  {word:10}{what}' for word, what in commands.items()])


def suggestion(word: str, known: Collection[str]) -> str:
    """A phrase that suggests the known name most like the word, or else lists them all."""
    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f'did you mean {close[0]}?' if close else f'choose one of {", ".join(known)}'


def run(name: str, command: ModuleType, words: list[str]) -> None:
    """Reads the flags of a command, joins the other processes of the run, and calls the command's `main`.

    Args:
        name: of the command, as the user typed it.
        command: a module with `main()` and `REQUIRED`, the flags that have to be given. A command that takes words besides flags also
            has `WORDS`, which says what they are, and its `main` takes their list.
        words: the user's arguments after the name.
    """
    if {'-h', '--help', '--helpfull'} & set(words):
        about = (command.__doc__ or '').strip()
        print(f'{name}: {about}\n\nflags:\n{flags.FLAGS.module_help(command)}\n{flags.FLAGS.module_help(__name__)}')
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # names of files may hold bytes that are no text
    logging.set_verbosity(logging.FATAL)  # Orbax logs every step, and with a traceback what it also raises
    threading.excepthook = tell_of_thread
    words = parse(name, [resolve_config(word) for word in words])
    missing = [flag for flag in command.REQUIRED if flags.FLAGS[flag].value in (None, [])]
    if words and not hasattr(command, 'WORDS'):
        fail(f'{words[0]!r}: {name} takes flags alone; {name} --help lists them')
    if missing:
        fail(f'--{missing[0]}: {name} needs it; {name} --help tells more')
    if DECODE_TIMEOUT.present:
        os.environ[box.TIMEOUT] = str(DECODE_TIMEOUT.value)  # which worker processes inherit
    compilation.prepare()
    try:
        under_srun = int(os.environ.get('SLURM_STEP_NUM_TASKS', 1)) > 1
        if COORDINATOR.value or DISTRIBUTED.value or under_srun:
            from stanet_jax.training import sharding  # here, as it takes JAX
            sharding.initialize(COORDINATOR.value, PROCESSES.value, PROCESS.value)
        command.main(words) if hasattr(command, 'WORDS') else command.main()
    except InputError as error:
        fail(error)
    except OSError as error:
        room = '; make room, and the same command goes on' if error.errno == errno.ENOSPC else ''
        fail(f'{error.filename}: {error.strerror}{room}' if error.filename else f'{error}{room}')


def tell_of_thread(raised: threading.ExceptHookArgs) -> None:
    """Tells in one line what the system refuses to a thread beside, as to TensorBoard's on a full disk; of other errors the traceback.

    An OSError without a number is Python's own: what such a thread wrote to was closed, as the process ends. Nothing is told of it.
    """
    if isinstance(raised.exc_value, OSError):
        if raised.exc_value.errno is not None:
            print(one_line(raised.exc_value), file=sys.stderr)
    else:
        threading.__excepthook__(raised)


def resolve_config(word: str) -> str:
    """Replaces the name of a config, as in `--config=scam_coarse:paper`, by the path of its file; paths and other arguments stay."""
    flag, _, value = word.partition('=')
    name, colon, recipe = value.partition(':')
    if flag.lstrip('-') != 'config' or name.endswith('.py') or not name:
        return word
    path = CONFIGS / f'{name}.py'
    if not path.is_file():
        known = sorted(path.stem for path in CONFIGS.glob('*.py') if path.stem != '__init__')
        fail(f'--config={value}: no config of that name, nor the path of a .py file; {suggestion(name, known)}')
    return f'{flag}={path}{colon}{recipe}'


def parse(name: str, words: Sequence[str]) -> list[str]:
    """Reads the flags among the words and returns the others."""
    sys.argv = [name, *words]  # ml_collections looks for overrides of a config's fields there
    try:
        return flags.FLAGS(sys.argv)[1:]
    except (AttributeError, KeyError) as error:  # ml_collections: an override of a field that is not there
        fail(f'--config has no such field: {error.args[0]}'.replace('\\n', ' ').replace("\\'", '').replace("'", ''))
    except Exception as error:  # absl's own, and what a config file raises while it is read, whose traceback ml_collections hands on
        raised = str(error).strip().splitlines()[-1] if 'Traceback' in str(error) else str(error)
        fail(re.sub(r'^ValueError: ', '', raised))


def required(flag: flags.FlagHolder[T | None]) -> T:
    """The value of a flag that a command lists in `REQUIRED`, so that `run` has seen that it is given."""
    assert flag.value is not None
    return flag.value


def choose(config: Any, tasks: Mapping[str, T]) -> T:
    """The entry of `tasks` for `config.task`, of a ConfigDict; InputError where there is none."""
    if config.get('task') not in tasks:
        raise InputError(f'config.task={config.get("task")!r}: this command does {", ".join(tasks)}; `train` trains what learns from tags, '
                         '`distill` makes pseudo-fixations and masks and trains what learns from them, `run` does all')
    return tasks[config.task]


def fail(error: object) -> NoReturn:
    """Ends the process with one line on stderr and exit code 1."""
    sys.exit(f'error: {one_line(error)}')
