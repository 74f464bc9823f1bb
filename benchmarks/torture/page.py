"""The page about the long form, docs/reliability.md: a row for each campaign, which stays until that campaign is run again."""
import pathlib
import platform
import time
from collections.abc import Sequence

import stanet_jax
from benchmarks.torture.campaign import Campaign, Summary
from stanet_jax.workdir import replace_text

HEAD = '''# Reliability

What `make torture` did last and what came of it. Everything is drawn from the seed; the moments of kills are drawn as shares of a command's
time, which differs from run to run, as the seconds do with what else the machine has to do. `make torture-quick`, the short form, is part
of CI. What fails is kept in `runs/torture`, with the seed, the command and the files. The campaigns are the modules of
[benchmarks/torture](../benchmarks/torture).

| campaign | what | how many | result | seconds | when, command |
|---|---|---|---|---|---|
'''


def write_row(path: pathlib.Path, campaign: Campaign, summary: Summary, seconds: float, names: Sequence[str]) -> None:
    """Writes the row of a campaign into the page; the rows of the others stay."""
    rows = read_rows(path)
    form = ' --quick' * campaign.quick
    when = f'{time.strftime("%Y-%m-%d", time.gmtime())}, version {stanet_jax.__version__}, Python {platform.python_version()}'
    rows[campaign.name] = (f'{summary.what} | {summary.count:,} | {summary.result} | {seconds:.0f} | {when}: `python -m benchmarks.torture'
                           f'{form} --only={campaign.name} --seed={campaign.seed}`')
    text = HEAD + ''.join(f'| {name} | {rows.get(name, "**not run** | | | | ")} |\n' for name in names)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)


def read_rows(path: pathlib.Path) -> dict[str, str]:
    """The rows of the page, by campaign; none where there is no page."""
    lines = path.read_text('utf-8').splitlines() if path.exists() else []
    cells = [line.strip().strip('|').split(' | ', 1) for line in lines if line.startswith('| ') and ' | ' in line]
    return {name.strip(): rest.strip() for name, rest in cells if name.strip() != 'campaign' and 'not run' not in rest}
