"""Prediction by trained students on a stream of moments, in which every net encodes each moment once (TPAMI Sec. 5).

A moment is a frame with the second of sound around it. Moments go through the three steps of `blocks` in blocks of one size, for which
each step is compiled once. The second and the third step also need the blocks before and after, so that the third is two blocks behind
the first.
"""
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray
from stanet_jax.data.fragments import GUARD
from stanet_jax.inference.blocks import blend_block, encode_block, reason_block
from stanet_jax.inference.films import Maps, film_maps
from stanet_jax.inference.runs import load_nets
from stanet_jax.media.moments import Moment, moments_of_frames
from stanet_jax.stages.nets import front_end
from stanet_jax.stages.students import FINAL_FUSIONS, STUDENTS
from stanet_jax.training import sharding

T = TypeVar('T')
BLOCK = 8  # the number of moments of a block is a multiple of this, and at least twice this
LARGEST_BLOCK = 128  # and at most this: above 340 frames a second, fragments lie only as far away as the neighbouring blocks reach
BANK, SPACING = 10, 1.0  # long-term fragments: how many moments of the past are kept, and the seconds between them


# ---------------------------------------------------------------------------------------------- which moments go together


def nearest_times(times: Float[np.ndarray, ' n'], wanted: Float[np.ndarray, '*k']) -> Int[np.ndarray, '*k']:
    """The places of the times that are nearest to the wanted ones; places without a moment have the time inf and are never chosen."""
    return np.abs(times - wanted[..., None]).argmin(axis=-1)


def far_times(times: Float[np.ndarray, ' n'], moment: float, least: float, count: int) -> Int[np.ndarray, ' k']:
    """The places of `count` times that are further than `least` seconds from a moment, evenly spread over time; else the furthest ones.

    The first BANK places, which are the bank's, have precedence. Places without a moment have the time inf and are never chosen; fewer
    moments than `count` are repeated.
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


def kept_places(times: Float[np.ndarray, ' n'], targets: Int[np.ndarray, ' b']) -> list[int]:
    """The places of the moments that the next bank holds, BANK at most: the last ones, at least SPACING seconds apart.

    Args:
        times: in seconds, those of the bank first; inf where there is no moment.
        targets: places of the moments of the block.
    """
    keep = np.flatnonzero(np.isfinite(times[:BANK])).tolist()
    for k in targets.tolist():
        if not keep or times[k] >= times[keep[-1]] + SPACING:
            keep.append(k)
    return keep[-BANK:]


def with_neighbours(items: Iterator[T]) -> Iterator[tuple[T | None, T, T | None]]:
    """Yields (before, this, after) for each item, None before the first and after the last."""
    before, this = None, next(items, None)
    while this is not None:
        after = next(items, None)
        yield before, this, after
        before, this = this, after


def split_blocks(moments: Iterator[Moment], size: int) -> Iterator[list[Moment]]:
    """Yields lists of `size` moments, fewer in the last one."""
    return iter(lambda: list(itertools.islice(moments, size)), [])


def block_size(reach: float) -> int:
    """The number of moments in a block, a multiple of the number of devices, of which the furthest that belong together are `reach` apart.

    It is such that these lie in one block or in neighbouring ones, as far as LARGEST_BLOCK allows.
    """
    return sharding.padded(int(np.clip(BLOCK * np.ceil(reach / BLOCK), 2 * BLOCK, LARGEST_BLOCK)))


def fitting_groups(places: Int[np.ndarray, 'n k'], size: int) -> Iterator[Int[np.ndarray, '_n k']]:
    """Yields the rows of frames' places in groups, in order, as large as they can be with `size` different frames to a group at most."""
    while len(places):
        count = max(n for n in range(1, len(places) + 1) if len(np.unique(places[:n])) <= size)
        yield places[:count]
        places = places[count:]


def block_times(before: Sequence | None, this: Sequence, after: Sequence | None, size: int) -> Float[np.ndarray, ' n']:
    """The times of three blocks of `size` moments, inf where there is none; of each block the first item is the list of its moments."""
    times = [[moment.time for moment in block[0]] if block else [] for block in (before, this, after)]
    return np.concatenate([np.pad(np.asarray(t, np.float64), (0, size - len(t)), constant_values=np.inf) for t in times])


def padded_to(size: int, arrays: Any) -> Any:
    """A tree of arrays, all but uint8 as float32, padded with zeros to `size` along the first axis."""
    return jax.tree.map(lambda x: np.pad(x.astype(x.dtype if x.dtype == np.uint8 else np.float32),
                                         [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1)), arrays)


@functools.partial(jax.jit, static_argnums=1)
def _join(parts, size):
    return jax.tree.map(lambda *x: jnp.concatenate(x)[:size], *parts)


# --------------------------------------------------------------------------------------------------------------- the students


class Bank(NamedTuple):
    """Moments that STA+ long takes fragments from, beside those around the target.

    Attributes:
        nodes: of STA+, by net, [BANK, h, w, 28]; None before there are any.
        times: in seconds; inf where there is no moment.
    """
    nodes: Any
    times: Float[np.ndarray, ' bank']


class Predictor:
    """Trained students with their audio switch, ready to predict fixation maps.

    Attributes:
        side: of the frames that the students take and of their maps, in pixels.
        rate: frames per second of their training: the neighbouring frames that they see are 1 / rate seconds away; 0 for a video's own.
        front_end: which of `sound.FRONT_ENDS` makes what they hear.
        names: of the maps that are made; the last one is the prediction.
        hears: whether the maps depend on sound.
    """
    hears = True
    _offsets: tuple[int, ...] = (-1, 0, 1)  # of the moments that are blended, in steps of 1 / rate

    def __init__(self, *runs: str | os.PathLike, side: int = 0):
        """Loads students from the folder of a run with one or with all three of them, or from several runs.

        `RUN/STA_short` stands for one net of a run. Frames are `side` pixels wide and high; 0 takes what the first run's config says,
        its `predict_side` or else that of its training.

        Raises:
            InputError: there is no such run, the weights do not fit its config, or it is neither one student nor the three.
        """
        if jax.process_count() > 1:
            raise InputError('--processes: prediction is one process on all its devices; start one for each share of the videos')
        nets = load_nets(runs)
        self.side: int = side or nets.config.get('predict_side', 0) or nets.config.data.side
        self.rate = float(nets.config.data.rate)
        self.front_end = front_end(nets.config)
        three = len(nets.models) == len(STUDENTS)
        self.names: tuple[str, ...] = (*nets.models, *(sorted(FINAL_FUSIONS, key=nets.fusion.__eq__) if three else ()))
        self._count = nets.fragments
        self._mesh = sharding.make_mesh()
        self._whole = sharding.replicated(self._mesh)
        self._variables = jax.device_put(nets.variables, self._whole)
        self._encode = jax.jit(functools.partial(encode_block, nets=nets))
        self._blend = jax.jit(functools.partial(blend_block, nets=nets, side=self.side))
        self._reason = jax.jit(functools.partial(reason_block, nets=nets, side=self.side), out_shardings=self._whole)

    def block(self, fps: float) -> int:
        """The number of moments in a block for a video of `fps` frames per second, see `block_size`: short-term fragments are 3 apart."""
        return block_size(3 * fps / (self.rate or fps))

    def maps(self, video: str | os.PathLike | Iterable[UInt8[np.ndarray, '_ _ 3']], sound: Float[np.ndarray, ' m'] | None = None,
             fps: float = 25.0) -> Maps:
        """The fixation maps of a whole video, in memory.

        Args:
            video: path of a file that FFmpeg reads, with its sound; or RGB frames, as an array [n, h, w, 3] or one after the other.
            sound: of frames, in [-1, 1], mono, 16 kHz; None for a silent video.
            fps: of frames, per second; a file has its own time stamps.
        Returns:
            The last of `names`: the one student's maps, or the fusion of the three.
        Raises:
            InputError: the file cannot be read, or a sound is given besides a file.
        """
        return film_maps(self, video, sound, fps)

    def predict_blocks(self, moments: Iterator[Moment], fps: float = 25.0,
                       bank: Bank | None = None) -> Iterator[tuple[list[Moment], dict[str, AnyArray]]]:
        """Yields (moments, {name: their maps}) of a video, a block at a time; the maps are in [0, 1] and stay on the device.

        Args:
            moments: of the video, in order.
            fps: the approximate number of moments in a second.
            bank: where long-term fragments are taken from, see `whole_film_bank`. By default from the past, as on a stream;
                while it has too few, from the three blocks around a moment.
        """
        size, rate = self.block(fps), self.rate or fps
        blocks = split_blocks(moments, size)
        seen = ((block, self._encoded(block, size)) for block in blocks)
        blended = (self._blended(*three, size, rate) for three in with_neighbours(seen))
        whole, (nodes_kept, kept) = bank is not None, bank or Bank(None, np.full(BANK, np.inf))
        for before, this, after in with_neighbours(blended):
            block, of_block, nodes = this
            if nodes_kept is None:
                nodes_kept = self._empty_bank(nodes)
            times = np.concatenate([kept, block_times(before, this, after, size)])
            targets = BANK + size + np.minimum(np.arange(size), len(block) - 1)  # the last block is filled up with its last moment
            three = tuple((of or this)[2] for of in (before, this, after))  # at the ends a block stands for its missing neighbour
            keep = np.arange(BANK) if whole else kept_places(times, targets[:len(block)])
            maps, nodes_kept = self._reason(self._variables, of_block, three, nodes_kept, *self._others(times, targets, rate),
                                      np.pad(keep, (0, BANK - len(keep))))
            kept = np.pad(times[keep], (0, BANK - len(keep)), constant_values=np.inf)
            yield block, {name: x[:len(block)] for name, x in maps.items()}

    def whole_film_bank(self, frame: Callable[[int], UInt8[np.ndarray, '_ _ 3']], frames: int, wave: Float[np.ndarray, ' m'] | None,
                        fps: float) -> Bank:
        """The bank of a whole video, of BANK moments spread evenly over it, from which fragments were drawn while the students learned.

        Args:
            frame: gives frame k of the video.
            frames: how many it has.
            wave: its sound, in [-1, 1], mono, 16 kHz; None for a silent video.
            fps: frames per second.
        """
        chosen, clock = np.unique((2 * np.arange(BANK) + 1) * frames // (2 * BANK)), self._clock(fps)
        places = np.clip(chosen[:, None] + round(clock / (self.rate or clock)) * np.array(self._offsets), 0, frames - 1)
        size, found = self.block(fps), []
        for group in fitting_groups(places, size):
            seen, near = np.unique(group, return_inverse=True)
            moments = moments_of_frames(map(frame, seen.tolist()), wave, fps, self.side, self.front_end, seen.tolist())
            near = np.pad(size + near.reshape(group.shape), [(0, size - len(group)), (0, 0)], 'edge')
            nodes = self._blend(self._variables, (self._encoded(list(moments), size),) * 3, near)
            found.append({net: x[:len(group)] for net, x in nodes.items() if net != 'STA'})
        nodes = jax.tree.map(lambda *x: jnp.pad(jnp.concatenate(x), [(0, BANK - len(chosen))] + [(0, 0)] * (x[0].ndim - 1)), *found)
        return Bank(jax.device_put(nodes, self._whole), np.pad(chosen / clock, (0, BANK - len(chosen)), constant_values=np.inf))

    def predict_pictures(self, pictures: Iterable[UInt8[np.ndarray, '_ _ 3']]) -> Iterator[dict[str, Float[np.ndarray, 'side side']]]:
        """Yields {name: map in [0, 1]} of each of some pictures, which have nothing to do with each other; blocks of them go through.

        It is what a silent video of this one frame has: the picture stands for its neighbours in time, and for the other fragments.
        """
        rate = self.rate or 1.0  # of which nothing is seen in one picture
        size = self.block(rate)
        places = np.arange(size)[:, None]
        own = np.broadcast_to(BANK + size + places, (size, self._count))
        for block in split_blocks(moments_of_frames(pictures, None, rate, self.side, self.front_end), size):
            seen = self._encoded(block, size)
            nodes = self._blend(self._variables, (seen,) * 3, np.broadcast_to(size + places, (size, len(self._offsets))))
            maps, _ = self._reason(self._variables, seen, (nodes,) * 3, self._empty_bank(nodes), own, own, np.zeros(BANK, int))
            maps = {name: np.asarray(of_name) for name, of_name in maps.items()}
            yield from ({name: maps[name][k] for name in self.names} for k in range(len(block)))

    def _clock(self, fps):
        """How many moments the times of `predict_blocks` count to a second, of a video of `fps` frames per second."""
        return fps

    def _empty_bank(self, nodes):
        """The bank of nodes before a video, as `reason_block` takes it."""
        bank = {net: jnp.zeros((BANK, *x.shape[1:]), x.dtype) for net, x in nodes.items() if net != 'STA'}
        return jax.device_put(bank, self._whole)

    def _others(self, times, targets, rate):
        """The places of the n short-term and of the n long-term fragments of each target, chosen as in `fragments.sample_fragments`."""
        steps = [(-1) ** (j + 1) * 3 * (j // 2 + 1) / rate for j in range(self._count)]
        short = BANK + nearest_times(times[BANK:], times[targets, None] + np.array(steps))
        least = (GUARD + 1) / rate + 1e-6
        return short, np.stack([far_times(times, times[k], least, self._count) for k in targets])

    def _encoded(self, block, size):
        """What `encode_block` gives of a block, a few moments at a time; it is filled up to `size` by repetition."""
        few = self._together(size)
        found = [self._encode(self._variables, *sharding.put(padded_to(few, self._arrays(block[k:k + few])), self._mesh))
                 for k in range(0, len(block), few)]
        return _join(found + found[-1:] * (-(-size // few) - len(found)), size)

    def _together(self, size):
        """How many moments of a block of `size` the encoders see at once."""
        return sharding.together(size, self.side)

    def _arrays(self, block):
        """The arrays of a block that `encode_block` takes: frames, audio and phi."""
        return [np.stack(x) for x in zip(*(moment[1:4] for moment in block), strict=True)]

    def _blended(self, before, this, after, size, rate):
        """The moments of the block `this`, its features, and what `blend_block` gives of it; blocks are pairs of the former two."""
        times = block_times(before, this, after, size)
        target = times[size + np.minimum(np.arange(size), len(this[0]) - 1)]
        triples = nearest_times(times, target[:, None] + np.array(self._offsets) / rate)
        return *this, self._blend(self._variables, tuple((of or this)[1] for of in (before, this, after)), triples)
