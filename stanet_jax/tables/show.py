"""Makes a table of a paper: scores what is missing and can be scored, trains where that is asked for, and writes the page; or lists."""
import functools
import importlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from stanet_jax import InputError
from stanet_jax.inference.frame_maps import ENLARGED, enlarged_size
from stanet_jax.tables import PAPERS, jobs, page, scores, segmentation, training
from stanet_jax.tables.paper import Line, Masks, Method, Reference, Row, Student, Table, Unknown
from stanet_jax.tables.place import Place, VideoSet
from stanet_jax.tables.scores import Found
from stanet_jax.workdir import replace_text

NEEDS = {Method: 'S of the run, for class activation maps', Reference: '', Student: 'the run\'s students', Masks: 'masks of EPS or DeepLab',
         Line: 'variants of the pipeline and their students (--train)', Unknown: ''}


def find_table(paper: str, number: int) -> Table:
    """A table by its paper and number; InputError where there is none."""
    if paper not in PAPERS or number not in PAPERS[paper]:
        known = ', '.join(f'{name} {of[0]} to {of[-1]}' for name, of in PAPERS.items())
        raise InputError(f'--paper={paper}, --table={number}: no such table; there are {known}')
    return importlib.import_module(f'stanet_jax.tables.{paper}').TABLES[number]


def show(paper: str, number: int, place: Place, train: bool, command: str, out: pathlib.Path | None = None) -> str:
    """Makes a table and prints it.

    Args:
        paper, number: which table.
        place: of the data, the runs and the scores.
        train: whether what has to be trained is trained.
        command: that the page names as its own.
        out: file to write the page to.
    Returns:
        The page.
    Raises:
        InputError: the data are not there, or as scoring and training say.
    """
    table = find_table(paper, number)
    if train:
        training.train(table, place)
    parts = _of_masks(paper, table, place) if paper == 'eps' else _of_fixations(paper, number, table, place)
    appendix = ['', *table.appendix()] if table.appendix else []
    head = [f'# {page.PUBLISHED[paper]} Table {number}: {table.title}', '',
            f'Written by `{command}`; JAX {jax.__version__} on {jax.device_count()} x {jax.devices()[0].device_kind}. '
            f'{page.run_line(place)} A dash: ours are not there, or the paper gives none. Nothing of the paper\'s was measured here.']
    text = '\n'.join([*head, *(line for note in table.notes for line in ('', note)), *parts, *appendix, ''])
    print(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_text(out, text)
    return text


def _jobs(paper: str, number: int, table: Table, place: Place) -> dict[str, jobs.Job | None]:
    """The job of each row of a table, None where there is none."""
    levels = tuple(dict.fromkeys(
        row.ours.threshold for row in table.rows if isinstance(row.ours, Method) and row.ours.threshold is not None))
    training = f'stanet tables --paper={paper} --table={number} --data={place.data} --run={place.run} --train'
    return {row.name: jobs.job_of(row.ours, place, levels, training) for row in table.rows}


def _of_fixations(paper: str, number: int, table: Table, place: Place) -> list[str]:
    """The lines of a table on every set, after what is missing has been scored."""
    lines, all_jobs = [], _jobs(paper, number, table, place)
    if not any(all_jobs.values()):
        return ['', *page.table_lines(paper, table, '', dict.fromkeys(all_jobs)), '', *page.absent_lines(table.rows, {}, {})]
    of_maps = {row.name: jobs.maps_of_line(row.ours, place) for row in table.rows if isinstance(row.ours, Line)}
    for of in scores.open_sets(place):
        failed = _score_missing([*all_jobs.values(), *of_maps.values()], of, place, f'{paper} {number}, {of.name}')
        found = {row: scores.find(job, of, place) if job else None for row, job in all_jobs.items()}
        there = [f for f in found.values() if f]
        commands = {row: job.command for row, job in all_jobs.items() if job}
        absent = page.absent_lines([row for row in table.rows if not found[row.name]], commands, {
            row: failed[job.key] for row, job in all_jobs.items() if job and job.key in failed})
        maps = {row: scores.find(job, of, place) for row, job in of_maps.items()}
        lines += ['', f'## {of.name}', '', ' '.join([page.set_line(of, there, place, paper), *_method_notes(table, found, of, place)]), '',
                  *page.table_lines(paper, table, of.name, found, maps), '', *absent]
    return lines


def _method_notes(table: Table, found: Mapping[str, Found | None], of: VideoSet, place: Place) -> list[str]:
    """What is said of the methods that were scored: of SS-CAM's masks, and of frames that are enlarged."""
    methods, notes = {row.ours.name for row in table.rows if isinstance(row.ours, Method) and found[row.name]}, []
    if 'ss_cam' in methods:
        notes.append(f'SS-CAM has {place.samples} noisy masks of each channel; its paper has 35.')
    if names := [name.upper() for name in ENLARGED if name in methods]:
        height, width = of.videos[0].frame(0).shape[:2]
        if size := enlarged_size(height, width):
            notes.append(f'For {" and ".join(names)} frames of {width}x{height} pixels are enlarged to {size[1]}x{size[0]}, others alike.')
    return notes


def _score_missing(all_jobs: Sequence[jobs.Job | None], of: VideoSet, place: Place, name: str) -> dict[str, str]:
    """Scores every job that can be scored and is not; the others go on where one fails: {its key: why}."""
    failed = {}
    todo = {job.key: job for job in all_jobs if job and job.score and not job.missing() and not scores.find(job, of, place)}
    for k, job in enumerate(todo.values(), 1):
        try:
            scores.score(job, of, place, f'{name}: {k} of {len(todo)}, {job.key}')
        except InputError as error:
            failed[job.key] = str(error)
    return failed


def _of_masks(paper: str, table: Table, place: Place) -> list[str]:
    """The lines of a table of EPS, after what is missing has been scored."""
    found: dict[str, Found | None] = dict.fromkeys(row.name for row in table.rows)
    commands, failed = {}, {}
    for row in table.rows:
        if isinstance(row.ours, Masks):
            commands[row.name] = segmentation.command(row.ours, place)
            if segmentation.folder_of(row.ours, place):
                try:
                    segmentation.score(row.ours, place)
                    found[row.name] = segmentation.find(row.ours, place)
                except InputError as error:
                    failed[row.name] = str(error)
    images = max((f.frames for f in found.values() if f), default=0)
    absent = page.absent_lines([row for row in table.rows if not found[row.name]], commands, failed)
    return ['', f'Ours are of {place.data}, up to {images:,} images; the paper\'s of PASCAL VOC 2012 or COCO 2014.', '',
            *page.table_lines(paper, table, '', found), '', *absent]


# ------------------------------------------------------------------------------------------------------------------- list


def list_tables(papers: Sequence[str], number: int | None, place: Place) -> str:
    """What each table needs, which of its rows are there, how long they took, and which can be had how, as text.

    Args:
        papers: whose tables.
        number: of one table; None for all.
        place: of the data, the runs and the scores.
    """
    lines = [f'data {place.data}, run {place.run}, scores kept in {place.workdir}']
    for paper in papers:
        for of in PAPERS[paper] if number is None else (number,):
            lines += _listed(paper, of, place)
    return '\n'.join(lines)


def _listed(paper: str, number: int, place: Place) -> list[str]:
    table = find_table(paper, number)
    needs = '; '.join(dict.fromkeys(text for row in table.rows if (text := NEEDS[type(row.ours)])))
    lines = [f'{paper} {number}  {table.title}', f'  needs: {needs or "nothing that could be had"}']
    try:
        there, ready, missing, seconds = _state(paper, number, table, place)
    except InputError as error:
        return [*lines, f'  no data: {error}']
    unknown = [row.name for row in table.rows if isinstance(row.ours, Unknown)]
    lines.append(f'  there: {len(there)} of {len(table.rows) - len(unknown)} rows that can be had' + (
        f'; they took {seconds / 60:.1f} minutes' if there else ''))
    texts = {'scored by the table\'s command': ready, 'missing': missing, 'cannot be had': unknown}
    return lines + [f'  {text}: {"; ".join(names)}' for text, names in texts.items() if names]


def _state(paper: str, number: int, table: Table, place: Place) -> tuple[list[str], list[str], list[str], float]:
    """The rows that are there on all sets, those that can be scored, those that lack a net, and the seconds of the first."""
    finders: list[Callable[[Row], tuple[Found | None, bool]]] = []
    if paper == 'eps':
        finders.append(functools.partial(_masks_state, place))
    else:
        all_jobs = _jobs(paper, number, table, place)
        if any(all_jobs.values()):
            finders += [functools.partial(_job_state, all_jobs, of, place) for of in scores.open_sets(place)]
    there: list[str] = []
    ready: list[str] = []
    missing: list[str] = []
    took: dict[Any, float] = {}
    for row in (row for row in table.rows if not isinstance(row.ours, Unknown)):
        states = [finder(row) for finder in finders]
        took |= {found.key: found.seconds for found, _ in states if found}
        chosen = there if all(found for found, _ in states) else ready if all(found or can for found, can in states) else missing
        chosen.append(row.name)
    return there, ready, missing, sum(took.values())


def _masks_state(place, row):
    folder = segmentation.folder_of(row.ours, place)
    return segmentation.find(row.ours, place) if folder else None, folder is not None


def _job_state(all_jobs, of, place, row):
    job = all_jobs[row.name]
    return scores.find(job, of, place), job.score is not None and not job.missing()
