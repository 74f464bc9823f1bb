"""The main experiment: the whole pipeline on SynthAVE, from tags to the students, and every line of TPAMI Table 1, for several seeds.

    python -m benchmarks.experiment --seeds=3 --parallel=3 --workdir=runs/experiment --out=docs/results.md
        Side by side, as small nets do not fill two cores; on accelerators one after the other, as is the default.

Every seed has its own world and its own nets; what it prints is in <workdir>/seed<k>.log. Stages that are done are skipped, so that an
interrupted experiment goes on. The results, mean and standard deviation over the seeds, are written as a part of a Markdown page.
"""
import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import platform
import re
import sys

import jax
import numpy as np
import tqdm
from absl import logging

from benchmarks.table1 import line_table, mean_and_spread, order_table, verdict
from configs import stanet
from stanet_jax import InputError, compilation, workers
from stanet_jax.evaluation.tables import COLUMNS
from stanet_jax.pipeline import report, run
from stanet_jax.pipeline.table import STAGES, STUDENT_ROWS
from stanet_jax.pipeline.variants import TABLE1
from stanet_jax.stages.students import STUDENTS
from stanet_jax.tables.tpami import paper_figures
from stanet_jax.workdir import hold_workdir, replace_text

METRICS = ('cc', 'nss', 'auc_judd', 'shuffled_auc', 'sim', 'kl_div')
# What the TPAMI paper measured on AVAD (Table 6): CC, NSS. Another data set; printed for the order alone.
PAPER = {STUDENT_ROWS[key]: (figures['cc'], figures['nss']) for key in ('STA', 'STA_short', 'STA_long', 'product', 'final')
         for figures in [paper_figures(6, key)]}


def score_table(found):
    """The lines of a Markdown table of the rows that are no line of Table 1, of `found`, the list of each seed's scores."""
    lines = ['| | ' + ' | '.join(COLUMNS[m] for m in METRICS) + ' | paper on AVAD: CC, NSS |', '|---|' + '---|' * (len(METRICS) + 1)]
    for name in set_apart(found[0]['rows']):
        cells = [mean_and_spread([results['rows'][name]['scores'][m] for results in found]) for m in METRICS]
        lines.append(f'| {name} | ' + ' | '.join(cells) + f' | {", ".join(f"{v:.3f}" for v in PAPER.get(name, ()))} |')
    return lines


def set_apart(rows):
    """The names of the rows that are no maps of a line of Table 1."""
    of_lines = {variant.name for variant in TABLE1.values()}
    return [name for name in rows if name not in of_lines]


def kind_table(found, kinds):
    """The lines of a Markdown table of CC by kind of clip; `kinds` is the list of each seed's {clip: kind}."""
    names = list(dict.fromkeys(kinds[0].values()))
    lines = ['| CC | ' + ' | '.join(names) + ' |', '|---|' + '---|' * len(names)]
    for name in found[0]['rows']:
        by_kind = [report.by_kind(results['rows'][name], of, 'cc') for results, of in zip(found, kinds, strict=True)]
        lines.append(f'| {name} | ' + ' | '.join(mean_and_spread([of.get(kind) for of in by_kind]) for kind in names) + ' |')
    return lines


def left_out_table(found, kinds):
    """The lines of a Markdown table by kind of clip, of maps that leave frames out: the share of these, and CC where they count as 0."""
    names = list(dict.fromkeys(kinds[0].values()))
    lines = ['| left out; CC with these as 0 | ' + ' | '.join(names) + ' |', '|---|' + '---|' * len(names)]
    for name in (name for name in found[0]['rows'] if any(of['rows'][name]['undefined']['cc'] for of in found)):
        cells = []
        for kind in names:
            videos = [[video for video in results['rows'][name]['videos'] if of[video['video']] == kind]
                      for results, of in zip(found, kinds, strict=True)]
            frames = [sum(video['frames'] for video in of) for of in videos]
            empty = [sum(video['undefined']['cc'] for video in of) for of in videos]
            total = [sum((video['scores']['cc'] or 0) * (video['frames'] - video['undefined']['cc']) for video in of) for of in videos]
            shares = [np.divide(of, frames).mean() for of in (empty, total)] if all(frames) else []
            cells.append('{:.1%}; {:.3f}'.format(*shares) if shares else '')
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return lines


def expectations(found, kinds):
    """The lines of a Markdown list: whether the scores of the whole chain are ordered as expected."""
    def cc(name, kind=None):
        if kind:
            return np.array([report.by_kind(r['rows'][name], of, 'cc').get(kind, np.nan) for r, of in zip(found, kinds, strict=True)])
        return np.array([r['rows'][name]['scores']['cc'] for r in found])

    students = [STUDENT_ROWS[net] for net in STUDENTS]
    checks = [('STA, share of its teacher (SCAM, fine)', cc('STA') / cc('SCAM, fine'), 0.9),
              ('STA over the centre prior', cc('STA') - cc('centre_prior'), 0.15),
              *((f'STA, its own over {sound} sound, on sound_decides',
                 cc('STA', 'sound_decides') - cc(f'STA, {sound} sound', 'sound_decides'), 0) for sound in ('muted', 'other')),
              ('SCAM+ over SCAM, maps, on context_decides', cc('SCAM+', 'context_decides') - cc('SCAM, fine', 'context_decides'), 0),
              *((f'final fusion over {name}', cc('final fusion') - cc(name), 0) for name in students),
              ('final fusion over STA, on context_decides', cc('final fusion', 'context_decides') - cc('STA', 'context_decides'), 0),
              ('product fusion over final fusion', cc('product fusion') - cc('final fusion'), 0)]
    return [f'- {text}, expected above {least:g}: {verdict(values, least)}' for text, values, least in checks]


def accuracy_lines(folders):
    """The lines of a Markdown table of the accuracies of the classifiers and of the audio switch."""
    places = ('coarse', 'pseudo_gt/plus_nets', 'variants/no_switch/coarse')
    tables = [[json.loads((folder / place / 'accuracy.json').read_text())['nets'] for place in places] for folder in folders]
    nets = [{**coarse, 'SA, no switch': open_ear['SA'], **plus} for coarse, plus, open_ear in tables]
    switches = [json.loads((folder / 'switch' / 'accuracy.json').read_text()) for folder in folders]
    kinds = list(nets[0]['S'])
    lines = ['| share of test frames | ' + ' | '.join(kinds) + ' |', '|---|' + '---|' * len(kinds)]
    for net in nets[0]:
        lines.append(f'| {net} | ' + ' | '.join(mean_and_spread([of[net][kind]['frames'] for of in nets]) for kind in kinds) + ' |')
    for name in (name for name in switches[0] if name != 'split'):
        lines.append(f'| switch: {name} | ' + ' | '.join(mean_and_spread([of[name][kind] for of in switches]) for kind in kinds) + ' |')
    return lines


def judged(folder):
    """The scores {variant: row} of the variants' students, of the run in a folder."""
    scores = {variant: json.loads((folder / 'variants' / variant / 'scores' / 'scores.json').read_text()) for variant in TABLE1}
    return {variant: next(iter(of['rows'].values())) for variant, of in scores.items()}


def document(found, folders, configs, parallel=1):
    """The part of the page on SynthAVE, from each seed's scores and the folder of its pipeline; `parallel` of them ran side by side."""
    kinds = [report.kinds_of(config.data.root) for config in configs]
    seconds = [sum(json.loads((folder / 'stages.json').read_text()).values()) for folder in folders]
    maps, students = [of['rows'] for of in found], [judged(folder) for folder in folders]
    first = maps[0]['SCAM, coarse']
    return '\n'.join([
        f'Written by `python -m benchmarks.experiment --seeds={len(folders)} --parallel={parallel}`; JAX {jax.__version__} on '
        f'{jax.device_count()} x {jax.devices()[0].device_kind} ({platform.machine()}). Every seed has its own world and its own nets; '
        f'mean ± standard deviation over {len(folders)} seeds. Protocol `stavis`, test part, {len(first["videos"])} videos and '
        f'{first["frames"]} frames to a seed. A seed took {np.mean(seconds) / 60:.1f} minutes on average, {parallel} side by side, '
        'without making the world.', '',
        'The paper\'s figures are of another set, for the order alone.', '',
        '## Every line of TPAMI Table 1', '',
        'A line is a whole chain: nets, boxes, maps, and a student STA that is trained on its maps, of the same recipe and budget in every '
        f'line ({configs[0].judge.epochs.STA:g} times over one in {configs[0].judge.every} of the training clips of each tag). Students do '
        'not know the tag, and it is they that the paper\'s table is about; the maps know it. Scores of maps leave out the frames whose '
        'map is empty, as no source was sure of the tag or the cut left nothing of it; a student does not learn from these. What is '
        'below three times its mean is 0 in a map of lines 6 to 11 and 13 to 25, as in the authors\' code; the maps of lines 1 to 5 and 12 '
        'are uncut, so that some of what an order between the two shows may be the cut\'s.', '',
        *line_table(maps, students), '',
        '## The paper\'s orders', '', 'By how much CC is larger; an order shows where it does in every seed.', '',
        *order_table(maps, students), '',
        '## Students of the whole chain', '', *score_table(found), '', *expectations(found, kinds), '', '## By kind of clip', '',
        *kind_table(found, kinds), '', *left_out_table(found, kinds), '',
        '## Classifiers and audio switch', '', *accuracy_lines(folders), ''])


def replace_part(path, title, text):
    """Replaces or adds the part of a Markdown page that is under a title of the first level; other parts stay."""
    old = path.read_text() if path.exists() else ''
    parts = dict(re.findall(r'^# (.+)\n((?:(?!# ).*\n?)*)', old, flags=re.MULTILINE))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, '\n'.join(f'# {of}\n\n{part.strip()}\n' for of, part in {**parts, title: text}.items()))


def config_of(args, seed):
    """The pipeline's config for a seed."""
    config = stanet.get_config(args.recipe)
    config.seed = config.world.seed = seed
    config.variants = tuple(TABLE1)
    config.data.root = str(args.workdir / f'world{seed}')
    return config


def run_seed(args, seed):
    """Runs the pipeline of a seed in this process and writes what it prints to a file."""
    with open(args.workdir / f'seed{seed}.log', 'a') as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        logging.set_verbosity(logging.WARNING)
        compilation.prepare()
        with hold_workdir(args.workdir / f'seed{seed}'):
            try:
                run.run(config_of(args, seed), args.workdir / f'seed{seed}')
            except SystemExit:  # a training that was asked to stop
                raise InputError(f'{args.workdir}/seed{seed}: stopped and saved; the same command goes on') from None


def run_seeds(args):
    """Runs the seeds in processes, `args.parallel` at a time, and shows how many stages are done; others go on where a seed fails."""
    args.workdir.mkdir(parents=True, exist_ok=True)
    files = [args.workdir / f'seed{seed}' / 'stages.json' for seed in range(args.seeds)]
    count = args.seeds * (len(STAGES) + sum(len(of.stages) + 2 for of in TABLE1.values()) + 1)
    with workers.pool(args.parallel) as pool, tqdm.tqdm(
            total=count, desc=f'seeds, {args.workdir}/seed*.log', unit='stage') as progress:
        running = jobs = [pool.submit(run_seed, args, seed) for seed in range(args.seeds)]
        while running:
            ended, running = concurrent.futures.wait(running, timeout=5, return_when=concurrent.futures.FIRST_COMPLETED)
            progress.n = sum(len(json.loads(file.read_text())) for file in files if file.exists())
            progress.refresh()
            for job in ended:
                if job.exception():
                    progress.write(f'a seed has failed: {job.exception()}', file=sys.stderr)
        for job in jobs:
            job.result()


def main():
    """Runs the seeds and writes the part of the page."""
    parser = argparse.ArgumentParser(description='Runs the pipeline for several seeds and writes a page of results.')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--parallel', type=int, default=1, help='seeds that run side by side')
    parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs/experiment'))
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('docs/results.md'))
    parser.add_argument('--recipe', default='synthave', help='of configs/stanet.py')
    args = parser.parse_args()
    try:
        run_seeds(args)
        folders = [args.workdir / f'seed{seed}' for seed in range(args.seeds)]
        found = [json.loads((folder / 'scores' / 'scores.json').read_text()) for folder in folders]
        configs = [config_of(args, seed) for seed in range(args.seeds)]
        replace_part(args.out, 'Results on SynthAVE', document(found, folders, configs, args.parallel))
    except (InputError, concurrent.futures.process.BrokenProcessPool) as error:  # the second: a seed was killed, as for its memory
        sys.exit(f'error: {error}')
    print(f'results: {args.out}')


if __name__ == '__main__':
    main()
