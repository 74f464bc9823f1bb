"""Scores as text, JSON and CSV, and the papers' own beside them."""
import csv
import importlib.resources
import io
import json
import math

from stanet_jax.evaluation import protocols
from stanet_jax.workdir import replace_text

COLUMNS = {'auc_judd': 'AUC-J', 'shuffled_auc': 's-AUC', 'nss': 'NSS', 'cc': 'CC', 'sim': 'SIM', 'kl_div': 'KL'}
PAPER_METRICS = ('auc_judd', 'sim', 'shuffled_auc', 'cc', 'nss')  # that the papers' tables have, in their order


# ------------------------------------------------------------------------------------------------------------------ reports


def format_scores(results):
    """The results of `evaluate` as text: a row for each of its `rows`."""
    width, names = max(map(len, results['rows'])) + 2, protocols.PROTOCOLS[results['protocol']].metrics
    lines = [f'{results["set"]}, protocol {results["protocol"]}', f'{"":{width}}{"videos":>7}{"frames":>8}' + ''.join(
        f'{COLUMNS[metric]:>8}' for metric in names)]
    for name, row in results['rows'].items():
        cells = ''.join(f'{row["scores"][metric]:8.3f}' for metric in names)
        lines.append(f'{name:{width}}{len(row["videos"]):7}{row["frames"]:8}{cells}')
        if any(row['undefined'].values()):
            lines.append(f'{"":{width}}undefined:' + ','.join(f' {n} {COLUMNS[m]}' for m, n in row['undefined'].items() if n))
    problems = [f'  {line}' for line in results['mismatched']]
    problems += [f'  {name}: {f["video"]}: {f["why"]}' for name, row in results['rows'].items() for f in row['failed']]
    return '\n'.join(lines + ([f'not scored ({len(problems)}):', *problems] if problems else []))


def without_nan(x):
    """A tree of dicts and lists with None where there is NaN, which JSON has not."""
    if isinstance(x, dict):
        return {k: without_nan(v) for k, v in x.items()}
    if isinstance(x, list):
        return [without_nan(v) for v in x]
    return None if isinstance(x, float) and math.isnan(x) else x


def write_scores(out, results):
    """Writes the results as JSON (null where a score is undefined) and, beside it, a CSV with a row for each video."""
    text, names = io.StringIO(), protocols.PROTOCOLS[results['protocol']].metrics
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['protocol', 'set', 'row', 'video', 'frames', *names, *(f'undefined_{name}' for name in names)])
    for name, row in results['rows'].items():
        for of in [{**row, 'video': ''}, *row['videos']]:
            writer.writerow([results['protocol'], results['set'], name, of['video'], of['frames'],
                             *without_nan(list(of['scores'].values())), *of['undefined'].values()])
    replace_text(out, json.dumps(without_nan(results), indent=2) + '\n')
    replace_text(out.with_suffix('.csv'), text.getvalue())


def papers_table():
    """TPAMI Table 7: {set: {method: {metric: score}}}."""
    lines = (importlib.resources.files('stanet_jax.evaluation') / 'table7.csv').read_text('utf-8').splitlines()
    found = {}
    for row in csv.DictReader(line for line in lines if not line.startswith('#')):
        found.setdefault(row['set'], {})[row['method']] = {metric: float(row[metric]) for metric in PAPER_METRICS}
    return found


def format_sets(results, compare):
    """The results of several sets {set: see `evaluate`} as text, in the order of the papers' Table 7, whose rows `compare` adds."""
    lines, papers = [], papers_table()
    width = max(len(row) for result in results.values() for row in [*result['rows'], 'GradCAMpp (paper)']) + 2
    for name in sorted(results, key=lambda name: [*papers, name].index(name)):
        rows, names = results[name]['rows'], protocols.PROTOCOLS[results[name]['protocol']].metrics
        lines.append(f'{name:{width}}' + ''.join(f'{COLUMNS[metric]:>8}' for metric in PAPER_METRICS))
        beside = {f'{method} (paper)': of for method, of in papers.get(name, {}).items()} if compare else {}
        for row, scores in {**{row: of['scores'] for row, of in rows.items()}, **beside}.items():
            cells = (f'{scores[metric]:8.3f}' if metric in names or row in beside else f'{"-":>8}' for metric in PAPER_METRICS)
            lines.append(f'  {row:{width - 2}}' + ''.join(cells))
    return '\n'.join(lines)
