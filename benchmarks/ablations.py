"""The papers' ablations on SynthAVE (TPAMI Tables 2 to 6): trains and scores every variant of configs/ablations and writes a page.

    python -m benchmarks.ablations --base=runs/experiment/seed0 --workdir=runs/ablations --out=docs/ablations.md
        After `make experiment`, whose run `--base` gives the data, settings and stages; results that it has already are taken from it.

    python -m benchmarks.ablations --tables=4,5 --variants=none,gru
        These variants alone. The page is written again after each variant, with all that is done by then.

A variant that is done is skipped and one that was interrupted goes on, so that the command may be repeated until all is done.
"""
import argparse
import functools
import json
import pathlib
import platform
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from configs.ablations import begin_from, cam_sta, fusions, reasoning, refine, sa_fuse
from stanet_jax import InputError
from stanet_jax.evaluation import fixations, protocols, scoring
from stanet_jax.evaluation.map_sources import open_map_folders, student_maps
from stanet_jax.evaluation.results import SetResults
from stanet_jax.evaluation.tables import COLUMNS, write_scores
from stanet_jax.inference import predictor
from stanet_jax.models import blenders, cgcn
from stanet_jax.pipeline import run as pipeline
from stanet_jax.pipeline.table import STAGES, STUDENT_ROWS
from stanet_jax.workdir import open_workdir, read_config, replace_text

TABLES = {2: cam_sta, 3: sa_fuse, 4: refine, 5: reasoning, 6: fusions}
NEEDED = ('config.json', 'coarse/accuracy.json', 'pseudo_gt/coarse/config.json', 'sta_plus/config.json', 'scores/scores.json')
METRICS = ('auc_judd', 'sim', 'shuffled_auc', 'cc', 'nss')

# What the paper measured on AVAD, {table: {variant: (CC, NSS)}}; the first of a table is what the others are compared to.
DEFAULT = .467, 2.156
PAPER = {2: {'SCAM': (.345, 1.364), 'STA': (.293, 1.273)},
         3: {'gate': DEFAULT, 'add': (.438, 1.880), 'multiply': (.442, 1.915), 'concatenate': (.459, 1.944), 'bilinear': (.428, 1.825)},
         4: {'0.8_0.6': DEFAULT, 'none': (.436, 1.857), '0.8_0.4': (.426, 1.671), '0.8_0.8': (.393, 1.802), '0.9_0.6': (.421, 1.790),
             '0.7_0.6': (.425, 1.699)},
         5: {'m3': DEFAULT, 'none': (.338, 1.519), 'm2': (.442, 1.980), 'm4': (.451, 1.981), 'm5': (.439, 1.967), 'n1': (.432, 1.965),
             'n2': DEFAULT, 'n3': (.424, 1.946), 'n4': (.415, 1.863), 'gru': (.441, 1.983), 'transformer': (.464, 2.157)},
         6: {'final': (.490, 2.318), 'STA': (.438, 2.018), 'STA_short': (.465, 2.151), 'STA_long': (.469, 2.159), 'product': (.507, 2.500)}}

CAMS = ' Scores are those of coarse maps; `right` is the share of test frames whose best class is the tag.'
STUDENTS = ' Scores are those of STA+ short / STA+ long.'

# Whose operations are counted, and how many the paper gives.
BLENDERS = {'C-GCN, one step': ({'name': 'cgcn', 'steps': 1}, 189_923_328), 'C-GCN, m = 3': (dict(blenders.DEFAULT), None),
            'GRU': ({'name': 'gru'}, 347_504_640),
            'Transformer, 3 blocks of 1 head': ({'name': 'transformer', 'blocks': 3, 'heads': 1}, 1_071_673_344),
            'no reasoning': ({'name': 'concatenate'}, None)}


# ---------------------------------------------------------------------------------------------------------------- variants


def settings(table, variant, base):
    """The config of a variant, that of the base run's stage with the variant's changes; and whether the base run has trained the same."""
    module = TABLES[table]
    config, given = (read_config(base / module.STAGE) for _ in range(2))
    module.vary(config, variant)
    if module.STAGE == 'coarse':
        begin_from(config, base / 'coarse')
    differs = [field for field in given if field not in ('nets', 'start_from') and config[field] != given[field]]
    return config, set(config.nets) <= set(given.nets) and not differs


def folder_of(table, variant, workdir):
    """The folder of a variant's run."""
    return workdir / pathlib.Path(TABLES[table].__file__).stem / variant


def run(table, variant, base, workdir):
    """Trains and scores a variant, unless the base run has done so or it is done."""
    (config, known), folder = settings(table, variant, base), folder_of(table, variant, workdir)
    if known and config.task == 'student':
        return
    if not known:
        open_workdir(config, folder)

    def stage():
        if not known:
            STAGES[TABLES[table].STAGE].run(config, folder)
        score(config, base / TABLES[table].STAGE if known else folder, folder, base)
    pipeline.once(workdir, str(folder.relative_to(workdir)), stage)


def score(config, nets, folder, base):
    """Scores students, or classifiers' class activation maps, on the test split under the protocol `stavis`; writes `scores.json`.

    Args:
        config: of the variant; its `nets`, `task` and `data` are read.
        nets: folder of the run of these nets.
        folder: where `scores.json` is written.
        base: folder of the pipeline's run, whose settings the maps are made with.
    """
    rules, rows = protocols.PROTOCOLS['stavis'], {}
    name, videos, mismatched = fixations.open_set(config.data.root, '')
    for net in config.nets:
        if config.task == 'student':
            maps = student_maps(predictor.Predictor(nets / net), videos)
            rows |= scoring.score_all(maps, videos, rules, net)
            continue
        how = read_config(base / 'pseudo_gt' / 'coarse')
        how.update({'nets': str(nets), 'sources': [net], 'fusion': 'average', 'splits': ['test']})
        STAGES['pseudo_gt/coarse'].run(how, folder / 'cam')
        maps, scored, lines = open_map_folders({net: folder / 'cam' / 'test'}, videos)
        rows, mismatched = rows | scoring.score_all(maps, scored, rules, net), mismatched + lines
    write_scores(folder / 'scores.json', SetResults('stavis', name, config.data.root, str(nets), mismatched, rows))


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


def seconds_of(workdir):
    """The seconds that each finished variant took, by its folder."""
    path = workdir / 'stages.json'
    return json.loads(path.read_text()) if path.exists() else {}


# -------------------------------------------------------------------------------------------------------------- operations


def operations(blender, nodes=3, side=32, channels=28):
    """The number of parameters of a blender, and of floating-point operations of a forward pass for one example, as XLA counts them.

    XLA counts the body of a loop once; for C-GCN's loops, over nodes and blocks of queries, the count is corrected here.
    """
    net, shape = blenders.create(**blender), jax.ShapeDtypeStruct((1, nodes, side, side, channels), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), shape)
    count = flops(net.apply, variables, shape)
    if blender['name'] == 'cgcn':
        flat = jax.ShapeDtypeStruct((1, nodes, side**2, channels), jnp.float32)
        one = jax.ShapeDtypeStruct((1, 1, *flat.shape[2:]), jnp.float32)  # a node's queries in one block
        whole = nodes * flops(functools.partial(cgcn.messages, block=side**2), one, flat, flat)
        count += net.steps * (whole - flops(cgcn.messages, flat, flat, flat))
    return sum(x.size for x in jax.tree.leaves(variables)), count


def flops(function, *shapes):
    """The floating-point operations of a function as compiled for a CPU; on other devices, products by libraries would not be counted."""
    with jax.default_device(jax.local_devices(backend='cpu')[0]):
        return jax.jit(function).lower(*shapes).compile().cost_analysis()['flops']


def operation_table():
    """The lines of a Markdown table of every blender's parameters and operations."""
    lines = ['| blender | parameters | operations | of C-GCN, one step | paper |', '|---|---|---|---|---|']
    counts = {name: operations(blender) for name, (blender, _) in BLENDERS.items()}
    for name, (parameters, count) in counts.items():
        share, paper = count / counts['C-GCN, one step'][1], BLENDERS[name][1]
        lines.append(f'| {name} | {parameters:,} | {count / 1e6:,.1f} M | {share:.2f} | {f"{paper / 1e6:,.1f} M" if paper else ""} |')
    return lines


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
        lines += ['', 'Operations forward for one target at the paper\'s size, three nodes of 32 x 32 places and 28 channels, as XLA '
                  'counts them: a product and a sum are two, exponentials are left out. How the paper counts is not known.', '', *counts]
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
