"""The report of a pipeline's run, one page without other files: scores, training curves, maps of every stage, and overlay videos."""
import base64
import html
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from ml_collections import ConfigDict

from stanet_jax.data import annotations
from stanet_jax.data.clips import Clips
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.references import REFERENCES
from stanet_jax.evaluation.tables import COLUMNS
from stanet_jax.inference.predictor import Predictor
from stanet_jax.pipeline.pictures import draw_stages, open_stage_clips, render_films
from stanet_jax.pipeline.table import student_runs
from stanet_jax.workdir import replace_text

Row = TypeVar('Row')
METRICS = ('cc', 'nss', 'auc_judd', 'shuffled_auc', 'sim', 'kl_div')
COLOURS = ('#4c9be8', '#f2a541', '#5fbf77', '#d8605f', '#a184d6', '#8a8f98', '#e58fc2', '#c9d45c')
STYLE = '''
body { font: 15px/1.5 system-ui, sans-serif; background: #16171b; color: #e4e5e9; max-width: 1180px; margin: 2em auto; padding: 0 1em }
h1 { font-weight: 600; margin-bottom: 0 } h2 { font-weight: 600; margin-top: 2.2em } p { max-width: 48em; color: #b5b8c2 }
table { border-collapse: collapse } th { font-weight: 500; color: #9a9eaa }
th, td { padding: .25em .9em; text-align: right }
th:first-child, td:first-child { text-align: left }
tbody tr:nth-child(odd) { background: #1e2026 } td.best { color: #f2c14e; font-weight: 600 }
tr.reference td { color: #8f93a0; font-style: italic } .row { display: flex; flex-wrap: wrap; gap: 1.2em } figure { margin: 0 }
figcaption { color: #9a9eaa; font-size: 13px }
video { width: 178px; border-radius: 4px } img { max-width: 100%; border-radius: 4px }
svg text { fill: #9a9eaa; font: 11px system-ui, sans-serif }'''


# ------------------------------------------------------------------------------------------------------------------- scores


def kinds_of(root: str | os.PathLike) -> dict[str, str]:
    """The kind of each clip of a SynthAVE, by the clip's id."""
    return {line['id']: line['kind'] for line in annotations.read_lines(pathlib.Path(root) / 'truth.jsonl', 'make the set again')}


def by_kind(row: Mapping[str, Any], kinds: Mapping[str, str], metric: str) -> dict[str, float]:
    """The mean score of the videos of each kind.

    Args:
        row: of `scores.json`.
        kinds: of the videos, by their names.
        metric: which score; videos where it is undefined do not count.
    """
    values: dict[str, list[float]] = {}
    for video in row['videos']:
        if video['scores'][metric] is not None and np.isfinite(video['scores'][metric]):
            values.setdefault(kinds[video['video']], []).append(video['scores'][metric])
    return {kind: float(np.mean(values[kind])) for kind in dict.fromkeys(kinds.values()) if kind in values}


def score_table(rows: Mapping[str, Row], columns: Mapping[str, str], value: Callable[[Row, str], float | None],
                lower: Sequence[str] = ()) -> str:
    """An HTML table of numbers, the best of each column marked; reference rows are set in italics and never marked.

    Args:
        rows: by their names.
        columns: {key: title}.
        value: `(row, key) -> number`, None where there is none.
        lower: keys of the columns whose least number is the best.
    """
    measured = {name: row for name, row in rows.items() if name not in REFERENCES}
    head = ''.join(f'<th>{html.escape(title)}</th>' for title in ('', *columns.values()))
    lines = []
    for name, row in rows.items():
        cells = []
        for column in columns:
            found = value(row, column)
            others = [v for v in (value(r, column) for r in measured.values()) if v is not None]
            best = name in measured and others and found == (min if column in lower else max)(others)
            cells.append(f'<td{" class=best" if best else ""}>{"–" if found is None else f"{found:.3f}"}</td>')
        kind = '' if name in measured else ' class=reference'
        lines.append(f'<tr{kind}><td>{html.escape(name)}</td>{"".join(cells)}</tr>')
    return f'<table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


# ------------------------------------------------------------------------------------------------------------------- curves


def curve_svg(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], width: int = 268, height: int = 170) -> str:
    """A figure of curves in SVG, with its caption.

    The y axis begins at 0; each curve spans the whole width, from x = 0 to its last point.

    Args:
        title: the caption.
        lines: the points (x, y) of each curve by its name.
        width: of the figure, in pixels.
        height: of the figure, in pixels, without further rows of names.
    """
    high = max(y for points in lines.values() for _, y in points)
    left, top, right, bottom = 38, 12, width - 8, height - 22
    column = 7 * max(map(len, lines)) + 6  # the names stand below, as many in a row as fit
    across = max((width - left) // column, 1)
    height += 15 * ((len(lines) - 1) // across)

    def place(x, y, last):
        return f'{left + (right - left) * x / max(last, 1):.1f},{bottom - (bottom - top) * y / max(high, 1e-9):.1f}'

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - (bottom - top) * share
        parts.append(f'<line x1={left} x2={right} y1={y:.1f} y2={y:.1f} stroke="#2c2f37"/>'
                     f'<text x={left - 5} y={y + 4:.1f} text-anchor="end">{share * high:.2f}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = ' '.join(place(x, y, points[-1][0]) for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
                     f'<text x={left + column * (number % across)} y={bottom + 16 + 15 * (number // across)} style="fill:{colour}">'
                     f'{html.escape(name)}</text>')
    return (f'<figure><svg width={width} height={height} role="img">{"".join(parts)}</svg>'
            f'<figcaption>{html.escape(title)}</figcaption></figure>')


def logged(folder: str | os.PathLike, key: str) -> list[tuple[int, float]]:
    """The values (step, value) of a key in the log of a training; none where there is no log."""
    path = pathlib.Path(folder) / 'log.jsonl'
    lines = annotations.read_lines(path, 'train again') if path.exists() else []
    return [(line['step'], line[key]) for line in lines if key in line]


def named(folder: pathlib.Path) -> str:
    """The name of a training with its last score on held-out clips."""
    found = logged(folder, 'held_out/cc') or logged(folder, 'held_out/accuracy')
    return f'{folder.name} {found[-1][1]:.2f}' if found else folder.name


# --------------------------------------------------------------------------------------------------------------------- page


def data_uri(path: str | os.PathLike, kind: str) -> str:
    """A file as a data URI of the MIME type `kind`."""
    return f'data:{kind};base64,{base64.b64encode(pathlib.Path(path).read_bytes()).decode()}'


def write_report(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `report.html` into the folder of a pipeline's run, whose stages have to be done, with its scores where there are any."""
    students, scores = Predictor(*student_runs(config, workdir)), workdir / 'scores' / 'scores.json'
    splits = open_stage_clips(config, workdir)
    clips = splits.get('test') or splits.get('validation') or splits['train']
    videos = {video.name: video for video in fixations.open_set(config.data.root).videos} if scores.exists() else {}
    draw_stages(config, workdir, clips, students, videos, workdir / 'maps.jpg')
    movies = ''.join(f'<figure><video controls loop muted autoplay playsinline src="{data_uri(path, "video/mp4")}"></video>'
                     f'<figcaption>{html.escape(title.replace("_", " "))}</figcaption></figure>'
                     for title, path in render_films(config, workdir, clips, students))
    gaze = 'gaze of the observers, ' if videos else ''
    plus, students_shown = (', SCAM+ over eleven sources', 'the students, and the fusion of the three') if 'sta_plus' in config else (
        '', 'the student')
    page = f'''<!doctype html><html lang="en"><meta charset="utf-8"><title>stanet_jax</title><style>{STYLE}</style>
<h1>Where people look, from tags alone</h1>
{score_section(config, scores) if videos else accuracy_section(config, workdir, splits, clips.split)}
<h2>Maps</h2><p>Frame, {gaze}the coarse nets' class activation maps with their confidence in the tag, SCAM with the box
that the fine nets are cropped to, SCAM of the fine nets{plus}; then what has only the video and its sound: {students_shown}.</p>
<img src="{data_uri(workdir / 'maps.jpg', 'image/jpeg')}" alt="maps of every stage">
<h2>The students on films</h2><p>What <code>stanet predict</code> makes of some of the films; unmute to hear them.</p>
<div class="row">{movies}</div>
<h2>Training</h2><p>Training loss from start to end, and beside each name how it did on held-out clips at the end.</p>
<div class="row">{training_plots(config, workdir)}</div>
{time_section(workdir)}</html>
'''
    replace_text(workdir / 'report.html', page)
    print(f'report: {workdir / "report.html"}')


def score_section(config: ConfigDict, scores: pathlib.Path) -> str:
    """The scores of a SynthAVE's test part: in all, and by kind of clip."""
    results, kinds = json.loads(scores.read_text()), kinds_of(config.data.root)
    rows, names = results['rows'], {kind: kind.replace('_', ' ') for kind in dict.fromkeys(kinds.values())}
    tables = (score_table(rows, {m: COLUMNS[m] for m in METRICS}, lambda row, m: row['scores'][m], lower=('kl_div',)),
              score_table(rows, names, lambda row, kind: by_kind(row, kinds, 'cc').get(kind)))
    count = next(iter(rows.values()))
    return f'''<p>{html.escape(results["set"])}, test part: {len(count["videos"])} videos, {count["frames"]} frames, protocol
{html.escape(results["protocol"])}, seed {config.seed}. CAM, SCAM
and SCAM+ know the video's tag; the students do not. Rows in italics are references.</p>
<h2>Scores</h2>{tables[0]}
<h2>CC by kind of clip</h2><p>What tells the tag differs by kind: the look of one object, the sound, the motion, or what other clips
with the tag show.</p>{tables[1]}'''


def accuracy_section(config: ConfigDict, workdir: pathlib.Path, splits: Mapping[str, Clips], split: str) -> str:
    """How well the coarse nets tell the tags of held-out clips, where no gaze is known."""
    clips, path = splits[split], workdir / 'coarse' / 'accuracy.json'
    counts = ', '.join(f'{len(of)} {name}' for name, of in splits.items())
    text = f'''<p>{html.escape(str(config.data.root))}: clips of {len(clips.categories)} tags ({counts}), seed {config.seed}. No gaze is
known of them: what can be measured is how well the nets tell the tags of clips that they have not learned from; whether people look
where the students say, the maps below show to the eye.</p>'''
    if not path.exists():
        return text
    results = json.loads(path.read_text())
    rows = {net: of['all'] for net, of in results['nets'].items()}
    columns = {'frames': 'frames right', 'clips': 'clips right'}
    return f'{text}<h2>Tags of the {html.escape(results["split"])} clips</h2>{score_table(rows, columns, lambda row, column: row[column])}'


def training_plots(config: ConfigDict, workdir: pathlib.Path) -> str:
    """A figure of training curves for each stage that trains nets."""
    trained = {'classifiers; accuracy': [workdir / 'coarse' / net for net in config.coarse.nets],
               'audio switch; agreement with the labels': [workdir / 'switch' / 'switch'],
               'fine classifiers; accuracy': [workdir / 'pseudo_gt' / 'fine_nets' / net for net in config.pseudo_gt.fine_nets.nets],
               'student of STANet; CC with pseudo-fixations': [workdir / 'sta' / 'STA']}
    if 'sta_plus' in config:
        trained |= {'nets of SCAM+; accuracy': [workdir / 'pseudo_gt' / 'plus_nets' / net for net in config.pseudo_gt.plus_nets.nets],
                    'students of STANet+; CC with pseudo-fixations': [workdir / 'sta_plus' / net for net in config.sta_plus.nets]}
    curves = [(title, {named(folder): points for folder in folders if (points := logged(folder, 'loss'))})
              for title, folders in trained.items()]
    return ''.join(curve_svg(title, lines) for title, lines in curves if lines)


def time_section(workdir: pathlib.Path) -> str:
    """How long each stage took."""
    seconds = json.loads((workdir / 'stages.json').read_text())
    times = ', '.join(f'{name} {value:.0f} s' for name, value in seconds.items())
    return f'<p>Time: {html.escape(times)}; {sum(seconds.values()) / 60:.0f} minutes in all.</p>'
