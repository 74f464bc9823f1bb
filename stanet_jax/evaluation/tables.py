"""Scores as text, JSON and CSV, beside those that the papers give."""
import csv
import importlib.resources
import io
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from stanet_jax.evaluation import protocols
from stanet_jax.evaluation.results import SetResults, SetScores, VideoScores
from stanet_jax.workdir import replace_text

COLUMNS = {'auc_judd': 'AUC-J', 'shuffled_auc': 's-AUC', 'nss': 'NSS', 'cc': 'CC', 'sim': 'SIM', 'kl_div': 'KL'}
PAPER_METRICS = ('auc_judd', 'sim', 'shuffled_auc', 'cc', 'nss')  # in the order of the papers' tables


def format_scores(results: SetResults) -> str:
    """The results as a table of text with a line for each row, the number of undefined scores, and what could not be scored."""
    width, names = max(map(len, results.rows)) + 2, protocols.PROTOCOLS[results.protocol].metrics
    lines = [f'{results.set_name}, protocol {results.protocol}', f'{"":{width}}{"videos":>7}{"frames":>8}' + ''.join(
        f'{COLUMNS[metric]:>8}' for metric in names)]
    for name, row in results.rows.items():
        cells = ''.join(f'{row.scores[metric]:8.3f}' for metric in names)
        lines.append(f'{name:{width}}{len(row.videos):7}{row.frames:8}{cells}')
        if any(row.undefined.values()):
            lines.append(f'{"":{width}}undefined:' + ','.join(f' {n} {COLUMNS[m]}' for m, n in row.undefined.items() if n))
    problems = [f'  {line}' for line in results.mismatched]
    problems += [f'  {name}: {failed.video}: {failed.why}' for name, row in results.rows.items() for failed in row.failed]
    return '\n'.join(lines + ([f'not scored ({len(problems)}):', *problems] if problems else []))


def without_nan(x: Any) -> Any:
    """A tree of dicts and lists with None in place of NaN, which JSON lacks."""
    if isinstance(x, dict):
        return {k: without_nan(v) for k, v in x.items()}
    if isinstance(x, list):
        return [without_nan(v) for v in x]
    return None if isinstance(x, float) and math.isnan(x) else x


def write_scores(out: pathlib.Path, results: SetResults) -> None:
    """Writes the results as JSON (null where a score is undefined) and, beside it, as CSV with a line for each row and each video."""
    text, names = io.StringIO(), protocols.PROTOCOLS[results.protocol].metrics
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['protocol', 'set', 'row', 'video', 'frames', *names, *(f'undefined_{name}' for name in names)])
    for name, row in results.rows.items():
        lines: list[tuple[str, SetScores | VideoScores]] = [('', row), *((video.video, video) for video in row.videos)]
        for video, line in lines:
            writer.writerow([results.protocol, results.set_name, name, video, line.frames,
                             *without_nan(list(line.scores.values())), *line.undefined.values()])
    replace_text(out, json.dumps(without_nan(results.to_dict()), indent=2) + '\n')
    replace_text(out.with_suffix('.csv'), text.getvalue())


def papers_table() -> dict[str, dict[str, dict[str, float]]]:
    """TPAMI Table 7: {set: {method: {metric: score}}}."""
    lines = (importlib.resources.files('stanet_jax.evaluation') / 'table7.csv').read_text('utf-8').splitlines()
    table: dict[str, dict[str, dict[str, float]]] = {}
    for row in csv.DictReader(line for line in lines if not line.startswith('#')):
        table.setdefault(row['set'], {})[row['method']] = {metric: float(row[metric]) for metric in PAPER_METRICS}
    return table


def format_sets(results: Mapping[str, SetResults], compare: bool) -> str:
    """The results of several sets {set: results} as text, in the order of TPAMI Table 7.

    With `compare` the scores of that table are listed, too; a metric that the protocol leaves out is a dash.
    """
    lines, papers = [], papers_table()
    width = max(len(row) for result in results.values() for row in [*result.rows, 'GradCAMpp (paper)']) + 2
    for name in sorted(results, key=lambda name: [*papers, name].index(name)):
        rows, names = results[name].rows, protocols.PROTOCOLS[results[name].protocol].metrics
        lines.append(f'{name:{width}}' + ''.join(f'{COLUMNS[metric]:>8}' for metric in PAPER_METRICS))
        published = {f'{method} (paper)': scores for method, scores in papers.get(name, {}).items()} if compare else {}
        for row, scores in {**{row: measured.scores for row, measured in rows.items()}, **published}.items():
            cells = (f'{scores[metric]:8.3f}' if metric in names or row in published else f'{"-":>8}' for metric in PAPER_METRICS)
            lines.append(f'  {row:{width - 2}}' + ''.join(cells))
    return '\n'.join(lines)
