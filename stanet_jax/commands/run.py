"""Every stage after the other: classifiers, audio switch, pseudo-fixations, students, scores, report; what is done is left.

    stanet run --config=stanet:demo --workdir=runs/demo
"""
from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file('config', None, 'Which pipeline: a name, or a file; override fields as --config.data.root=DIR.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/stanet', 'Folder of the run; one that is there goes on.')
REQUIRED = ('config',)


def main() -> None:
    """Runs the pipeline."""
    from stanet_jax.pipeline import run
    from stanet_jax.workdir import hold_workdir
    with hold_workdir(WORKDIR.value):
        run.run(CONFIG.value, WORKDIR.value)
