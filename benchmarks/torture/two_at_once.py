"""Two processes of the same command at once: one does the work, the other says so in a line or waits; and readers beside a writer."""
import json
import pathlib
import time

from benchmarks.torture import commands
from benchmarks.torture.campaign import Campaign, Summary, error_lines, is_one_line
from benchmarks.torture.commands import Torn
from benchmarks.torture.folders import differences, left_over
from benchmarks.torture.processes import Command

QUICK, LONG = ('predict',), ('train', 'predict', 'evaluate', 'convert', 'synthave')
ROUNDS = 8  # of the long form


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign."""
    given, rounds, names = commands.make_inputs(campaign), 1 if campaign.quick else ROUNDS, QUICK if campaign.quick else LONG
    ends = {'one refused': 0, 'one after the other': 0}
    for name in names:
        torn = getattr(commands, name)(given)
        for number in range(rounds):
            ends[together(campaign, torn, number)] += 1
    for number in range(rounds):
        prepare_together(campaign, given, number)
        read_beside(campaign, given, number)
    told = ', '.join(f'{number} times {end}' for end, number in ends.items())
    return Summary('the same command twice at once; two trainings that prepare one set; readers beside a training',
                   rounds * (len(names) + 2), f'{told}; {len(campaign.faults)} faults')


def pause(campaign: Campaign, key: str, number: int, most: float) -> None:
    """Waits for a random while."""
    time.sleep(campaign.generator(key, number).uniform(0, most))


def together(campaign: Campaign, torn: Torn, number: int) -> str:
    """Starts a command twice, the second a little later; gives how that ended."""
    whole, _ = commands.left_alone(campaign, torn)
    folder = commands.renew(campaign, torn)
    first = commands.start(campaign, torn, 'first')
    pause(campaign, torn.name, number, 0.5)
    ends = [first, commands.start(campaign, torn, 'second')]
    ended = [command.wait() for command in ends]
    refused = [of for of in ended if of.code]
    wrong = [f'ends with code {of.code}: {of.err[-2000:]}' for of in refused
             if of.code != 1 or not is_one_line(of.err) or not ('another process' in of.err or 'exists already' in of.err)]
    if len(refused) > 1:
        wrong.append('none of the two does it')
    if wrong := wrong or left_over(folder) or differences(folder, whole):
        campaign.fault(f'{torn.name} twice at once: {"; ".join(wrong[:5])}', ['stanet', *torn.words(folder)], [folder])
    return 'one refused' if refused else 'one after the other'


def prepare_together(campaign: Campaign, given: pathlib.Path, number: int) -> None:
    """Two trainings in folders of their own, which prepare the same set."""
    folder = commands.fresh(campaign.work / 'prepare')
    words = [[*commands.train(given, 4).words(folder / str(k))[:-1], f'--config.data.prepared={folder}/prepared'] for k in range(2)]
    ended = [command.wait() for command in [Command(of, campaign.work / 'logs' / f'prepare{k}') for k, of in enumerate(words)]]
    wrong = [f'ends with code {of.code}: {of.err[-2000:]}' for of in ended if of.code] or left_over(folder)
    if sum('prepared ' in of.out for of in ended) != 1:
        wrong.append('the set is not prepared once')
    configs = ('run/config.json',)  # they name the folders
    wrong = wrong or [line for line in differences(folder / '0', folder / '1') if not line.startswith(configs)]
    if wrong:
        lines = '\n'.join(' '.join(['stanet', *of]) for of in words)
        campaign.fault(f'two trainings prepare one set: {"; ".join(wrong[:5])}', lines, [folder])


def read_beside(campaign: Campaign, given: pathlib.Path, number: int) -> None:
    """Reads a run while it is trained: each reader ends in a result or in a line, and the training as without them."""
    folder = commands.fresh(campaign.work / 'read')
    torn = commands.train(given, 12 if campaign.quick else 24)
    writer = Command(torn.words(folder), campaign.work / 'logs' / 'writer')
    film, run = str(given / 'films' / 'a.mp4'), folder / 'run'
    readers = [['evaluate', f'--workdir={run}'], ['predict', film, f'--checkpoint={run}/S', '--method=grad_cam', f'--out={folder}/maps']]
    turn = 0
    while writer.running or not turn:
        pause(campaign, f'reader {turn}', number, 3.0)
        words = readers[turn % len(readers)]
        ended = Command(words, campaign.work / 'logs' / 'reader').wait()
        turn += 1
        if ended.code not in (0, 1) or ended.code == 1 and not is_one_line(ended.err):
            campaign.fault(f'{words[0]} beside a training: ends with code {ended.code}: {ended.err[-2000:]}', ['stanet', *words], [run])
    ended = writer.wait()
    log = run / 'S' / 'log.jsonl'
    steps = [json.loads(line)['step'] for line in log.read_text().splitlines()] if log.exists() else []
    if ended.code or not steps or left_over(folder):
        lines = '; '.join(error_lines(ended.err)[-3:])
        campaign.fault(f'a training beside readers ends with code {ended.code}: {lines}; {left_over(folder)}',
                       ['stanet', *torn.words(folder)])
