"""The report of a pipeline's run, one page without other files: scores, training curves, maps of every stage, and overlay videos."""
import base64
import html
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Num, UInt8
from ml_collections import ConfigDict

from stanet_jax.data import annotations
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.map_sources import student_maps
from stanet_jax.evaluation.references import REFERENCES
from stanet_jax.evaluation.tables import COLUMNS
from stanet_jax.inference.predictor import Predictor
from stanet_jax.inference.videos import predict_video
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.overlay import overlay
from stanet_jax.stages.accuracy import example_maps, map_rows
from stanet_jax.stages.examples import make_examples, open_clips, shown_frame
from stanet_jax.stages.nets import make_classifier
from stanet_jax.training import checkpoint
from stanet_jax.workdir import read_config, replace_text

Row = TypeVar('Row')
METRICS = ('cc', 'nss', 'auc_judd', 'shuffled_auc', 'sim', 'kl_div')
SHOWN = {'STA': 'STA', 'STA_short': 'STA+ short', 'STA_long': 'STA+ long', 'final': 'final, no tag'}  # students, and their names
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


# --------------------------------------------------------------------------------------------------------------------- maps


def draw_stages(config: ConfigDict, workdir: pathlib.Path, students: Predictor, videos: Mapping[str, fixations.Video],
                path: pathlib.Path) -> None:
    """Draws the maps of every stage for a few test clips, a row for each clip.

    A row shows the frame, the gaze of the observers, each source's class activation map, SCAM coarse with its box, SCAM fine, SCAM+, the
    students and their fusion.

    Args:
        config: of the pipeline.
        workdir: its folder.
        students: the three students.
        videos: the test clips as videos of a fixation set, by name.
        path: of the PNG or JPEG file to write.
    """
    coarse = read_config(workdir / 'coarse')
    coarse.switch = str(workdir / 'switch')
    coarse.data.update(config.data)
    clips = open_clips(coarse)['test']
    shown = {}
    for source in ('S', 'SA', 'ST'):
        model = make_classifier(coarse, source, len(clips.categories))
        variables = checkpoint.load_variables(workdir / 'coarse' / source / 'variables')
        shown[source] = example_maps(model, variables, make_examples(coarse, source, clips, 1))
    predicted_of = student_maps(students, list(videos.values()))
    boxes = annotations.manifest(workdir / 'pseudo_gt' / 'coarse', clips, 'box')
    rows: list[tuple[str, list[tuple[str, np.ndarray]]]] = []
    for title, cells in map_rows(shown, clips):
        clip = shown['S'][len(rows)].clip
        name, k, frame = clips.clips[clip]['id'], shown_frame(clips, clip), cells[0][1]

        def pseudo(stage, name=name, k=k):
            with PIL.Image.open(annotations.map_path(workdir / 'pseudo_gt' / stage / 'test', name, k)) as image:
                return np.asarray(image) / 255
        gaze: Any = videos[name].density(k)  # SynthAVE has that of every frame
        predicted = list(predicted_of(videos[name]))[k]
        extra = {'SCAM coarse': draw_box(overlay(frame, pseudo('coarse')), boxes[clip][k]),
                 'SCAM fine': overlay(frame, pseudo('fine')), 'SCAM+': overlay(frame, pseudo('plus')),
                 **{SHOWN[student]: overlay(frame, stretched(predicted[student])) for student in SHOWN}}
        rows.append((title, [cells[0], ('gaze', overlay(frame, stretched(gaze))), *cells[1:], *extra.items()]))
    contact_sheet(path, rows, across=1)


def stretched(map_: Num[np.ndarray, 'h w']) -> Num[np.ndarray, 'h w']:
    """A map scaled linearly to [0, 1]."""
    return (map_ - map_.min()) / max(map_.max() - map_.min(), 1e-9)


def draw_box(image: UInt8[np.ndarray, 'h w 3'], box: Sequence[float]) -> UInt8[np.ndarray, 'h w 3']:
    """An RGB image with a box drawn on it; the box is (y0, x0, y1, x1) in shares of the image."""
    picture = PIL.Image.fromarray(image)
    (w, h), (y0, x0, y1, x1) = picture.size, box
    PIL.ImageDraw.Draw(picture).rectangle((x0 * w, y0 * h, x1 * w - 1, y1 * h - 1), outline=(120, 230, 120))
    return np.asarray(picture)


def render_films(config: ConfigDict, workdir: pathlib.Path, students: Predictor, videos: Mapping[str, fixations.Video],
                 kinds: Mapping[str, str]) -> list[tuple[str, pathlib.Path]]:
    """Predicts the first test video of each kind and gives the overlay videos, (kind, path of the mp4 file).

    Args:
        config: of the pipeline.
        workdir: its folder, where `films` is written.
        students: the three students.
        videos: of the test split, by name.
        kinds: of all videos, by name.
    """
    made = []
    for kind in dict.fromkeys(kinds.values()):
        name = next((name for name in videos if kinds[name] == kind), None)
        if name is None:
            continue
        source = pathlib.Path(config.data.root) / 'AVE_Dataset' / 'AVE' / f'{name}.mp4'
        predict_video(students, source, workdir / 'films', name)
        made.append((kind, workdir / 'films' / name / 'overlay.mp4'))
    return made


# --------------------------------------------------------------------------------------------------------------------- page


def data_uri(path: str | os.PathLike, kind: str) -> str:
    """A file as a data URI of the MIME type `kind`."""
    return f'data:{kind};base64,{base64.b64encode(pathlib.Path(path).read_bytes()).decode()}'


def write_report(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `report.html` into the folder of a pipeline's run, whose stages and scores have to be done."""
    results = json.loads((workdir / 'scores' / 'scores.json').read_text())
    rows, kinds = results['rows'], kinds_of(config.data.root)
    students = Predictor(workdir / 'sta_plus')
    videos = {video.name: video for video in fixations.open_set(config.data.root).videos}
    draw_stages(config, workdir, students, videos, workdir / 'maps.jpg')
    seconds = json.loads((workdir / 'stages.json').read_text())
    trained = {'classifiers; accuracy': [workdir / 'coarse' / net for net in config.coarse.nets],
               'audio switch; agreement with the labels': [workdir / 'switch' / 'switch'],
               'fine classifiers; accuracy': [workdir / 'pseudo_gt' / 'fine_nets' / net for net in config.pseudo_gt.fine_nets.nets],
               'nets of SCAM+; accuracy': [workdir / 'pseudo_gt' / 'plus_nets' / net for net in config.pseudo_gt.plus_nets.nets],
               'student of STANet; CC with pseudo-fixations': [workdir / 'sta' / 'STA'],
               'students of STANet+; CC with pseudo-fixations': [workdir / 'sta_plus' / net for net in config.sta_plus.nets]}
    names = {kind: kind.replace('_', ' ') for kind in dict.fromkeys(kinds.values())}
    tables = (score_table(rows, {m: COLUMNS[m] for m in METRICS}, lambda row, m: row['scores'][m], lower=('kl_div',)),
              score_table(rows, names, lambda row, kind: by_kind(row, kinds, 'cc').get(kind)))
    movies = ''.join(f'<figure><video controls loop muted autoplay playsinline src="{data_uri(path, "video/mp4")}"></video>'
                     f'<figcaption>{kind.replace("_", " ")}</figcaption></figure>'
                     for kind, path in render_films(config, workdir, students, videos, kinds))
    plots = ''.join(curve_svg(title, {named(folder): points for folder in folders if (points := logged(folder, 'loss'))})
                    for title, folders in trained.items())
    times = ', '.join(f'{name} {value:.0f} s' for name, value in seconds.items())
    count = next(iter(rows.values()))
    page = f'''<!doctype html><html lang="en"><meta charset="utf-8"><title>stanet_jax</title><style>{STYLE}</style>
<h1>Where people look, from tags alone</h1>
<p>{html.escape(results["set"])}, test part: {len(count["videos"])} videos, {count["frames"]} frames, protocol
{html.escape(results["protocol"])}, seed {config.seed}. CAM, SCAM
and SCAM+ know the video's tag; the students do not. Rows in italics are references.</p>
<h2>Scores</h2>{tables[0]}
<h2>CC by kind of clip</h2><p>What tells the tag differs by kind: the look of one object, the sound, the motion, or what other clips
with the tag show.</p>{tables[1]}
<h2>Maps</h2><p>Frame, gaze of the observers, the coarse nets' class activation maps with their confidence in the tag, SCAM with the box
that the fine nets are cropped to, SCAM of the fine nets, SCAM+ over eleven sources; then the students, which have only the video and its
sound, and the fusion of the three.</p>
<img src="{data_uri(workdir / 'maps.jpg', 'image/jpeg')}" alt="maps of every stage">
<h2>The students on films</h2><p>What <code>stanet predict</code> makes of a test video of each kind; unmute to hear it.</p>
<div class="row">{movies}</div>
<h2>Training</h2><p>Training loss from start to end, and beside each name how it did on held-out clips at the end.</p>
<div class="row">{plots}</div>
<p>Time: {html.escape(times)}.</p></html>
'''
    replace_text(workdir / 'report.html', page)
    print(f'report: {workdir / "report.html"}')
