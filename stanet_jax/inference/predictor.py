"""What trained students make of a stream of moments, in which every net sees each moment once (TPAMI Sec. 5).

Moments go through in blocks, in three steps, each compiled once for a size of blocks: encoders see a block; triples of neighbours
are blended, which gives STA's maps and the nodes of STA+; nodes reason with those around them, and with some of the past. A step
looks at the blocks before and after, so that the third is two blocks behind the first.
"""
import functools
import itertools
import os
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import InputError, scam
from stanet_jax.data import augmentation
from stanet_jax.data.fragments import GUARD
from stanet_jax.media.moments import moments_of_frames, read_moments
from stanet_jax.media.video import frame_count
from stanet_jax.models.branch import parse_net
from stanet_jax.stages import audio_switch, students
from stanet_jax.training import checkpoint, sharding
from stanet_jax.workdir import read_config

BLOCK = 8  # a block's size is a multiple of this, and twice this at least
LARGEST_BLOCK = 128  # and this at most: above 340 frames a second fragments come from as far as blocks reach
BANK, SPACING = 10, 1.0  # long-term fragments: how many moments of the past are kept, and the seconds between them


# --------------------------------------------------------------------------------------------------------------- on devices


def encode_block(variables, frames, audio, phi, *, models, switch_net, switch_side):
    """What the encoders of each student make of a block.

    Args:
        variables: {net: the student's, 'switch': the switch net's}; models: {net: student}.
        frames: uint8 [b, h, w, 3]; audio: [b, 257, T]; phi: [b], 1 where there is sound.
        switch_side: pixels of the frames that the switch net was trained on.
    Returns:
        `phi` [b], what the audio switch lets through (its net's answer at 0.5, and 0 without sound; method.md 4), and for each net its
        features and `heard` [b, d].
    """
    x = augmentation.normalise(frames)
    small = jax.image.resize(x, (len(x), switch_side, switch_side, 3), 'linear')[:, None]
    opened, _ = switch_net.apply(variables['switch'], small, audio, phi)
    seen = {'phi': phi * (opened[:, 0] > 0)}
    for net, model in models.items():
        features = model.apply(variables[net], x, method='encode_frames')
        wanted = ('C3', 'C4', 'C5') if net == 'STA' else ('C5',)
        seen[net] = {**{level: features[level] for level in wanted}, 'heard': model.apply(variables[net], audio, method='encode_audio')}
    return seen


def blend_block(variables, seen, triples, *, models, side):
    """STA's maps and STA+'s nodes of a block.

    Args:
        seen: of the block before, this block and the one after, see `encode_block`.
        triples: [b, 3], the moments just before, at and just after each moment, counted from the first of the three blocks.
    Returns:
        {net: maps in [0, 1], [b, side, side], of STA, or nodes [b, h', w', 28]}.
    """
    near, middle, result = jax.tree.map(lambda *blocks: jnp.concatenate(blocks), *seen), triples[:, 1], {}
    for net, model in models.items():
        apply, of = functools.partial(model.apply, variables[net]), near[net]
        given = of['C5'][triples], of['heard'][middle], near['phi'][middle]
        if net == 'STA':
            target = (of[level][middle] for level in ('C3', 'C4', 'C5'))
            result[net] = jax.nn.sigmoid(apply(*target, apply(*given, method='blend'), (side, side), method='decode')[0])
        else:
            result[net] = apply(*given, method='node')
    return result


def reason_block(variables, seen, blended, bank, short, long, keep, *, models, side):
    """The maps of a block.

    Args:
        seen: of this block, see `encode_block`; blended: of the block before, this block and the one after, see `blend_block`.
        bank: {net: nodes of BANK moments of the past}, for STA+.
        short, long: [b, n], what else each target is given, counted from the first of the bank, on through the three blocks.
        keep: [BANK], the next bank, counted likewise.
    Returns:
        {name: [b, side, side] in [0, 1]}: each student's, and of all three `product` (Eq. 23) and `final` (Eq. 21); the next bank.
    """
    maps = {}
    for net, model in models.items():
        if net == 'STA':
            maps[net] = blended[1][net]
            continue
        every = jnp.concatenate([bank[net], *(block[net] for block in blended)])
        nodes = jnp.concatenate([blended[1][net][:, None], every[short if net == 'STA_short' else long]], axis=1)
        logits, _ = model.apply(variables[net], nodes, seen[net]['C5'][:, None], (side, side), method='decode')
        maps[net], bank = jax.nn.sigmoid(logits[:, 0]), {**bank, net: every[keep]}
    if len(models) == len(students.STUDENTS):
        three = [maps[net] for net in students.STUDENTS]
        maps |= {'product': scam.fuse_product(*three), 'final': scam.fuse_predictions(*three)}
    return maps, bank


# ----------------------------------------------------------------------------------------------------- who looks at whom


def nearest_times(times, wanted):
    """Places of the times that are nearest to the wanted ones; times that are inf are none."""
    return np.abs(times - np.asarray(wanted)[..., None]).argmin(axis=-1)


def far_times(times, moment, least, count):
    """Places of `count` times further than `least` from the moment, evenly spread, or else the farthest; inf is none.

    Those of the bank, the first ones, are preferred.
    """
    distance = np.where(np.isfinite(times), np.abs(times - moment), -1)
    for known in (distance[:BANK], distance):
        found = np.flatnonzero(known > least)
        if len(found) >= count:
            found = found[np.argsort(times[found], kind='stable')]
            break
    else:
        found = np.argsort(-distance, kind='stable')[:min(count, (distance >= 0).sum())]
    return found[(2 * np.arange(count) + 1) * len(found) // (2 * count)]


def kept_places(times, targets):
    """The places that the next bank holds: the last BANK of the moments in the bank and of a block, SPACING seconds apart."""
    keep = list(np.flatnonzero(np.isfinite(times[:BANK])))
    for k in targets:
        if not keep or times[k] >= times[keep[-1]] + SPACING:
            keep.append(k)
    return keep[-BANK:]


def with_neighbours(items):
    """(before, this, after) of each item, None before the first and after the last."""
    before, this = None, next(items, None)
    while this is not None:
        after = next(items, None)
        yield before, this, after
        before, this = this, after


# --------------------------------------------------------------------------------------------------------------- the students


class Maps(NamedTuple):
    """Fixation maps of a video's n frames.

    Attributes:
        times: float64 [n], of the frames, in seconds.
        maps: float32 [n, side, side] in [0, 1]; resize them to the frame's height and width to lay them over it.
    """
    times: np.ndarray
    maps: np.ndarray


class Predictor:
    """Trained students and their audio switch.

    Attributes:
        side: of the frames they look at, in pixels.
        rate: frames per second: the neighbours they look at are 1 / rate seconds away.
        names: of the maps that it makes; the last one is what it predicts.
    """

    def __init__(self, *runs):
        """Reads students: the folder of a run of one or of all three, or such folders (`RUN/STA_short` is one net of a run).

        Raises:
            InputError: no such run, weights of another config, or neither one student nor the three.
        """
        if jax.process_count() > 1:
            raise InputError('--processes: prediction is one process on all its devices; start one for each share of the videos')
        found = find_students(runs)
        configs, variables, self._models = {net: read_config(run) for net, run in found.items()}, {}, {}
        for net in (net for net in students.STUDENTS if net in found):
            lead = (configs[net].fragments + 1, 3) if parse_net(net).granularity else (3,)
            make = functools.partial(students.make_student, net=net)
            self._models[net], variables[net] = _load(found[net], found[net] / net, configs[net], make, lead)
        first, run = next(iter(found.items()))
        data = configs[first].data
        for net, other in configs.items():
            if (other.data.side, other.data.rate) != (data.side, data.rate):
                raise InputError(f'--checkpoint: {net} has data.side={other.data.side}, data.rate={other.data.rate}, {first} '
                                 f'has {data.side}, {data.rate}; give students that were trained alike')
        switch_config = read_config(run / 'switch')
        switch_net, variables['switch'] = _load(run / 'switch', run / 'switch', switch_config, audio_switch.make_switch, (1,))
        self.side, self.rate = data.side, float(data.rate)
        self.names = (*self._models, *(('product', 'final') if len(found) == len(students.STUDENTS) else ()))
        self._count = max(config.get('fragments', 0) for config in configs.values())
        self._mesh = sharding.make_mesh()
        self._whole = sharding.replicated(self._mesh)
        self._variables = jax.device_put(variables, self._whole)
        self._encode = jax.jit(functools.partial(encode_block, models=self._models, switch_net=switch_net,
                                                 switch_side=switch_config.data.side))
        self._blend = jax.jit(functools.partial(blend_block, models=self._models, side=self.side))
        self._reason = jax.jit(functools.partial(reason_block, models=self._models, side=self.side), out_shardings=self._whole)

    def block(self, fps):
        """Moments of a block: so many that the nearest blocks hold all short-term fragments of a film of `fps` frames a second."""
        reach = 3 * fps / self.rate
        return sharding.padded(int(np.clip(BLOCK * np.ceil(reach / BLOCK), 2 * BLOCK, LARGEST_BLOCK)))

    def maps(self, video, sound=None, fps=25.0):
        """The fixation maps of a whole video, as arrays.

        Args:
            video: path of a file that FFmpeg reads, with its sound; or frames uint8 RGB [n, h, w, 3].
            sound: of frames: float32 [m] in [-1, 1], mono, 16 kHz; None for none.
            fps: of frames, a second; a file has its own times.
        Returns:
            Maps, of the last of `names`: the fusion where there are three students.
        Raises:
            InputError: the file cannot be read, or has a sound of its own beside the one that is given.
        """
        if isinstance(video, str | os.PathLike):
            if sound is not None:
                raise InputError(f'{video}: a file is heard with its own sound; give its frames to have another one heard')
            moments, fps = read_moments(video, self.side), frame_count(video).fps
        else:
            moments = moments_of_frames(video, sound, fps, self.side)
        times, maps = [], []
        for block, found in self.predict_blocks(moments, fps):
            times += [moment.time for moment in block]
            maps.append(np.asarray(found[self.names[-1]]))
        return Maps(np.float64(times), np.concatenate(maps) if maps else np.zeros((0, self.side, self.side), np.float32))

    def predict_blocks(self, moments, fps=25.0):
        """Yields (Moments, {name: maps [n, side, side] in [0, 1], on the device}) of a video, a block at a time.

        Args:
            moments: iterator of `moments.Moment`.
            fps: about how many there are in a second.
        """
        size = self.block(fps)
        blocks = iter(lambda: list(itertools.islice(moments, size)), [])
        seen = ((block, self._encoded(block, size)) for block in blocks)
        blended = (self._blended(*three, size) for three in with_neighbours(seen))
        bank, kept = None, np.full(BANK, np.inf)  # nodes of moments of the past, and their times
        for before, this, after in with_neighbours(blended):
            block, of_block, nodes = this
            if bank is None:
                bank = {net: jnp.zeros((BANK, *x.shape[1:]), x.dtype) for net, x in nodes.items() if net != 'STA'}
                bank = jax.device_put(bank, self._whole)
            times = np.concatenate([kept, _times(before, this, after, size)])
            targets = BANK + size + np.minimum(np.arange(size), len(block) - 1)  # the last block is filled up with its last moment
            three = tuple((of or this)[2] for of in (before, this, after))
            keep = kept_places(times, targets[:len(block)])
            maps, bank = self._reason(self._variables, of_block, three, bank, *self._others(times, targets),
                                      np.pad(keep, (0, BANK - len(keep))))
            kept = np.pad(times[keep], (0, BANK - len(keep)), constant_values=np.inf)
            yield block, {name: x[:len(block)] for name, x in maps.items()}

    def _others(self, times, targets):
        """The places of the short- and of the long-term fragments of each target, [b, n] each, as `fragments.sample_fragments` has them."""
        steps = [(-1) ** (j + 1) * 3 * (j // 2 + 1) / self.rate for j in range(self._count)]
        short = BANK + nearest_times(times[BANK:], times[targets, None] + np.array(steps))
        least = (GUARD + 1) / self.rate + 1e-6
        return short, np.stack([far_times(times, times[k], least, self._count) for k in targets])

    def _encoded(self, block, size):
        arrays = (np.stack(x) for x in zip(*(moment[1:4] for moment in block), strict=True))
        full = [np.pad(x.astype(x.dtype if x.dtype == np.uint8 else np.float32), [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1))
                for x in arrays]
        return self._encode(self._variables, *sharding.put(full, self._mesh))

    def _blended(self, before, this, after, size):
        times = _times(before, this, after, size)
        target = times[size + np.minimum(np.arange(size), len(this[0]) - 1)]
        triples = nearest_times(times, target[:, None] + np.array([-1, 0, 1]) / self.rate)
        return *this, self._blend(self._variables, tuple((of or this)[1] for of in (before, this, after)), triples)


def _times(before, this, after, size):
    """The times of three blocks of `size` moments, inf where there is none."""
    times = [[moment.time for moment in block[0]] if block else [] for block in (before, this, after)]
    return np.concatenate([np.pad(np.float64(t), (0, size - len(t)), constant_values=np.inf) for t in times])


# -------------------------------------------------------------------------------------------------------------------- reading


def find_students(runs):
    """Folders of runs, or of nets in them -> {net: folder of its run}; InputError unless they are one student or the three."""
    found = {}
    for path in map(pathlib.Path, runs):
        inside = not (path / 'config.json').exists() and (path.parent / 'config.json').exists()
        run = path.parent if inside else path
        config = read_config(run)
        if config.get('task') != 'student' or inside and path.name not in config.nets:
            raise InputError(f'{path}: a run of {", ".join(config.get("nets", ["no nets"]))}, not of a student; '
                             'give one of python distill.py --config=configs/sta.py')
        for net in [path.name] if inside else config.nets:
            if net in found:
                raise InputError(f'{path}: a second {net}; name one of them, as {path}/{net}')
            found[net] = run
    if len(found) not in (1, len(students.STUDENTS)):
        raise InputError(f'--checkpoint: {", ".join(found)}; give one student (as {runs[0]}/{next(iter(found))}) or all of '
                         f'{", ".join(students.STUDENTS)}')
    return found


def _load(folder, net, config, make, frames):
    """The model that `make(config)` gives and the variables in `net`, which must fit; frames: leading axes of what it looks at."""
    variables = checkpoint.load_variables(net / 'variables')
    try:
        model, side, lead = make(config), config.data.side, (1, *frames[:-1])
        shapes = (*lead, frames[-1], side, side, 3), (*lead, 257, 98), lead
        wanted = _shapes(jax.eval_shape(model.init, jax.random.key(0), *(np.zeros(shape, np.float32) for shape in shapes)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f'{folder}/config.json: makes no net ({str(error).splitlines()[0]}); give the folder of a whole run') from error
    saved = _shapes(variables)
    wrong = sorted(k for k in saved.keys() | wanted.keys() if saved.get(k) != wanted.get(k))
    if wrong:
        k = wrong[0]
        raise InputError(f'{net}/variables: weights of another net than {folder}/config.json has ({k} is {saved.get(k, "absent")} '
                         f'and would have to be {wanted.get(k, "absent")}); give the folder of a whole run')
    return model, variables


def _shapes(tree):
    return {jax.tree_util.keystr(path, simple=True, separator='.'): np.shape(x) for path, x in jax.tree.leaves_with_path(tree)}
