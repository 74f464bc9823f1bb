"""Commands killed by SIGKILL at random moments and started again end as one that was left alone does, to the bit, and leave nothing over."""
import pathlib
import shutil

from benchmarks.torture import commands
from benchmarks.torture.campaign import Campaign, Summary
from benchmarks.torture.commands import Torn
from benchmarks.torture.folders import differences, left_over
from benchmarks.torture.processes import Command

QUICK = {'train': 3, 'predict': 2, 'evaluate': 1, 'convert': 1}
LONG = {'run': 40, 'train': 20, 'predict': 14, 'evaluate': 10, 'convert': 8, 'synthave': 8}


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign."""
    plan = QUICK if campaign.quick else LONG
    given = commands.make_inputs(campaign.work / 'given', 6 if campaign.quick else 12)
    for name, kills in plan.items():
        kill(campaign, getattr(commands, name)(given), kills)
    done = ', '.join(f'{name} {kills}' for name, kills in plan.items())
    return Summary(f'SIGKILL at a random moment, then the same command again: {done}', sum(plan.values()),
                   f'{len(campaign.faults)} ends that differ or leave something over')


def kill(campaign: Campaign, torn: Torn, kills: int) -> None:
    """Kills a command so many times; after some kills, and after the last one, it runs to its end and is compared."""
    folder, whole = campaign.work / torn.name, campaign.work / f'{torn.name} whole'
    torn.before(fresh(folder))
    first = Command(torn.words(folder), campaign.work / 'logs' / torn.name).wait()
    if first.code:
        campaign.fault(f'{torn.name}: ends with code {first.code} without a kill: {first.err[-2000:]}', ['stanet', *torn.words(folder)])
        return
    folder.rename(whole)
    rng, moments = campaign.generator(torn.name), list[float]()
    torn.before(fresh(folder))
    for number in range(kills):
        moments.append(round(float(rng.uniform(0.02, 1.1) * first.seconds), 2))
        command = Command(torn.words(folder), campaign.work / 'logs' / f'{torn.name}.{number}')
        ended = command.wait(moments[-1])
        if ended.code != -9 and ended.code != 0:
            campaign.fault(f'{torn.name}: ends with code {ended.code} after kills at {moments} s: {ended.err[-2000:]}',
                           ['stanet', *torn.words(folder)], [folder])
            moments, _ = [], torn.before(fresh(folder))
        elif ended.code == 0 or number == kills - 1 or rng.random() < 0.3:
            compare(campaign, torn, folder, whole, moments)
            moments, _ = [], torn.before(fresh(folder))


def fresh(folder: pathlib.Path) -> pathlib.Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def compare(campaign: Campaign, torn: Torn, folder: pathlib.Path, whole: pathlib.Path, moments: list[float]) -> None:
    """Runs the command to its end and compares what it wrote."""
    ended = Command(torn.words(folder), campaign.work / 'logs' / f'{torn.name}.end').wait()
    wrong = [f'code {ended.code}: {ended.err[-2000:]}'] if ended.code else left_over(folder) or differences(folder, whole)
    if wrong:
        campaign.fault(f'{torn.name}: after kills at {moments} s: {"; ".join(wrong[:5])}', ['stanet', *torn.words(folder)], [folder])
