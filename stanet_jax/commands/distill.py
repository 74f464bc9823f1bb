"""Makes pseudo-fixations and pseudo-masks, and trains students on them.

    stanet distill --config=pseudo_gt --workdir=runs/pseudo_gt                   all stages of the pseudo-fixations
    stanet distill --config=pseudo_gt:coarse --workdir=runs/pseudo_gt/coarse     the maps of one
    stanet distill --config=sta --workdir=runs/sta                               a student
    stanet distill --config=cam_baselines --workdir=runs/cam_baselines           class activation maps of S, to compare with
"""
from absl import flags
from ml_collections import config_flags

from stanet_jax import cli

CONFIG = config_flags.DEFINE_config_file('config', None, 'What to make or train: a name, or a file; override fields as --config.batch=16.')
WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run; a run that is there goes on.')
REQUIRED = ('config', 'workdir')


def main() -> None:
    """Runs the stage that `config.task` names."""
    from stanet_jax.baselines import maps as cam_baselines
    from stanet_jax.eps import masks, saliency, training
    from stanet_jax.pipeline import run
    from stanet_jax.stages import maps, students
    from stanet_jax.workdir import hold_workdir
    tasks = {'maps': maps.run, 'pseudo_gt': run.run_pseudo_gt, 'student': students.run, 'saliency': saliency.run, 'eps': masks.run,
             'deeplab': training.train, 'cam_baselines': cam_baselines.run}
    chosen = cli.choose(CONFIG.value, tasks)
    with hold_workdir(cli.required(WORKDIR)):
        chosen(CONFIG.value, cli.required(WORKDIR))
