"""A table as Markdown: the paper's figures and ours side by side, and of the rest why it is not there."""
from collections.abc import Mapping, Sequence

from stanet_jax.evaluation.protocols import PROTOCOLS
from stanet_jax.tables.paper import Figures, Row, Table, Unknown
from stanet_jax.tables.place import Place, VideoSet, run_field
from stanet_jax.tables.scores import Found

PUBLISHED = {'cvpr': 'CVPR', 'tpami': 'TPAMI', 'eps': 'EPS'}
PAPERS_SET = {'cvpr': 'AVAD', 'tpami': 'AVAD', 'eps': 'VOC'}  # whose figures stand beside those of a set that the paper does not have
MAPS = {'cc': 'CC', 'nss': 'NSS', 'left_out': 'share left out'}  # what is shown of the maps of a line of TPAMI Table 1
PAPERS_ENCODERS = ('resnext101_32x8d', 'vgg16', 'vggsound', 'resnet38', 'resnet101')


def table_lines(paper: str, table: Table, set_name: str, found: Mapping[str, Found | None],
                maps: Mapping[str, Found | None] | None = None) -> list[str]:
    """The lines of a table on one set.

    Args:
        paper: a key of `PUBLISHED`.
        table: of the paper.
        set_name: of the set that ours are of.
        found: {row: ours, or None where they are not there}.
        maps: {row: those of the maps themselves, where ours are of the student that learned from them}.
    """
    beside = set_name if any(set_name in row.paper for row in table.rows) else PAPERS_SET[paper]
    scored = [of for of in found.values() if of]
    ours = [column for column in table.columns if any(column in of.scores for of in scored)] or list(table.columns)
    theirs = [column for column in table.columns if any(column in row.paper.get(beside, {}) for row in table.rows)]
    left_out = ['left out'] if any(of.left_out for of in scored) else []
    of_maps = [column for column in MAPS if maps and any(maps.values())]
    heads = ['', *(f'ours: {table.columns[c]}' for c in ours), *left_out, *(f'maps: {MAPS[c]}' for c in of_maps),
             *(f'paper, {beside}: {table.columns[c]}' for c in theirs)]
    lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for row in table.rows:
        of = found[row.name]
        cells = [_number(of.scores if of else {}, column) for column in ours]
        cells += [f'{of.left_out:.1%}' if of and of.left_out else '' for _ in left_out]
        own = (maps or {}).get(row.name)
        cells += [_number({**own.scores, 'left_out': own.left_out} if own else {}, column) for column in of_maps]
        lines.append(f'| {" | ".join([row.name, *cells, *(_number(row.paper.get(beside, {}), c) for c in theirs)])} |')
    return lines


def _number(figures: Mapping[str, float | None] | Figures, column: str) -> str:
    """A figure as text; a dash where it is not there or undefined."""
    value = figures.get(column)
    return '-' if value is None else f'{value:.3f}' if abs(value) < 10 else f'{value:.1f}'


def absent_lines(rows: Sequence[Row], commands: Mapping[str, str], failed: Mapping[str, str]) -> list[str]:
    """The lines on rows without ours: which can be made, by which command, and which cannot be had.

    Args:
        rows: those that are not there.
        commands: {row: what makes it, '' where the set itself would have to hold it}.
        failed: {row: why it could not be scored}.
    """
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row.ours, Unknown):
            reason = f'cannot be had: {row.ours.why}'
        elif row.name in failed:
            reason = f'not scored: {failed[row.name]}'
        else:
            reason = f'not run yet: `{commands[row.name]}`' if commands[row.name] else 'cannot be had: the set does not tell'
        reasons.setdefault(reason, []).append(row.name)
    return [f'- {"; ".join(names)}: {reason}' for reason, names in reasons.items()]


def set_line(of: VideoSet, found: Sequence[Found], place: Place, paper: str) -> str:
    """What ours on a fixation set are of, and how that differs from the paper's."""
    frames, first = max((f.frames for f in found), default=0), PROTOCOLS[of.protocol].first + 1
    part = '' if not place.videos else f'the first {len(of.videos)} videos'
    every = 'every frame' if place.every == 1 else f'every {place.every}th frame'
    took = sum({f.key: f.seconds for f in found}.values())
    of_paper = '' if of.name in ('AVAD', 'DIEM', 'SumMe', 'ETMD_av', 'Coutrot_db1', 'Coutrot_db2') else (
        f' The paper\'s are of {PAPERS_SET[paper]}: another set, for the order alone.')
    return (f'{of.name}: {part or f"{len(of.videos)} videos"}, {frames:,} frames, {every} from number {first} on, '
            f'protocol `{of.protocol}`. It took {took / 60:.1f} minutes, whatever else the machine did, training included where it is '
            f'known.{of_paper}')


def run_line(place: Place) -> str:
    """Which run ours are of, and how its encoders differ from the papers'."""
    config = run_field(place.run, 'recipe')
    runs = [place.run, *(path.parent for path in sorted(place.run.glob('*/config.json')))]  # EPS's has one for each selection
    if all(run_field(run, 'task') is None for run in runs) and config is None:
        return f'No run in {place.run}.'
    stages = [*(run_field(place.run, stage, field, 'name') for stage in ('coarse', 'sta') for field in ('encoder', 'audio_encoder')),
              *(run_field(run, 'encoder', 'name') for run in runs)]
    encoders = [name for name in dict.fromkeys(stages) if name]
    other = [name for name in encoders if name not in PAPERS_ENCODERS]
    return f'Nets: {place.run}' + (f', recipe `{config}`' if config else '') + f', encoders {", ".join(encoders)}' + (
        ', which are not the papers\'.' if other else '.')
