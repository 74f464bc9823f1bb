"""A table of the papers: the paper's figures and ours side by side, in the paper's order of rows.

    stanet tables --paper=tpami --table=7 --data=data/synthave --run=runs/stanet
    stanet tables --paper=tpami --table=7 --data=fixations --run=runs/paper --every=30
    stanet tables --paper=tpami --table=1 --run=runs/stanet --train
    stanet tables --list

What can be scored is scored and kept in --workdir, video by video, so that the same command goes on after an interruption. What has to be
trained first is named with its command, or trained with --train. Papers and tables: cvpr 1 to 4, tpami 1 to 9, eps 1 to 7.
"""
import contextlib
import pathlib
import shlex
import sys

from absl import flags

from stanet_jax import InputError
from stanet_jax.tables import PAPERS

PAPER = flags.DEFINE_enum('paper', None, list(PAPERS), 'Whose table; with --list, whose tables, all by default.')
TABLE = flags.DEFINE_integer('table', None, 'Its number.')
DATA = flags.DEFINE_string('data', '', 'Folder of fixation sets in the layout of the STAViS release, or of pysaliency\'s; for eps, of a '
                           'set in VOC\'s. By default the data of --run, or data/synthave, or data/synthvoc.')
SETS = flags.DEFINE_list('sets', [], 'Which of the fixation sets, as AVAD,DIEM; all that are there by default.')
RUN = flags.DEFINE_string('run', '', 'Folder of a run of `stanet run`, whose nets and students are scored, runs/stanet by default; for '
                          'eps, a folder with runs of EPS named by their selections, as benchmarks.eps makes, runs/experiment-eps/seed0.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/tables', 'Folder in which scores are kept.')
OUT = flags.DEFINE_string('out', '', 'Markdown file to write, beside printing.')
LIST = flags.DEFINE_bool('list', False, 'Say what each table needs, which rows are there, how long they took, which cannot be had and why.')
TRAIN = flags.DEFINE_bool('train', False, 'Train what the rows need and is not there; this can take hours.')
SAMPLES = flags.DEFINE_integer('samples', 2, 'Noisy masks of SS-CAM; 35 in its paper, which take 17 times as long.', lower_bound=1)
EVERY = flags.DEFINE_integer('every', 1, 'Score every so many frames of a video.', lower_bound=1)
VIDEOS = flags.DEFINE_integer('videos', 0, 'Score the first so many videos of a set; 0 for all.', lower_bound=0)

REQUIRED = ()


def main() -> None:
    """Makes the table that the flags name, or lists."""
    if not LIST.value and (PAPER.value is None or TABLE.value is None):
        raise InputError('--paper, --table: needed, as --paper=tpami --table=7; or --list')
    if TABLE.value is not None and PAPER.value is None:
        raise InputError('--paper: needed with --table')
    if LIST.value and (TRAIN.value or OUT.value):
        raise InputError('--list: not with --train or --out')
    if PAPER.value and TABLE.value is not None and TABLE.value not in PAPERS[PAPER.value]:
        raise InputError(f'--table={TABLE.value}: {PAPER.value} has {PAPERS[PAPER.value][0]} to {PAPERS[PAPER.value][-1]}')
    from stanet_jax.scratch import hold
    from stanet_jax.tables import show
    from stanet_jax.tables.place import Place, run_data
    papers = [PAPER.value] if PAPER.value else list(PAPERS)

    def place_of(paper: str) -> Place:
        defaults = ('runs/experiment-eps/seed0', 'data/synthvoc') if paper == 'eps' else ('runs/stanet', 'data/synthave')
        asked = paper != 'eps' or PAPER.value == 'eps'  # where all papers are listed, --run and --data are STANet's
        run = pathlib.Path(asked and RUN.value or defaults[0])
        data = asked and DATA.value or run_data(run / 'adaptive' if paper == 'eps' else run, defaults[1])
        return Place(pathlib.Path(data), run, pathlib.Path(WORKDIR.value), tuple(SETS.value), SAMPLES.value, EVERY.value, VIDEOS.value)

    if LIST.value:
        print('\n\n'.join(show.list_tables([paper], TABLE.value, place_of(paper)) for paper in papers))
    else:
        command = shlex.join(['stanet', 'tables', *sys.argv[1:]])
        place = place_of(papers[0])
        with contextlib.ExitStack() as held:
            for folder in [place.workdir] + [place.run] * TRAIN.value:
                held.enter_context(hold(folder))
            show.show(papers[0], TABLE.value or 0, place, TRAIN.value, command, pathlib.Path(OUT.value) if OUT.value else None)
