"""Turns clips into pseudo-fixations with the trained nets: `python distill.py --workdir=runs/coarse --out=runs/coarse/maps`."""
from absl import flags

from stanet_jax import cli, pseudo_gt, training

WORKDIR = flags.DEFINE_string('workdir', 'runs/coarse', 'Folder of a run that train.py made.')
OUT = flags.DEFINE_string('out', 'runs/coarse/maps', 'Folder to write; maps that are there already are left.')
SPLIT = flags.DEFINE_string('split', 'train', 'Which clips: train, validation or test.')


def main():
    pseudo_gt.run(training.read_config(WORKDIR.value), WORKDIR.value, OUT.value, SPLIT.value)


if __name__ == '__main__':
    cli.run(main)
