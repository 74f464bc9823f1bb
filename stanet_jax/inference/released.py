"""Prediction by the authors' students, with the preparation of frames and sound and the treatment of maps of their release.

Frames are the film's own, one after the other, whatever its rate. Every frame gets its own map: the release saves STANet's map of frame
t - 1, and STA+'s of t, under the name of another frame, and leaves frames at both ends out.
"""
import collections
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from jaxtyping import Float, Int, UInt8

from stanet_jax import InputError, scam
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.inference.predictor import Bank, Predictor, block_size
from stanet_jax.media.moments import Moment
from stanet_jax.models.backbones import MEAN, STD
from stanet_jax.stages import released
from stanet_jax.stages.released import ReleasedNet
from stanet_jax.stages.students import STUDENTS
from stanet_jax.training import sharding
from stanet_jax.workdir import find_run

SIDE, NODE_SIDE = 356, 256  # of the frames of STANet and of the maps; of the frames of STA+
PIECE = 4  # moments that are encoded at a time
CLOCK = 25.0  # moments are counted as if there were so many in a second
BLUR, REACH = 7.0, 28  # of the first release's maps, in pixels: deviation, and where the Gaussian is cut
BILINEAR, LANCZOS = PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.LANCZOS
Nets = Mapping[str, ReleasedNet]


def is_released(runs: Sequence[str | os.PathLike]) -> bool:
    """Whether some of the runs are of released nets."""
    return any(map(released.is_released, runs))


def load_nets(runs: Sequence[str | os.PathLike]) -> tuple[dict[str, ReleasedNet], ReleasedNet | None]:
    """The students of runs of released nets, in the order of `STUDENTS`, and the audio switch where there is one.

    Raises:
        InputError: a run is of other nets, or two have the same student, or none has any.
    """
    found: dict[str, ReleasedNet] = {}
    switch = None
    for run in runs:
        if not released.is_released(run):
            raise InputError(f'--checkpoint={run}: not a run of released nets; the others are, and they go with their like')
        nets = released.read(run, STUDENTS)
        twice = [net for net in nets if net in found]
        if twice:
            raise InputError(f'{run}: a second {twice[0]}; name one of them, as {run}/{twice[0]}')
        found |= nets
        switch = switch or released.read(find_run(run).folder, ['switch']).get('switch')
    if not found:
        raise InputError(f'--checkpoint={runs[0]}: no student among its nets; convert STANet.pth or STAGCN.pth to it')
    return {net: found[net] for net in STUDENTS if net in found}, switch


# ------------------------------------------------------------------------------------------------------------ pictures and maps


def prepare(picture: UInt8[np.ndarray, 'h w 3'], kinds: Sequence[str], switch: bool) -> dict[str, UInt8[np.ndarray, '_ _ 3']]:
    """A frame as the nets of these kinds take it; `stagcn_switch` is what an audio switch is shown where `stagcn` asks it."""
    image, made = PIL.Image.fromarray(picture), {}
    if 'sta' in kinds:
        made['sta'] = image.resize((SIDE, SIDE), BILINEAR)
    if 'cvpr_sta' in kinds:
        made['cvpr_sta'] = image.resize((SIDE, SIDE), LANCZOS)
    if 'stagcn' in kinds:
        made['stagcn'] = image.resize((NODE_SIDE, NODE_SIDE), LANCZOS)
        if switch:
            made['stagcn_switch'] = made['stagcn'].resize((SIDE, SIDE), LANCZOS).resize((NODE_SIDE, NODE_SIDE), BILINEAR)
    return {kind: np.asarray(of) for kind, of in made.items()}


def normalise(frames: UInt8[AnyArray, 'b h w 3']) -> Float[jax.Array, 'b h w 3']:
    """Frames over 255, less ImageNet's mean, over its deviation."""
    return (jnp.asarray(frames, jnp.float32) / 255 - MEAN) / STD


@functools.cache
def blur_matrix(side: int) -> Float[np.ndarray, 'side side']:
    """SciPy's Gaussian filter of a row as a matrix: `BLUR` pixels, cut at `REACH`, reflected at the edges."""
    weights = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / BLUR)**2)
    places = np.arange(side)[:, None] + np.arange(-REACH, REACH + 1)
    places = places % (2 * side)
    places = np.where(places < side, places, 2 * side - 1 - places)
    matrix = np.zeros((side, side), np.float32)
    np.add.at(matrix, (np.arange(side)[:, None], places), (weights / weights.sum()).astype(np.float32))
    return matrix


def saved_map(map_: Float[AnyArray, 'b h w'], kind: str) -> Float[jax.Array, 'b 356 356']:
    """Maps as the release of a net of that kind saves them, in 256 levels from 0 to 1.

    The second release divides by the maximum and resizes the levels; the first blurs before.
    """
    top = map_.max(axis=(1, 2), keepdims=True)
    if kind == 'cvpr_sta':
        matrix = blur_matrix(map_.shape[1])
        blurred = jnp.einsum('ij,bjk,lk->bil', matrix, jnp.floor(map_ * 255) / 255, matrix, precision='highest')
        levels = jnp.floor(blurred / jnp.maximum(blurred.max(axis=(1, 2), keepdims=True), 1e-8) * 255)
    else:
        levels = jnp.round(map_ / (top + 1e-8) * 255)
    resized = jax.image.resize(levels, (len(levels), SIDE, SIDE), 'bilinear', antialias=False)
    return jnp.round(resized) / 255


# ---------------------------------------------------------------------------------------------------- three steps, as in `blocks`


def encode_block(variables: Mapping[str, Variables], frames: Mapping[str, AnyArray], audio: Float[AnyArray, 'b f t'],
                 phi: Float[AnyArray, ' b'], *, nets: Nets, switch: ReleasedNet | None) -> dict[str, Any]:
    """What each student keeps of a block of b moments.

    Args:
        variables: by student, and of `switch`.
        frames: by kind of net, see `prepare`.
        audio: of each frame.
        phi: 1 where there is sound, else 0.
        nets: the students.
        switch: the audio switch; without one it is open where there is sound.
    Returns:
        For each student its features of frames, and `gate`, its audio gate.
    """
    seen: dict[str, Any] = {}
    shown = {kind: normalise(of) for kind, of in frames.items()}
    for name, net in nets.items():
        opened = phi
        if switch is not None:
            inputs = {'audio': audio, 'frame': shown.get(f'{net.kind}_switch', shown[net.kind])}
            told: Any = switch.module.apply(variables['switch'], inputs)
            opened = phi * (told['switch'] if switch.kind == 'switch' else told['probabilities'][:, 1])
            if net.kind != 'cvpr_sta':
                opened = (opened > 0.5).astype(jnp.float32)
        apply: Any = functools.partial(net.module.apply, variables[name])
        features = apply(shown[net.kind], method='look')
        gate = apply(audio, opened, features['v'], method='hear')
        seen[name] = {**{k: x for k, x in features.items() if k != 'v'}, 'gate': gate}
    return seen


def blend_block(variables: Mapping[str, Variables], seen: Sequence[Mapping[str, Any]], near: Int[AnyArray, 'b k'], *, nets: Nets,
                offsets: Sequence[int]) -> dict[str, AnyArray]:
    """STANet's maps in [0, 1], and the nodes of STA+, of a block of b moments.

    Args:
        variables: by student.
        seen: what `encode_block` gives of the block before, this block and the one after.
        near: the moments around each moment, counted from the first moment of the three blocks.
        nets: the students.
        offsets: how far from the moment these are.
    """
    every = jax.tree.map(lambda *blocks: jnp.concatenate(blocks), *seen)
    result: dict[str, Any] = {}
    for name, net in nets.items():
        of, middle = every[name], near[:, offsets.index(0)]
        triple = [of['x'][near[:, offsets.index(offset)]] for offset in net.module.offsets]
        apply: Any = functools.partial(net.module.apply, variables[name])
        own = jax.tree.map(lambda x, at=middle: x[at], of)
        if name == 'STA':
            result[name] = saved_map(apply(triple, own, own['gate'], (SIDE, SIDE), method='predict'), net.kind)
        else:
            result[name] = apply(triple, own['gate'], method='node')
    return result


def reason_block(variables: Mapping[str, Variables], seen: Mapping[str, Any], blended: Sequence[Mapping[str, AnyArray]],
                 bank: Mapping[str, AnyArray], short: Int[AnyArray, 'b 2'], long: Int[AnyArray, 'b 2'], keep: Int[AnyArray, ' k'], *,
                 nets: Nets) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
    """The maps of a block of b moments, and the bank for the next block; the arguments are those of `blocks.reason_block`.

    Returns:
        Maps in [0, 1], [b, 356, 356], by student; of several students also `max`, and of all three `product` (TPAMI Eq. 23) and `final`
        (Eq. 21).
    """
    maps: dict[str, AnyArray] = {}
    kept = dict(bank)
    for name, net in nets.items():
        if name == 'STA':
            maps[name] = blended[1][name]
            continue
        every = jnp.concatenate([bank[name], *(block[name] for block in blended)])
        others = every[short if name == 'STA_short' else long]
        apply: Any = functools.partial(net.module.apply, variables[name])
        nodes = apply([others[:, 0], blended[1][name], others[:, 1]], method='reason')
        logits = apply(nodes[1], seen[name]['x'], (NODE_SIDE, NODE_SIDE), method='read')
        maps[name], kept[name] = saved_map(jax.nn.sigmoid(logits), net.kind), every[keep]
    made = list(maps.values())
    if len(made) > 1:
        maps['max'] = jnp.stack(made).max(axis=0)
    if len(made) == len(STUDENTS):
        maps |= {'product': scam.fuse_product(*made), 'final': scam.fuse_predictions(*made)}
    return maps, kept


class ReleasedPredictor(Predictor):
    """Released students, ready to predict fixation maps as a `Predictor` does; its `side` is 0, as it takes frames as they are.

    The last of its `names` is the prediction: the one student's map, the maximum of two, or the fusion of three (Eq. 21). Long-term
    fragments are those of `Predictor`, from the film's past or, where sets are scored, from all of it; the release draws
    them at random.
    """

    def __init__(self, *runs: str | os.PathLike):
        """Loads the students of a run of released nets, or of several.

        Raises:
            InputError: as `load_nets`.
        """
        if jax.process_count() > 1:
            raise InputError('--processes: prediction is one process on all its devices; start one for each share of the videos')
        nets, switch = load_nets(runs)
        self.side, self.rate, self.front_end = 0, CLOCK, 'release'
        self.names = (*nets, *(('max',) if len(nets) > 1 else ()), *(('product', 'final') if len(nets) == len(STUDENTS) else ()))
        self._kinds, self._switch, self._count = [net.kind for net in nets.values()], switch is not None, 2
        self._offsets = tuple(sorted({0, *(offset for net in nets.values() for offset in net.module.offsets)}))
        self._mesh = sharding.make_mesh()
        self._whole = sharding.replicated(self._mesh)
        variables = {name: net.variables for name, net in nets.items()} | ({'switch': switch.variables} if switch else {})
        self._variables = jax.device_put(variables, self._whole)
        self._encode = exact(functools.partial(encode_block, nets=nets, switch=switch))
        self._blend = exact(functools.partial(blend_block, nets=nets, offsets=self._offsets))
        self._reason = exact(functools.partial(reason_block, nets=nets), out_shardings=self._whole)

    def block(self, fps: float) -> int:
        """The number of moments in a block; fragments are counted in frames, whatever the film's rate."""
        del fps
        return block_size(3)

    def _clock(self, fps):
        del fps
        return CLOCK

    def predict_blocks(self, moments: Iterator[Moment], fps: float = CLOCK,
                       bank: Bank | None = None) -> Iterator[tuple[list[Moment], dict[str, AnyArray]]]:
        """As of `Predictor`."""
        times: collections.deque[float] = collections.deque()

        def counted():
            for k, moment in enumerate(moments):
                times.append(moment.time)
                yield moment._replace(time=k / CLOCK)

        for block, maps in super().predict_blocks(counted(), fps, bank):
            yield [moment._replace(time=times.popleft()) for moment in block], maps

    def _together(self, size):
        """A few on any device, as the encoders are large."""
        return sharding.padded(PIECE)

    def _arrays(self, block):
        pictures = [prepare(moment.picture, self._kinds, self._switch) for moment in block]
        frames = {kind: np.stack([of[kind] for of in pictures]) for kind in pictures[0]}
        return frames, np.stack([moment.audio for moment in block]), np.float32([moment.phi for moment in block])


def exact(function: Any, **fields: Any) -> Any:
    """The function, compiled to compute in float32 on any device; accelerators would round factors to fewer digits."""
    compiled = jax.jit(function, **fields)

    def call(*arguments):
        with jax.default_matmul_precision('highest'):
            return compiled(*arguments)
    return call
