"""What all scripts share: flags, and errors of the user's making in one line."""
import sys

from absl import app, flags, logging

from stanet_jax import InputError, sharding

COORDINATOR = flags.DEFINE_string('coordinator', '', 'host:port of process 0, in a run of several processes.')
PROCESSES = flags.DEFINE_integer('processes', 0, 'How many processes the run has; with --coordinator.')
PROCESS = flags.DEFINE_integer('process', -1, 'Index of this process; with --coordinator.')
DISTRIBUTED = flags.DEFINE_bool('distributed', False, 'Let JAX find the other processes, as on a TPU pod.')


def run(main, required=()):
    """Parses the flags, joins the other processes, runs `main()`; what the user got wrong ends in one line on stderr, exit code 1."""
    flags.mark_flags_as_required(required)
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every step
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def choose(config, tasks):
    """What the config's `task` names; InputError where it is none of these."""
    if config.get('task') not in tasks:
        raise InputError(f'config.task={config.get("task")!r}: this script does {", ".join(tasks)}; train.py trains what learns from tags, '
                         'distill.py makes pseudo-fixations and masks and trains what learns from them')
    return tasks[config.task]


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except (AttributeError, KeyError) as error:  # ml_collections: an override of a field that is not there
        _fail(f'--config has no such field: {error.args[0]}'.replace('\\n', ' ').replace("\\'", '').replace("'", ''))
    except Exception as error:  # absl's own, and what a config file raises while it is read
        _fail(error)


def _guarded(main):
    try:
        sharding.initialize(COORDINATOR.value, PROCESSES.value, PROCESS.value, DISTRIBUTED.value)
        main()
    except InputError as error:
        _fail(error)
    except OSError as error:
        _fail(f'{error.filename}: {error.strerror}' if error.filename else error)


def _fail(error):
    sys.exit(f'error: {" ".join(str(error).split())}')
