"""Scores fixation maps or masks, or measures classifiers.

    stanet evaluate --maps=DIR --data=DIR --set=NAME --protocol=stavis --out=FILE.json          a folder of maps
    stanet evaluate --checkpoint=RUN --data=DIR --set=NAME --protocol=stavis --out=FILE.json    a student's
    stanet evaluate --method=gbvs --data=DIR --protocol=mit                  those of a method without training, of the only set there
    stanet evaluate --method=grad_cam --checkpoint=RUN/S --data=DIR --set=NAME --out=FILE.json  class activation maps of a trained S
    stanet evaluate --task=segmentation --maps=DIR --data=DIR --out=FILE.json                   a folder of masks; or --checkpoint=RUN
    stanet evaluate --workdir=runs/coarse --split=test                       trained nets' accuracy on held-out clips, by kind
"""
import os
import pathlib

from absl import flags

from stanet_jax import InputError
from stanet_jax.inference import CLASS_MAPS, METHODS, find_method
from stanet_jax.scratch import hold_output

TASK = flags.DEFINE_enum('task', 'fixations', ['fixations', 'segmentation'], 'What is scored.')
MAPS = flags.DEFINE_string('maps', '', 'Folder of maps to score: <video>/maps/eyeMap_%05d.png, or PNG, JPEG or NPY files under any names '
                           'with a number, of all frames or some, or a film; of masks: <id>.png.')
CHECKPOINT = flags.DEFINE_multi_string('checkpoint', [], 'Folder of a run to score: a student\'s, or three students\' (as RUN/STA); of '
                                       'EPS or DeepLab. "default" is the packaged student.')
METHOD = flags.DEFINE_string('method', '', f'A method without training to score: {", ".join(METHODS)}. With --checkpoint=RUN/S a class '
                             f'activation map of S, of the class that it predicts: {", ".join(CLASS_MAPS)}.')
SAMPLES = flags.DEFINE_integer('samples', 0, 'Noisy images of smooth_grad_cam_pp, by default 4, or masks of ss_cam, 35.', lower_bound=0)
THRESHOLDS = flags.DEFINE_list('thresholds', [], 'As 0,0.3,0.5,0.7: min-maxed maps are also scored with what is below each of these set to '
                               '0, in a row for each.')
DATA = flags.DEFINE_string('data', '', 'Folder of fixation sets in the layout of the STAViS release, or of one of pysaliency\'s, its '
                           'stimuli.hdf5 and fixations.hdf5; or of a set in VOC\'s.')
SET = flags.DEFINE_string('set', '', 'Which fixation set; the only one, by default. "all": each of them (maps then lie in --maps/<set>).')
SAVE = flags.DEFINE_string('save', '', 'With --checkpoint or --method: folder for the maps, <set>/<video>/pred_sal_%06d.jpg, as the '
                           'STAViS release\'s evaluation code reads them.')
COMPARE = flags.DEFINE_bool('compare', False, 'With --set=all: print the figures of the papers\' Table 7 beside.')
WORKERS = flags.DEFINE_integer('workers', os.cpu_count() or 1, 'Processes that score a folder of maps.')
PROTOCOL = flags.DEFINE_string('protocol', 'stavis', 'Which evaluation.')
OUT = flags.DEFINE_string('out', 'runs/scores.json', 'File to write, .json; a .csv is written beside it.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/coarse', 'Folder of a run that `train` made.')
SPLIT = flags.DEFINE_string('split', '', 'Which clips: validation or test; the test part where there is one, by default. Of images: '
                            'validation, by default.')

REQUIRED = ()


def check() -> str:
    """What the flags ask for: 'accuracy', 'fixations' or 'segmentation'; InputError where flags are missing or do not go together."""
    thresholds()
    scored = [flag for flag in (MAPS, CHECKPOINT, METHOD) if flag.value]
    if METHOD.value and not MAPS.value:
        scored = [METHOD]
        find_method(METHOD.value, CHECKPOINT.value)
    if len(scored) > 1:
        raise InputError(f'{", ".join(f"--{flag.name}" for flag in scored)}: one of them at a time')
    if MAPS.value and SAVE.value:
        raise InputError('--save: not with --maps, which are there already')
    asked = TASK.value if scored or TASK.present else 'accuracy'
    of_fixations = [METHOD, SET, PROTOCOL, SAVE, COMPARE, WORKERS, SAMPLES, THRESHOLDS]
    unused = {'accuracy': [MAPS, CHECKPOINT, METHOD, DATA, OUT, *of_fixations[1:]], 'fixations': [WORKDIR, SPLIT],
              'segmentation': [WORKDIR, *of_fixations]}[asked]
    wrong = ', '.join(f'--{flag.name}' for flag in unused if flag.present)
    if wrong:
        raise InputError(f'{wrong}: needs a value, and --maps, --checkpoint or --method to say what to score' if asked == 'accuracy' else
                         f'{wrong}: not with --{scored[0].name if scored and asked == "fixations" else "task=" + asked}')
    if asked == 'accuracy':
        return asked
    if not scored:
        raise InputError(f'--task={asked}: needs --maps or --checkpoint{" or --method" * (asked == "fixations")} to say what to score')
    for flag in (DATA, OUT):
        if not flag.value:
            raise InputError(f'--{flag.name}: needed with --{scored[0].name}')
    if asked == 'segmentation' and len(CHECKPOINT.value) > 1:
        raise InputError('--checkpoint: one at a time with --task=segmentation')
    return asked


def thresholds() -> tuple[float, ...]:
    """The values of --thresholds; InputError where they are not numbers from 0 to 1."""
    try:
        levels = tuple(float(word) for word in THRESHOLDS.value)
    except ValueError:
        levels = (-1.0,)
    if any(not 0 <= level <= 1 for level in levels):
        raise InputError(f'--thresholds={",".join(THRESHOLDS.value)}: must be numbers from 0 to 1, as 0,0.3,0.5,0.7')
    return levels


def main() -> None:
    """Scores or measures what the flags ask for."""
    asked = check()
    if asked == 'segmentation':
        from stanet_jax.eps.scores import evaluate_masks
        with hold_output(pathlib.Path(OUT.value)):
            evaluate_masks(DATA.value, SPLIT.value, OUT.value, MAPS.value, *CHECKPOINT.value)
    elif asked == 'fixations':
        from stanet_jax.evaluation.evaluate import evaluate
        with hold_output(pathlib.Path(OUT.value)):
            evaluate(DATA.value, SET.value, PROTOCOL.value, OUT.value, MAPS.value, CHECKPOINT.value, WORKERS.value, COMPARE.value,
                     SAVE.value, METHOD.value, thresholds(), SAMPLES.value)
    else:
        from stanet_jax.stages.accuracy import measure
        from stanet_jax.stages.examples import open_clips
        from stanet_jax.workdir import hold_workdir, read_config
        config = read_config(WORKDIR.value)
        with hold_workdir(WORKDIR.value):
            measure(config, WORKDIR.value, open_clips(config), SPLIT.value)
