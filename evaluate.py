"""Measures trained nets on held-out clips, by kind: `python evaluate.py --workdir=runs/coarse --split=test`."""
from absl import flags

from stanet_jax import classification, cli, training

WORKDIR = flags.DEFINE_string('workdir', 'runs/coarse', 'Folder of a run that train.py made.')
SPLIT = flags.DEFINE_string('split', '', 'Which clips: validation or test; the test part where there is one, by default.')


def main():
    config = training.read_config(WORKDIR.value)
    classification.evaluate(config, WORKDIR.value, classification.open_data(config), SPLIT.value)


if __name__ == '__main__':
    cli.run(main)
