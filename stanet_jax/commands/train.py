"""Trains the nets that a config names.

    stanet train --config=scam_coarse --workdir=runs/coarse
    stanet train --config=configs/scam_coarse.py:paper --config.batch=16 --workdir=runs/paper
"""
from absl import flags
from ml_collections import config_flags

from stanet_jax import cli

CONFIG = config_flags.DEFINE_config_file('config', None, 'What to train: a name, or a file; override fields as --config.batch=16.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/coarse', 'Folder of the run; a run that is there goes on.')
REQUIRED = ('config',)


def main() -> None:
    """Runs the training that `config.task` names."""
    from stanet_jax.eps import training
    from stanet_jax.pipeline import run
    from stanet_jax.stages import audio_switch
    from stanet_jax.workdir import hold_workdir
    tasks = {'classifiers': run.run_coarse, 'switch': audio_switch.run, 'eps': training.train}
    chosen = cli.choose(CONFIG.value, tasks)
    with hold_workdir(WORKDIR.value):
        chosen(CONFIG.value, WORKDIR.value)
