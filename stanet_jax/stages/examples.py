"""The clips that a stage reads, and the examples that its nets learn from, are measured on or are shown with."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tqdm
from jax.sharding import Mesh
from jaxtyping import Num, UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data import fragments, sets
from stanet_jax.data.annotations import Annotations, labels
from stanet_jax.data.batches import ExampleSource, iterate_batches
from stanet_jax.data.clips import Clips
from stanet_jax.data.preparation import Source
from stanet_jax.models import branch
from stanet_jax.stages.features import with_features
from stanet_jax.stages.nets import front_end
from stanet_jax.training import sharding
from stanet_jax.training.checks import require
from stanet_jax.workdir import barrier

# -------------------------------------------------------------------------------------------------------------------- clips


def check_data(config: ConfigDict) -> None:
    """Checks the fields of a config's data set; InputError for a value that is not allowed, whose message names the field."""
    data = config.data
    require('data.name', data.name, data.name in sets.NAMES, f'must be one of {", ".join(sets.NAMES)}')
    require('data.rate', data.rate, data.rate >= 0, "must be above 0, or 0 for each video's own frames")
    require('data.clip_seconds', data.clip_seconds, data.clip_seconds > 0, 'must be above 0')
    require('data.train_on', data.train_on, data.train_on in sets.TRAIN_ON, f'must be one of {", ".join(sets.TRAIN_ON)}')
    shares = tuple(data.shares)
    require('data.shares', shares, len(shares) == 3 and min(shares) >= 0 and shares[0] > 0 and abs(sum(shares) - 1) < 1e-6,
            'must be the shares of train, validation and test: three numbers, the first above 0, whose sum is 1')
    require('data.split_seed', data.split_seed, data.split_seed >= 0, 'must be 0 or more')
    options = tuple(data.beam_options)
    require('data.beam_options', options, not options or data.beam, "are of Beam's pipeline: name its runner, as data.beam=DirectRunner")


def open_clips(config: ConfigDict, nets: ConfigDict | None = None) -> dict[str, Clips]:
    """The clips of the config's data set by split, see `sets.open_splits`; process 0 prepares them, the others wait.

    They are prepared for the nets of the config, or of another one, `nets`: at its `data.side`, and with the features of its encoders
    where these are frozen, of the crops of `config.boxes` where there are any, see `features.with_features`.
    """
    nets = nets or config
    return with_features(nets, open_frames(config, nets.data.side), config.get('boxes', ''))


def open_frames(config: ConfigDict, side: int) -> dict[str, Clips]:
    """As `open_clips`, without features; frames are `side` pixels wide and high."""
    data = config.data
    return sets.open_splits(data.name, data.root, side, data.rate, data.prepared, clip_seconds=data.clip_seconds,
                            shares=tuple(data.shares), split_seed=data.split_seed, train_on=data.train_on, beam=data.beam,
                            beam_options=tuple(data.beam_options), process=jax.process_index(), wait=barrier)


def find_source(config: ConfigDict) -> Source:
    """The config's data set as its reader finds it, see `sets.find_source`."""
    data = config.data
    return sets.find_source(data.name, data.root, data.clip_seconds, tuple(data.shares), data.split_seed, data.train_on)


def open_training_clips(config: ConfigDict) -> dict[str, Clips]:
    """As `open_clips`; InputError where there is no training split."""
    splits = open_clips(config)
    if 'train' not in splits:
        raise InputError(f'{config.data.root}: no clip to train on; see what was skipped above')
    return splits


def held_out_clips(splits: Mapping[str, Clips]) -> Clips | None:
    """The clips that a training is measured on: the validation split, else the test split, else None."""
    return splits.get('validation') or splits.get('test')


# ----------------------------------------------------------------------------------------------------------------- examples


def cropping(config: ConfigDict) -> dict[str, Any]:
    """How the frames of a config's examples are cropped and mirrored while a net learns: fields of `fragments.Examples`."""
    data = config.data
    for field in ('least_crop', 'centre_crop'):
        require(f'data.{field}', data[field], 0 < data[field] <= 1, 'must be above 0, and 1 at most')
    return {field: data[field] for field in ('least_crop', 'centre_crop', 'mirror')}


def make_examples(config: ConfigDict, net: str, clips: Clips, per_clip: int, open_only: bool = False) -> fragments.Examples:
    """The fragments that a classifier learns from or is measured on, `per_clip` of each clip.

    They are cropped to the boxes of `config.boxes`; SA and STA also get the audio switch's labels of `config.switch`, and with
    `open_only` see those frames alone whose label opens their ear. InputError where there is none.
    """
    source, granularity = branch.parse_net(net)
    switch = config.switch if source in ('SA', 'STA') else ''
    annotations = Annotations(clips, switch, config.boxes) if switch or config.boxes else None
    draw = OpenDraw(labels(switch, clips), per_clip) if switch and open_only else None
    sound = front_end(config) if source in branch.SOUND else ''
    return fragments.Examples(clips, per_clip, branch.FRAMES[source], sound, annotations, draw, len(draw) if draw else 0,
                              granularity=granularity, count=config.get('fragments', 0), **cropping(config))


class OpenDraw:
    """Draws from the frames alone whose label opens the ear, as `fragments.target_frame` does from all: `(index, rng) -> (clip, frame)`."""

    def __init__(self, phi: Sequence[Num[np.ndarray, ' _']], per_clip: int):
        """Takes the labels of the frames of each clip, and how many examples a clip gives in an epoch, 0 for each open frame once."""
        open_frames = [(clip, np.flatnonzero(row)) for clip, row in enumerate(phi)]
        self._parts = [(clip, frames, part, per_clip or len(frames)) for clip, frames in open_frames if len(frames)
                       for part in range(per_clip or len(frames))]
        if not self._parts:
            raise InputError('config.open_only=True: no frame has a label that opens the ear; give --config.open_only=False')

    def __len__(self) -> int:
        return len(self._parts)

    def __call__(self, index: int | np.integer, rng: np.random.Generator | None = None) -> tuple[int, int]:
        """The (clip, frame) of example `index`."""
        clip, frames, part, parts = self._parts[index]
        return clip, int(frames[int((part + (rng.uniform() if rng is not None else 0.5)) * len(frames) / parts)])


def warn_about_short_clips(net: str, clips: Clips, count: int) -> None:
    """Prints, on process 0, where clips are too short or too few for the `count` further fragments that a net takes (TPAMI Sec. 4.2)."""
    source, granularity = branch.parse_net(net)
    short = fragments.describe_shortage(clips, branch.FRAMES[source], granularity, count)
    if short and jax.process_index() == 0:
        print(f'{net}: {short}')


def device_batches(examples: ExampleSource, batch: int, mesh: Mesh) -> Iterator[Mapping[str, AnyArray]]:
    """Yields batches of one pass over the examples, in order and without augmentation, split over the devices of the mesh.

    The last batch is filled up with examples whose `mask` is False.
    """
    for local in iterate_batches(examples, batch=batch, slots=sharding.slots(batch)):
        yield sharding.put(local, mesh)


def predict_examples(predict: Callable[[Variables, Mapping[str, AnyArray]], AnyArray], variables: Variables, examples: ExampleSource, *,
                     batch: int, mesh: Mesh, title: str = '') -> np.ndarray:
    """`predict(variables, batch)` of every example, in order, along the first axis.

    Args:
        predict: a pure function, which is compiled here.
        variables: of a net.
        examples: one pass over them is made.
        batch: how many examples are computed at a time.
        mesh: the devices, see `sharding.make_mesh`.
        title: of the progress bar; '' for none.
    """
    compiled, variables = jax.jit(predict, out_shardings=sharding.replicated(mesh)), jax.device_put(variables, sharding.replicated(mesh))
    batches = tqdm.tqdm(device_batches(examples, batch, mesh), title, -(-len(examples) // batch), unit='batch', mininterval=1,
                        disable=not title)
    return np.concatenate([np.asarray(compiled(variables, of))[:batch] for of in batches])[:len(examples)]


# ----------------------------------------------------------------------------------------------------------------- pictures


def shown_frame(clips: Clips, clip: int) -> int:
    """The frame of a clip that pictures show, at five eighths of its length; counted from 0."""
    return clips.clips[clip]['frames'] * 5 // 8


def shown_picture(examples: fragments.Examples, clip: int) -> UInt8[np.ndarray, 'h w 3']:
    """The frame of a clip that pictures show, RGB, cropped to its box where the examples are."""
    k = shown_frame(examples.clips, clip)
    return fragments.crop_images([examples.clips.image(clip, k)], examples.known(clip, k).get('box', fragments.WHOLE))[0]


def shown_batch(examples: fragments.Examples, chosen: Sequence[int]) -> dict[str, np.ndarray]:
    """A batch of the chosen clips, each at its `shown_frame`."""
    found = [examples.at(clip, shown_frame(examples.clips, clip)) for clip in chosen]
    return {name: np.stack([example[name] for example in found]) for name in found[0]}
