"""Makes pseudo-fixations and trains students on them: `python distill.py --config=configs/pseudo_gt.py --workdir=runs/pseudo_gt`."""
from absl import flags
from ml_collections import config_flags

from stanet_jax import cli
from stanet_jax.eps import masks, saliency
from stanet_jax.eps import training as segmentation
from stanet_jax.stages import maps as pseudo_gt
from stanet_jax.stages import students as distillation

TASKS = {'pseudo_gt': pseudo_gt.run, 'student': distillation.run, 'saliency': saliency.run, 'eps': masks.run,
         'deeplab': segmentation.train}
CONFIG = config_flags.DEFINE_config_file('config', None, 'What to make or train; override fields as --config.batch=16.')
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; a run that is there goes on.')


def main():
    cli.choose(CONFIG.value, TASKS)(CONFIG.value, WORKDIR.value)


if __name__ == '__main__':
    cli.run(main, required=['config', 'workdir'])
