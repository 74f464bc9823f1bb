"""The runs of trained students: which nets are in a folder, and what prediction needs of them."""
import functools
import importlib.resources
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.models import backbones
from stanet_jax.stages import audio_switch, students
from stanet_jax.stages.nets import encoder_weights, example_batch, front_end, net_inputs
from stanet_jax.training import checkpoint
from stanet_jax.workdir import find_run, read_config

ENCODERS = ('encoder', 'audio_encoder')


class Nets(NamedTuple):
    """Students with their audio switch, as `blocks` takes them.

    Attributes:
        models: the students' modules, by name.
        switch: the switch's module.
        sides: of the frames that each student and the `switch` were trained on, in pixels.
        blurs: sigma of the Gaussian over each student's maps, as a share of their side.
        frozen: the encoders that all of these nets share, by `ENCODERS`; those that are not frozen are parts of each net.
        variables: by student, and of `switch`, and of `frozen` encoders under their names.
        config: of the run of the first student.
        fragments: how many further fragments STA+ takes.
        fusion: which of `students.FINAL_FUSIONS` is the prediction of three students.
    """
    models: dict[str, nn.Module]
    switch: nn.Module
    sides: Mapping[str, int]
    blurs: Mapping[str, float]
    frozen: dict[str, nn.Module]
    variables: Mapping[str, Variables]
    config: ConfigDict
    fragments: int
    fusion: str


def load_nets(runs: Sequence[str | os.PathLike]) -> Nets:
    """Loads students from the folders of runs, see `find_students`, with the audio switch of the first.

    Raises:
        InputError: as `find_students`; the nets do not go together; weights are missing or do not fit.
    """
    found = find_students(runs)
    models: dict[str, nn.Module] = {}
    variables: dict[str, Variables] = {}
    configs = {net: read_config(run) for net, run in found.items()}
    for net in (net for net in students.STUDENTS if net in found):
        make = functools.partial(students.make_student, net=net)
        models[net], variables[net] = load_net(found[net], found[net] / net, configs[net], make, net)
    first, run = next(iter(found.items()))
    switch_config = read_config(run / 'switch')
    switch, variables['switch'] = load_net(run / 'switch', run / 'switch', switch_config, audio_switch.make_switch, 'SA')
    check_alike({**configs, 'switch': switch_config}, first)
    frozen: dict[str, nn.Module] = {}
    config = configs[first]
    for part in ENCODERS:
        if config[part].get('frozen'):
            weights = found_weights(config[part], part)
            if weights is not None:
                frozen[part], variables[part] = backbones.create(config[part].name), weights
    sides = {net: of.data.side for net, of in {**configs, 'switch': switch_config}.items()}
    blurs = {net: of.get('blur', 0.0) for net, of in configs.items()}
    return Nets(models, switch, sides, blurs, frozen, variables, config,
                max(of.get('fragments', 0) for of in configs.values()), list(configs.values())[-1].get('fusion', 'final'))


def check_alike(configs: Mapping[str, ConfigDict], first: str) -> None:
    """Checks that nets see and hear alike: frames of one rate, as many fragments, one front end of sound, the same frozen encoders."""
    def of(config, net):
        frozen = {part: config[part].to_dict() for part in ENCODERS if config[part].get('frozen')}
        same = {'data.rate': config.data.rate, 'sound': front_end(config), 'frozen': frozen}
        if frozen:  # whose features all share
            same['data.side'] = config.data.side
        return same if net != 'switch' or frozen else {'sound': same['sound'], 'frozen': frozen}

    counts = {net: config.fragments for net, config in configs.items() if config.get('fragments')}
    if len(set(counts.values())) > 1:
        raise InputError(f'--checkpoint: {", ".join(f"{net} has fragments={count}" for net, count in counts.items())}; give students that '
                         'were trained alike')
    one = of(configs[first], first)
    for net, config in configs.items():
        wrong = [f'{field}={value}, {first} has {one.get(field)}' for field, value in of(config, net).items() if value != one.get(field)]
        if wrong:
            raise InputError(f'--checkpoint: {net} has {wrong[0]}; give students that were trained alike')


def found_weights(encoder: ConfigDict, part: str) -> Variables | None:
    """The weights of a frozen encoder; of sound None, with a line on stderr, where they are not here: the students are then deaf."""
    try:
        return encoder_weights(encoder)
    except InputError as error:
        if part == 'encoder':
            raise
        print(f'prediction by picture and motion alone, without sound: {error}', file=sys.stderr)
        return None


def find_students(runs: Sequence[str | os.PathLike]) -> dict[str, pathlib.Path]:
    """The students in the folders of runs, or of single nets in them: {student: folder of its run}; 'default' is the packaged student.

    Raises:
        InputError: a folder holds no student, or they are neither one student nor all three.
    """
    found = {}
    for path in map(pathlib.Path, runs):
        if str(path) == 'default':
            path = pathlib.Path(str(importlib.resources.files('stanet_jax') / 'student' / 'weights'))
        run, config, only = find_run(path)
        if config.get('task') != 'student' or only and only not in config.nets:
            raise InputError(f'{path}: a run of {", ".join(config.get("nets", ["no nets"]))}, not of a student; '
                             'give one of stanet distill --config=sta')
        for net in [only] if only else config.nets:
            if net in found:
                raise InputError(f'{path}: a second {net}; name one of them, as {path}/{net}')
            found[net] = run
    if len(found) not in (1, len(students.STUDENTS)):
        raise InputError(f'--checkpoint: {", ".join(found)}; give one student (as {runs[0]}/{next(iter(found))}) or all of '
                         f'{", ".join(students.STUDENTS)}')
    return found


def load_net(folder: pathlib.Path, path: pathlib.Path, config: ConfigDict, make: Callable[[ConfigDict], nn.Module],
             net: str) -> tuple[nn.Module, dict[str, Any]]:
    """The module that `make(config)` gives, and the variables in the folder `path`, which have to fit it; without frozen encoders.

    Args:
        folder: named in errors of the config.
        path: folder of the net.
        config: of its run.
        make: makes the module.
        net: whose inputs it takes, a name that `nets.example_batch` knows.
    Raises:
        InputError: there are no such weights, they do not fit, or the config makes no net.
    """
    variables = checkpoint.load_variables(path / 'variables')
    try:
        model = make(config)
        inputs = net_inputs(example_batch(config, net, 1, 1), config.encoder.name)
        size: dict[str, Any] = {} if net == 'SA' else {'size': (config.data.side,) * 2}
        wanted = checkpoint.shapes_by_path(jax.eval_shape(lambda inputs: model.init(jax.random.key(0), **inputs, **size), inputs))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f'{folder}/config.json: makes no net ({str(error).splitlines()[0]}); give the folder of a whole run') from error
    saved = checkpoint.shapes_by_path(variables)
    wrong = sorted(k for k in saved.keys() | wanted.keys() if saved.get(k) != wanted.get(k))
    if wrong:
        k = wrong[0]
        raise InputError(f'{path}/variables: weights of another net than {folder}/config.json has ({k} is {saved.get(k, "absent")} '
                         f'and would have to be {wanted.get(k, "absent")}); give the folder of a whole run')
    return model, variables
