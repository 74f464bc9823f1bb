"""The features of frozen encoders, computed once for every frame of a prepared set and kept beside its records.

    <records>/features/<encoders>/<split>/<first record of the clip>.safetensors     float16

Beside the features of pictures and sounds stands the `contrast` of each frame, see `stanet_jax.contrast`.

They lie in the folder of the records that they are of, and go with it. Other weights and other boxes have folders of their own. A clip's
file appears when it is complete; what is there is not computed again.
"""
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from ml_collections import ConfigDict

from stanet_jax import scam
from stanet_jax.contrast import contrast
from stanet_jax.data import annotations
from stanet_jax.data.annotations import Annotations
from stanet_jax.data.clips import Clips
from stanet_jax.data.features import LEVELS, Features
from stanet_jax.data.stretches import iterate_stretches, stretches
from stanet_jax.models import backbones
from stanet_jax.stages.nets import encoder_weights, front_end, weights_place
from stanet_jax.training import sharding
from stanet_jax.workdir import WRITING, write_missing

STRETCH = 16  # frames that a device encodes at once


def with_features(config: ConfigDict, splits: Mapping[str, Clips], boxes: str | os.PathLike = '') -> dict[str, Clips]:
    """The clips with the features of a config's encoders, where these are frozen, for the nets to see in place of frames and sounds.

    What is missing is computed, by all processes of a run together.

    Args:
        config: of the nets.
        splits: clips by split.
        boxes: folder of maps to whose boxes the nets' frames are cropped; '' for whole frames. Only splits that have such maps are given.
    Raises:
        InputError: the weights of an encoder are missing.
    """
    if not config.encoder.get('frozen'):
        return dict(splits)
    result = {}
    for split, clips in splits.items():
        if boxes and not (pathlib.Path(boxes) / split).exists():
            continue
        whole = features_of(config, clips)
        result[split] = clips.with_features(features_of(config, clips, boxes) if boxes else whole, whole)
    return result


def features_of(config: ConfigDict, clips: Clips, boxes: str | os.PathLike = '') -> Features:
    """The features of one split's whole frames, or of their crops to boxes; what is missing of them is computed. See `with_features`."""
    encoders = config.encoder, config.audio_encoder
    name = '_'.join([*(of.name for of in encoders), digest(repr([digest_of_files(weights_place(of)) for of in encoders]).encode())])
    if boxes:
        name += f'_{digest(np.array([box for clip in annotations.manifest(boxes, clips, "box") for box in clip], np.float32).tobytes())}'
    result = Features(clips.folder / 'features' / name / clips.split, bool(boxes))
    files = [result.path(clip) for clip in clips.clips]
    if not all(file.exists() for file in files) or any(result.folder.glob(f'{WRITING}*')):  # the latter of a killed process
        make = functools.partial(encode_clips, config, clips, boxes)
        write_missing(result.folder, [file.name for file in files], [clip['frames'] for clip in clips.clips], make, 'frame')
    return result


def digest(content: bytes) -> str:
    """A short name of what bytes hold."""
    return hashlib.sha256(content).hexdigest()[:12]


def digest_of_files(place: pathlib.Path) -> str:
    """A short name of what is in a file, or in the files of a folder, by which weights are the same wherever they lie."""
    files = [place] if place.is_file() else sorted(path for path in place.rglob('*') if path.is_file())
    return _digest_of_files(tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files))


@functools.lru_cache
def _digest_of_files(files):
    found = hashlib.sha256()
    for path, _, _ in files:
        with open(path, 'rb') as file:
            found.update(hashlib.file_digest(file, 'sha256').digest())
    return found.hexdigest()[:12]


def encode_clips(config: ConfigDict, clips: Clips, boxes: str | os.PathLike, chosen: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Yields (clip, `write(path)`) of the chosen clips, see `workdir.write_missing`."""
    inner = {'inner': True} if 'C2' in backbones.contrast_levels(config.encoder.name) else {}
    encoders = {'encoder': backbones.create(config.encoder.name, **inner), 'audio_encoder': backbones.create(config.audio_encoder.name)}
    variables = {part: encoder_weights(config[part]) for part in encoders}
    encode = sharding.on_local_devices(functools.partial(encode_stretch, encoders=encoders, name=config.encoder.name, crops=bool(boxes)),
                                       variables)
    items, devices = stretches(clips, chosen, STRETCH), jax.local_device_count()
    batches = iterate_stretches(clips, Annotations(clips, boxes=boxes), items, STRETCH, devices, config.data.workers, front_end(config))
    parts: list[dict[str, np.ndarray]] = []
    for number, batch in enumerate(batches if items else ()):
        found = jax.device_get(encode(batch))
        for i, (clip, start) in enumerate(items[number * devices:(number + 1) * devices]):
            frames = clips.clips[clip]['frames']
            parts.append({name: x[i, :frames - start] for name, x in found.items()})
            if start + STRETCH >= frames:
                whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                yield clip, functools.partial(safetensors.numpy.save_file, whole)
                parts = []


def encode_stretch(variables: Mapping[str, Any], batch: Mapping[str, Any], *, encoders: Mapping[str, Any], name: str,
                   crops: bool) -> dict[str, jax.Array]:
    """The features, float16, of b stretches of n frames.

    Args:
        variables: of the encoders.
        batch: see `stretches.read_stretch`.
        encoders: the modules `encoder`, of images, and `audio_encoder`.
        name: of the image encoder.
        crops: whether each frame and its two neighbours are cropped to its box.
    Returns:
        `embedding`, and `logits` where there are any, [b, n, d]; `C3`, `C4` and `C5`, [b, n, h, w, c], and `contrast` [b, n, h2, w2]; of
        crops `C5` alone, [b, n, 3, h, w, c].
    """
    b, n = batch['boxes'].shape[:2]
    frames, lead = batch['frames'][:, 1:-1], [b, n]
    if crops:
        frames, lead = crop_triples(batch['frames'], batch['boxes']), [b, n, 3]
    x = backbones.normalise(name, frames.reshape(-1, *frames.shape[-3:]))
    seen = encoders['encoder'].apply(variables['encoder'], x)
    found = {level: seen[level].reshape(*lead, *seen[level].shape[1:]) for level in (('C5',) if crops else LEVELS)}
    if not crops:
        maps = contrast([seen[level] for level in backbones.contrast_levels(name)], frames.shape[-2] // 4)
        found['contrast'] = maps.reshape(b, n, *maps.shape[1:])
    heard = encoders['audio_encoder'].apply(variables['audio_encoder'], batch['audio'].reshape(b * n, *batch['audio'].shape[2:]))
    found |= {key: heard[key].reshape(b, n, -1) for key in ('embedding', 'logits') if key in heard}
    return {key: x.astype(jnp.float16) for key, x in found.items()}


def crop_triples(frames: jax.Array, boxes: jax.Array) -> jax.Array:
    """Each frame and its neighbours, cropped to the frame's box: [b, n + 2, h, w, 3] and [b, n, 4] -> float32 [b, n, 3, h, w, 3]."""
    n, shape = boxes.shape[1], frames.shape[2:4]

    def triples(frames, boxes):
        neighbours = jnp.stack([frames[k:k + n] for k in range(3)], axis=1)
        cut = jax.vmap(jax.vmap(functools.partial(scam.crop, shape=shape), in_axes=(0, None)))
        return cut(neighbours.astype(jnp.float32), boxes)

    return jax.vmap(triples)(frames, boxes)
