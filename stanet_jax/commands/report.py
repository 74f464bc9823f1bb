"""Writes `report.html` of a run of `stanet run` anew, out of what is there: scores, curves, maps and films.

    stanet report --workdir=runs/demo
"""
import json
import pathlib

from absl import flags

from stanet_jax import InputError, cli

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run of `stanet run` whose stages are done.')
REQUIRED = ('workdir',)


def main() -> None:
    """Writes the report of a finished run."""
    from stanet_jax.pipeline import report
    from stanet_jax.workdir import hold_workdir, read_config
    workdir = pathlib.Path(cli.required(WORKDIR))
    config = read_config(workdir)
    if config.get('task') != 'pipeline' or not _is_done(config, workdir):
        raise InputError(f'--workdir={workdir}: no run of `stanet run` whose stages are done; run it to its end first')
    with hold_workdir(workdir):
        report.write_report(config, workdir)


def _is_done(config, workdir):
    last = 'scores' if config.data.name == 'synthave' else 'sta_plus' if 'sta_plus' in config else 'sta'
    stages = workdir / 'stages.json'
    return (workdir / last).exists() and stages.exists() and last in json.loads(stages.read_text())
