"""The papers' ablations on SynthAVE (TPAMI Tables 2 to 6): trains and scores every variant of configs/ablations and writes a page.

    python -m benchmarks.ablations --base=runs/experiment/seed0 --workdir=runs/ablations --out=docs/ablations.md
        After `make experiment`, whose run `--base` gives the data, settings and stages; results that it has already are taken from it.

    python -m benchmarks.ablations --tables=4,5 --variants=none,gru
        These variants alone. The page is written again after each variant, with all that is done by then.

A variant that is done is skipped and one that was interrupted goes on, so that the command may be repeated until all is done.
"""
import argparse
import json
import pathlib
import platform
import sys

import jax
import numpy as np
from absl import logging

from configs.ablations import fusions, reasoning, refine, sa_fuse
from stanet_jax import InputError
from stanet_jax.evaluation.tables import COLUMNS
from stanet_jax.pipeline.table import STUDENT_ROWS
from stanet_jax.tables.ablations import TABLES, folder_of, run, seconds_of, settings
from stanet_jax.tables.operations import operation_table
from stanet_jax.tables.tpami import paper_figures
from stanet_jax.workdir import open_workdir, read_config, replace_text

NEEDED = ('config.json', 'coarse/accuracy.json', 'pseudo_gt/coarse/config.json', 'sta_plus/config.json', 'scores/scores.json')
METRICS = ('auc_judd', 'sim', 'shuffled_auc', 'cc', 'nss')

# The paper's row of each variant where its name is another one; the first of a table is what the others are compared to.
ROWS = {2: {'SCAM': 'coarse SCAM', 'STA': 'coarse CAM_sta'}, 3: dict.fromkeys(('gate', *sa_fuse.VARIANTS)),
        4: dict.fromkeys(('0.8_0.6', *refine.VARIANTS)),
        5: {'m3': '', **dict.fromkeys(reasoning.VARIANTS), 'gru': 'rnn', 'transformer': 'B',
            **{f'transformer_{version}': version for version in 'ACD'}, **{f'transformer_{n}': f'{n} blocks' for n in (2, 4, 5)}},
        6: dict.fromkeys(('final', *fusions.VARIANTS))}
# What the paper measured on AVAD, {table: {variant: (CC, NSS)}}.
PAPER = {table: {variant: (figures['cc'], figures['nss']) for variant, row in rows.items()
                 for figures in [paper_figures(table, row or variant)]} for table, rows in ROWS.items()}

CAMS = ' Scores are those of coarse maps; `right` is the share of test frames whose best class is the tag.'
STUDENTS = ' Scores are those of STA+ short / STA+ long.'

# ---------------------------------------------------------------------------------------------------------------- variants


def gather(table, base, workdir):
    """The results of a table so far: {variant: (rows of scores by net, accuracy by kind of clip, minutes as text)}.

    Rows are None for a variant that is not run yet, accuracies for a variant that is not a classifier.
    """
    scored, accuracies = (json.loads((base / path).read_text()) for path in ('scores/scores.json', 'coarse/accuracy.json'))
    result, seconds = {}, seconds_of(workdir)
    if table == 2:
        result['SCAM'] = {'SCAM': scored['rows']['SCAM, coarse']}, None, 'base run'
    for variant in TABLES[table].VARIANTS:
        (config, known), folder = settings(table, variant, base), folder_of(table, variant, workdir)
        rows, accuracy, took = None, None, seconds.get(str(folder.relative_to(workdir)))
        if known and config.task == 'student':
            rows = {net: scored['rows'][STUDENT_ROWS[net]] for net in ((variant,) if table == 6 else config.nets)}
        elif took is not None:
            rows = json.loads((folder / 'scores.json').read_text())['rows']
        if rows and config.task == 'classifiers':
            nets = (accuracies if known else json.loads((folder / 'accuracy.json').read_text()))['nets']
            accuracy = {kind: of['frames'] for kind, of in nets[config.nets[0]].items()}
        result[variant] = rows, accuracy, 'base run' if known else '-' if took is None else f'{took / 60:.1f}'
    return {variant: result[variant] for variant in PAPER[table]}


# -------------------------------------------------------------------------------------------------------------------- page


def number(value):
    """NaN for None, which JSON has in place of an undefined score."""
    return np.nan if value is None else value


def score_table(table, found):
    """The lines of a Markdown table of the results that `gather` gives; scores of two nets are separated by a slash."""
    kinds = next((list(accuracy) for _, accuracy, _ in found.values() if accuracy), [])
    heads = ['', *(COLUMNS[m] for m in METRICS), 'frames left out', *(f'right, {kind}' for kind in kinds), 'minutes',
             'paper, AVAD: CC', 'paper, AVAD: NSS']
    lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for variant, (rows, accuracy, minutes) in found.items():
        of = list((rows or {}).values())
        cells = [' / '.join(f'{number(row["scores"][m]):.3f}' for row in of) or '-' for m in METRICS]
        cells.append(' / '.join(str(row['undefined']['cc']) for row in of) or '-')
        cells += [f'{accuracy[kind]:.3f}' if accuracy else '-' for kind in kinds]
        cells += [minutes, *(f'{x:.3f}' for x in PAPER[table][variant])]
        lines.append(f'| `{variant}` | {" | ".join(cells)} |')
    return lines


def orders(table, found):
    """The lines of a Markdown list: whether the first variant compares to the others as in the paper, by CC; empty maps count as 0."""
    def cc(variant):
        return np.array([number(row['scores']['cc']) * (1 - row['undefined']['cc'] / row['frames']) for row in found[variant][0].values()])

    (first, *others), lines = PAPER[table], []
    for other in (other for other in others if found[first][0] and found[other][0] and PAPER[table][other] != PAPER[table][first]):
        paper = PAPER[table][first][0] - PAPER[table][other][0]
        over, under = (first, other) if paper > 0 else (other, first)
        ours = cc(over) - cc(under)
        verdict = 'shows' if ours.min() > 0 else 'shows **in part**' if ours.max() > 0 else '**does not show**'
        lines.append(f'- {verdict}: `{over}` over `{under}` by '
                     f'{" / ".join(f"{x:+.3f}" for x in ours)} (paper, AVAD: {abs(paper):+.3f})')
    missing = [f'`{variant}`' for variant, (rows, _, _) in found.items() if not rows]
    return lines + ([f'- not run yet: {", ".join(missing)}'] if missing else [])


def size(config):
    """The epochs and the batch size of a stage's nets, as text."""
    return ', '.join(f'{net} {config.epochs[net]:g}' for net in config.nets) + f' epochs in batches of {config.batch}'


def document(base, workdir, counts):
    """The whole page: the results of every table so far, and the lines `counts` on operations."""
    found = {table: gather(table, base, workdir) for table in TABLES}
    minutes = sum(seconds_of(workdir).values()) / 60
    config, (students, classifiers) = read_config(base), (read_config(base / stage) for stage in ('sta_plus', 'coarse'))
    first = found[6]['final'][0]['final']
    lines = [
        '# Ablations on SynthAVE', '',
        f'Written by `python -m benchmarks.ablations --base={base} --workdir={workdir}`; JAX {jax.__version__} on {jax.device_count()} x '
        f'{jax.devices()[0].device_kind} ({platform.machine()}), {minutes:.0f} minutes for what is done, without the base run. One seed '
        f'({config.seed}), one world of {config.world.train} clips to train on; frames of {students.data.side} pixels; {size(students)}; '
        f'{size(classifiers)}. Variants of a table differ in what it varies alone, and begin from the same nets. Protocol `stavis`, test '
        f'part, {len(first["videos"])} videos and {first["frames"]} frames.', '',
        'One seed does not tell small differences from chance. The papers\' figures are of another set, for the order alone, and of the '
        'whole method where ours are of a part. A dash: not run yet. `base run`: that run has trained just this. Minutes are as they '
        'passed, whatever else the machine did, and of the last session where a variant was interrupted.']
    return '\n'.join([*lines, *(line for table in TABLES for line in section(table, found[table], counts)), ''])


def section(table, found, counts):
    """The page's lines on one table."""
    doc, path = TABLES[table].__doc__.splitlines()[0], pathlib.Path(TABLES[table].__file__)
    about = {2: CAMS, 3: CAMS, 4: STUDENTS, 5: STUDENTS, 6: ''}[table]
    lines = ['', f'## Table {table}', '', f'{doc} See `configs/ablations/{path.name}`.{about}', '', *score_table(table, found), '',
             *orders(table, found)]
    if table == 5:
        lines += ['', *counts]
    return lines


def chosen(tables, variants):
    """The (table, variant) pairs that the flags name; InputError for an unknown table or variant."""
    if not set(tables) <= {str(table) for table in TABLES}:
        raise InputError(f'--tables={",".join(tables)}: must name some of {", ".join(map(str, TABLES))}')
    pairs = [(int(table), variant) for table in tables for variant in TABLES[int(table)].VARIANTS]
    unknown = set(variants) - {variant for _, variant in pairs}
    if unknown:
        raise InputError(f'--variants: {", ".join(sorted(unknown))}: not in the tables; they have '
                         f'{", ".join(dict.fromkeys(variant for _, variant in pairs))}')
    return [(table, variant) for table, variant in pairs if not variants or variant in variants]


def main():
    """Runs the variants that the flags name and writes the page."""
    parser = argparse.ArgumentParser(description='Trains and scores the variants of configs/ablations and writes a page of results.')
    parser.add_argument('--base', type=pathlib.Path, default=pathlib.Path('runs/experiment/seed0'), help='a finished run of the pipeline')
    parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs/ablations'))
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('docs/ablations.md'))
    parser.add_argument('--tables', default=','.join(map(str, TABLES)), help='numbers of the paper')
    parser.add_argument('--variants', default='', help='names out of configs/ablations; all by default')
    args = parser.parse_args()
    logging.set_verbosity(logging.WARNING)
    try:
        pairs = chosen(args.tables.split(','), args.variants.split(',') if args.variants else [])
        missing = [part for part in NEEDED if not (args.base / part).exists()]
        if missing:
            raise InputError(f'--base={args.base}: no finished run of the pipeline ({missing[0]} is missing); `make experiment` makes one')
        args.out.parent.mkdir(parents=True, exist_ok=True)
        config, counts = read_config(args.base), operation_table()
        config.base = str(args.base)
        open_workdir(config, args.workdir)
        for table, variant in pairs:
            run(table, variant, args.base, args.workdir)
            replace_text(args.out, document(args.base, args.workdir, counts))
    except InputError as error:
        sys.exit(f'error: {error}')
    print(f'results: {args.out}')


if __name__ == '__main__':
    main()
