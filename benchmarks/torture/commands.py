"""The commands that are killed, run out of disk and meet each other: each with its inputs, and a folder that holds all that it writes."""
import dataclasses
import pathlib
from collections.abc import Callable

from benchmarks.torture import inputs

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


def make_inputs(folder: pathlib.Path, clips: int = 6) -> pathlib.Path:
    """Makes what the commands read: films, a world, weights, students."""
    inputs.make_world(folder / 'world', clips)
    (folder / 'films').mkdir()
    for name, frames in (('a.mp4', 40), ('b.mkv', 30)):
        inputs.write_film(folder / 'films' / name, frames=frames)
    inputs.make_students(folder / 'students')
    inputs.write_keras(folder / 'yamnet.h5')
    return folder


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
