"""The commands that are killed, run out of disk and meet each other: each with its inputs, and a folder that holds all that it writes."""
import dataclasses
import pathlib
import shutil
from collections.abc import Callable

from benchmarks.torture import inputs
from benchmarks.torture.campaign import Campaign
from benchmarks.torture.folders import differences
from benchmarks.torture.processes import Command
from stanet_jax.data import synthvoc
from stanet_jax.data.synthave import Settings

PLUS = ('ST_short', 'SA_cross')  # of the eight nets of SCAM+
TINY = {'width': 8, 'batch': 6, 'held_out_frames': 1, 'log_every': 1, 'data.side': inputs.SIDE}


@dataclasses.dataclass(frozen=True)
class Torn:
    """A command.

    Attributes:
        name: in words.
        words: of `stanet`, for the folder that it writes into.
        before: makes in that folder what has to be there, as what the command replaces.
    """
    name: str
    words: Callable[[pathlib.Path], list[str]]
    before: Callable[[pathlib.Path], object] = lambda folder: None


def fresh(folder: pathlib.Path) -> pathlib.Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def make_inputs(campaign: Campaign) -> pathlib.Path:
    """Makes what the commands read, films, a world, weights, students; unless another campaign has."""
    folder = campaign.shared / 'given'
    if not folder.exists():
        inputs.make_world(folder / 'world', 6 if campaign.quick else 12)
        (folder / 'films').mkdir()
        for name, frames in (('a.mp4', 40), ('b.mkv', 30)):
            inputs.write_film(folder / 'films' / name, frames=frames)
        inputs.make_students(folder / 'students')
        inputs.write_keras(folder / 'yamnet.h5')
    return folder


def place(campaign: Campaign, torn: Torn) -> pathlib.Path:
    """The folder that a command writes into; the same in all campaigns, as results name it."""
    return campaign.shared / 'tried' / torn.name


def start(campaign: Campaign, torn: Torn, what: str) -> Command:
    """Starts a command in its `place`; its log is named by `what`."""
    return Command(torn.words(place(campaign, torn)), campaign.shared / 'logs' / f'{campaign.name} {torn.name} {what}')


def renew(campaign: Campaign, torn: Torn) -> pathlib.Path:
    """The `place` of a command as it is before."""
    folder = fresh(place(campaign, torn))
    torn.before(folder)
    return folder


def left_alone(campaign: Campaign, torn: Torn) -> tuple[pathlib.Path, float]:
    """What a command writes that nothing disturbs, and its seconds; computed once for all campaigns.

    In the long form it runs twice, the second time with its programs compiled, and has to end the same.
    """
    kept, seconds = campaign.shared / 'whole' / torn.name, campaign.shared / 'whole' / f'{torn.name}.seconds'
    if not seconds.exists():
        folder = renew(campaign, torn)
        ended = start(campaign, torn, 'alone').wait()
        if ended.code:
            campaign.fault(f'{torn.name} ends with code {ended.code}: {ended.err[-2000:]}', ['stanet', *torn.words(folder)])
        shutil.copytree(folder, kept)
        if not campaign.quick:
            folder = renew(campaign, torn)
            ended = start(campaign, torn, 'alone again').wait()
            if unlike := differences(folder, kept):
                campaign.fault(f'{torn.name}: differs from run to run: {"; ".join(unlike[:5])}', ['stanet', *torn.words(folder)], [folder])
        seconds.write_text(str(ended.seconds))
    return kept, float(seconds.read_text())


def fields(values: dict[str, object]) -> list[str]:
    """Values of a config's fields as flags."""
    return [f'--config.{field}={value}' for field, value in values.items()]


def predict(given: pathlib.Path) -> Torn:
    """Prediction of two films by a student."""
    return Torn('predict', lambda out: ['predict', str(given / 'films'), f'--checkpoint={given}/students/STA', f'--out={out}/maps'])


def evaluate(given: pathlib.Path) -> Torn:
    """The scores of a student on a set."""
    return Torn('evaluate', lambda out: ['evaluate', f'--checkpoint={given}/students/STA', f'--data={given}/world',
                                         f'--out={out}/scores.json', f'--save={out}/saved'])


def convert(given: pathlib.Path) -> Torn:
    """The conversion of an encoder's weights, over older ones."""
    return Torn('convert', lambda out: ['convert', '--name=yamnet', f'--src={given}/yamnet.h5', f'--out={out}/yamnet'],
                lambda out: inputs.encoder_of_random_weights(out / 'yamnet'))


def train(given: pathlib.Path, steps: int = 12) -> Torn:
    """Preparation of a set and the training of a classifier."""
    values = TINY | {'data.root': given / 'world', 'data.frames_per_clip': 4, 'nets': "('S',)", 'epochs.S': (steps - 0.5) / 4,
                     'save_every': 3, 'evaluate_every': 5}
    return Torn('train', lambda out: ['train', '--config=scam_coarse', f'--workdir={out}/run',
                                      *fields(values | {'data.prepared': out / 'prepared'})])


def synthave(given: pathlib.Path) -> Torn:
    """The making of a world."""
    return Torn('data synthave', lambda out: ['data', 'synthave', f'--out={out}/world', '--train=6', '--validation=2', '--test=2',
                                              '--seconds=1', f'--side={inputs.SIDE}', '--workers=2'])


def eps(given: pathlib.Path) -> Torn:
    """Preparation of a set for segmentation and the training of EPS."""
    values = {'data.root': given / 'synthvoc', 'data.side': inputs.SIDE, 'data.long_side': '(40, 56)', 'batch': 4, 'held_out': 4,
              'masks.canvas': inputs.SIDE, 'log_every': 1, 'save_every': 2, 'epochs.EPS': 2.0}
    return Torn('train eps', lambda out: ['train', '--config=eps', f'--workdir={out}/run',
                                          *fields(values | {'data.prepared': out / 'prepared'})],
                lambda out: make_images(given / 'synthvoc'))


def make_images(root: pathlib.Path) -> None:
    """Makes SynthVOC, unless it is there."""
    if not root.exists():
        settings = Settings(train=16, validation=6, test=4, side=inputs.SIDE, categories=4)
        synthvoc.generate(root, settings, workers=2)


def run(given: pathlib.Path) -> Torn:
    """All ten stages of the pipeline, scores and report."""
    epochs = {'coarse': ('A', 'S', 'SA', 'ST'), 'switch': ('A', 'switch'), 'pseudo_gt.fine_nets': ('S', 'SA', 'ST'),
              'pseudo_gt.plus_nets': PLUS, 'sta': ('STA',), 'judge': ('STA',), 'sta_plus': ('STA_short', 'STA_long')}
    values = {f'{stage}.{field}': value for stage in epochs for field, value in TINY.items()}
    values |= {f'{stage}.epochs.{net}': 0.6 for stage, nets in epochs.items() for net in nets}
    values |= {f'{stage}.save_every': 1 for stage in epochs}
    values |= {'pseudo_gt.plus_nets.nets': PLUS, 'data.root': given / 'world', 'data.frames_per_clip': 4, 'world.train': 12,
               'world.validation': 6, 'world.test': 6}
    return Torn('run', lambda out: ['run', '--config=stanet:demo', f'--workdir={out}/run',
                                    *fields(values | {'data.prepared': out / 'prepared'})])
