"""Trains the nets that a config names: `python train.py --config=configs/scam_coarse.py --workdir=runs/coarse`."""
from absl import flags
from ml_collections import config_flags

from stanet_jax import cli
from stanet_jax.eps import training as segmentation
from stanet_jax.stages import audio_switch as switch
from stanet_jax.stages import classifiers as classification

TASKS = {'classifiers': classification.run, 'switch': switch.run, 'eps': segmentation.train}
CONFIG = config_flags.DEFINE_config_file('config', None, 'What to train; override fields as --config.batch=16.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/coarse', 'Folder of the run; a run that is there goes on.')


def main():
    cli.choose(CONFIG.value, TASKS)(CONFIG.value, WORKDIR.value)


if __name__ == '__main__':
    cli.run(main, required=['config'])
