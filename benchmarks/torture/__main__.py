"""Tortures the product by a seed: a summary line for each campaign, and a folder with what is needed to see a fault again.

    python -m benchmarks.torture --quick                        a few minutes; what CI runs
    python -m benchmarks.torture --out=docs/reliability.md      the long form, and the page about it
    python -m benchmarks.torture --only=media,files             some campaigns; the others' rows in the page stay

Ends with code 1 where anything fails.
"""
import argparse
import importlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from benchmarks.torture.campaign import Campaign

CAMPAIGNS = ('media', 'files', 'endurance', 'two_at_once', 'disk', 'kills', 'pipeline')  # each a module of this package


def main() -> None:
    """Runs the campaigns that the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='the short form')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default=','.join(CAMPAIGNS), help='campaigns, with commas between; by default all')
    parser.add_argument('--out', type=pathlib.Path, help='the page to write; by default none')
    parser.add_argument('--keep', type=pathlib.Path, default=pathlib.Path('runs/torture'), help='folder of the reproductions')
    flags = parser.parse_args()
    chosen = flags.only.split(',')
    if unknown := set(chosen) - set(CAMPAIGNS):
        parser.error(f'--only: no campaign {", ".join(sorted(unknown))}; choose of {", ".join(CAMPAIGNS)}')
    failed = False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: folders go, disks are unmounted, commands end
    with tempfile.TemporaryDirectory(prefix='torture') as work:
        set_environment(pathlib.Path(work))
        for name in chosen:
            folders = pathlib.Path(work) / name, pathlib.Path(work), flags.keep.absolute()
            failed |= run(Campaign(name, flags.seed, flags.quick, *folders), flags.out)
    sys.exit(failed)


def set_environment(work: pathlib.Path) -> None:
    """Has programs compiled once, quickly rather than well, and no progress shown; commands inherit it."""
    quick = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true '
    os.environ |= {'XLA_FLAGS': quick + os.environ.get('XLA_FLAGS', ''), 'JAX_COMPILATION_CACHE_DIR': f'{work}/compiled',
                   'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.2', 'TQDM_DISABLE': '1'}
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')


def run(campaign: Campaign, out: pathlib.Path | None) -> bool:
    """Runs a campaign, prints its line and adds it to the page; gives whether anything failed."""
    begin = time.monotonic()
    campaign.work.mkdir()
    summary = importlib.import_module(f'benchmarks.torture.{campaign.name}').torture(campaign)
    seconds = time.monotonic() - begin
    shutil.rmtree(campaign.work, ignore_errors=True)
    print(f'{campaign.name}: {summary.what}: {summary.count}; {summary.result}; {seconds:.0f} s', flush=True)
    if out:
        from benchmarks.torture import page  # here and above, as JAX and tqdm read the environment when they are imported
        page.write_row(out, campaign, summary, seconds, CAMPAIGNS)
    return bool(campaign.faults)


if __name__ == '__main__':
    main()
