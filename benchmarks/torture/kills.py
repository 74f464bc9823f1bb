"""Commands killed by SIGKILL at random moments and started again end as ones that were left alone, to the bit, and leave nothing over."""
from benchmarks.torture import commands
from benchmarks.torture.campaign import Campaign, Summary
from benchmarks.torture.commands import Torn
from benchmarks.torture.folders import differences, left_over

QUICK = {'train': 2, 'predict': 1, 'convert': 1}
LONG = {'train': 24, 'predict': 16, 'evaluate': 10, 'convert': 6, 'eps': 12, 'synthave': 8}


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign."""
    plan = QUICK if campaign.quick else LONG
    given = commands.make_inputs(campaign)
    killed = {name: kill(campaign, getattr(commands, name)(given), kills) for name, kills in plan.items()}
    done = ', '.join(f'{name} {kills}' for name, kills in killed.items())
    return Summary(f'SIGKILL to a command and its children at a random moment, then the same command again: {done}',
                   sum(killed.values()), f'{len(campaign.faults)} ends that differ or leave something over')


def kill(campaign: Campaign, torn: Torn, kills: int) -> int:
    """Kills a command so many times; after some kills, and after the last one, it runs to its end and is compared. Gives the kills."""
    whole, seconds = commands.left_alone(campaign, torn)
    rng, moments, killed = campaign.generator(torn.name), list[float](), 0
    folder = commands.renew(campaign, torn)
    while killed < kills and not campaign.faults[9:]:
        moments.append(round(float(rng.uniform(0.02, 1) * seconds), 2))
        ended = commands.start(campaign, torn, f'killed {killed}').wait(moments[-1])
        if ended.code == -9:
            killed += 1
        elif ended.code == 0:
            moments.pop()  # it was done before
        else:
            campaign.fault(f'{torn.name}: ends with code {ended.code} after kills at {moments} s: {ended.err[-2000:]}',
                           ['stanet', *torn.words(folder)], [folder])
        if ended.code != -9 or killed == kills or rng.random() < 0.3:
            if moments:
                compare(campaign, torn, moments)
            moments, folder = [], commands.renew(campaign, torn)
    return killed


def compare(campaign: Campaign, torn: Torn, moments: list[float]) -> None:
    """Runs the command to its end and compares what it wrote."""
    ended = commands.start(campaign, torn, 'again').wait()
    folder, (whole, _) = commands.place(campaign, torn), commands.left_alone(campaign, torn)
    wrong = [f'code {ended.code}: {ended.err[-2000:]}'] if ended.code else left_over(folder) or differences(folder, whole)
    if wrong:
        campaign.fault(f'{torn.name}: after kills at {moments} s: {"; ".join(wrong[:5])}', ['stanet', *torn.words(folder)], [folder])
