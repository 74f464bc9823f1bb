"""All ten stages in one command, killed at random moments and out of disk at others; of the long form alone, as it takes long."""
from benchmarks.torture import commands, disk, kills
from benchmarks.torture.campaign import Campaign, Summary

KILLS, FULL = 24, 6


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign."""
    what = 'stanet run, all ten stages, scores and report'
    if campaign.quick:
        return Summary(what, 0, 'not in the short form')
    torn = commands.run(commands.make_inputs(campaign))
    killed = kills.kill(campaign, torn, KILLS)
    with disk.small_disk(campaign.shared / 'tried') as small:
        full = disk.fill(campaign, torn, small, FULL) if small else 0
    return Summary(f'{what}: {killed} times SIGKILL, {full} times a full disk, and the same command again', killed + full,
                   f'{len(campaign.faults)} faults')
