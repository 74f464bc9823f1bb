"""Commands whose disk is full at a random moment: one line, what was good stays, and with room the same command goes on to the same end."""
import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

from benchmarks.torture import commands
from benchmarks.torture.campaign import Campaign, Summary, is_one_line
from benchmarks.torture.commands import Torn
from benchmarks.torture.folders import differences, left_over

QUICK = {'train': 1, 'predict': 1, 'convert': 1}
LONG = {'train': 10, 'predict': 8, 'evaluate': 8, 'convert': 4, 'synthave': 4}
ROOM = 512 << 20  # bytes of the disk where it is not to be full


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign; says so where no small disk can be mounted."""
    plan = QUICK if campaign.quick else LONG
    what = f'a disk that is full at a random moment, then room and the same command: {", ".join(f"{k} {n}" for k, n in plan.items())}'
    given = commands.make_inputs(campaign)
    torn = [(getattr(commands, name)(given), times) for name, times in plan.items()]
    for of, _ in torn:
        commands.left_alone(campaign, of)
    with small_disk(campaign.shared / 'tried') as disk:
        if not disk:
            return Summary(what, 0, '**skipped**: no tmpfs can be mounted here, which takes root')
        full = sum(fill(campaign, of, disk, times) for of, times in torn)
    return Summary(what, sum(plan.values()), f'{full} times the disk was full; {len(campaign.faults)} faults')


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> Iterator[pathlib.Path | None]:
    """Mounts a tmpfs on a folder while the block runs; yields None where that may not be done."""
    folder.mkdir(exist_ok=True)
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={ROOM}', 'torture', folder], stderr=subprocess.DEVNULL, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)


def resize(disk: pathlib.Path, size: int) -> None:
    """Gives a mounted tmpfs another size, in bytes."""
    subprocess.run(['mount', '-o', f'remount,size={size}', disk], check=True)


def used(disk: pathlib.Path) -> int:
    """Bytes that are used on a disk."""
    at = os.statvfs(disk)
    return (at.f_blocks - at.f_bfree) * at.f_frsize


def fill(campaign: Campaign, torn: Torn, disk: pathlib.Path, times: int) -> int:
    """Runs a command on a disk that has room for a random share of what it writes; gives how often that was not enough."""
    (whole, _), rng, full = commands.left_alone(campaign, torn), campaign.generator(torn.name), 0
    good, start = campaign.work / torn.name, used(disk)
    shutil.copytree(whole, disk / torn.name)
    need = used(disk) - start
    for _ in range(times):
        folder = commands.renew(campaign, torn)
        shutil.rmtree(good, ignore_errors=True)
        shutil.copytree(folder, good)
        room = int(rng.uniform(0, 1) * need)
        resize(disk, used(disk) + max(room, 4096))
        ended = commands.start(campaign, torn, 'full').wait()
        full += ended.code != 0
        wrong = []
        if ended.code and (ended.code != 1 or not is_one_line(ended.err)):
            wrong.append(f'ends with code {ended.code}: {ended.err[-3000:]}')
        lost = [line for line in differences(folder, good) if not line.endswith('too much') and not line.startswith('.:')]
        if ended.code and lost:
            wrong.append(f'what was good is lost: {lost[:3]}')
        resize(disk, ROOM)
        again = commands.start(campaign, torn, 'room').wait()
        wrong += [f'with room: code {again.code}: {again.err[-2000:]}'] if again.code else left_over(folder) or differences(folder, whole)
        if wrong:
            campaign.fault(f'{torn.name} with {room:,} of {need:,} bytes of room: {"; ".join(wrong[:5])}',
                           ['stanet', *torn.words(folder)], [folder])
    commands.fresh(disk / torn.name)
    return full
