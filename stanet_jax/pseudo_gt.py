"""Pseudo-fixations: the coarse SCAM of S, SA and ST for every frame of a data set (TPAMI Sec. 3.1, 3.2)."""
import functools
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import tqdm

from stanet_jax import InputError, checkpoint, classification, scam
from stanet_jax.data import fragments
from stanet_jax.models import classifiers


def coarse_maps(variables, batch, *, models):
    """The SCAM of a batch of fragments (three frames, sound, tags): maps [b, h, w] in [0, 1], weights [b, s]."""
    confidences, cams = [], []
    for source, model in models.items():
        of_source = {**batch, 'frames': batch['frames'] if classifiers.FRAMES[source] == 3 else batch['frames'][:, 1:2]}
        logits, cam = classification.predict(variables[source], of_source, model=model)
        confidences.append(jax.nn.softmax(logits))
        cams.append(cam)
    weights = scam.soft_filter(jnp.stack(confidences, 1), batch['tags'])
    return scam.scam(jnp.stack(cams, 1), weights), weights


def run(config, workdir, out, split):
    """Writes `<out>/<clip>/maps/eyeMap_%05d.png`, 8 bit, at the frames' size, for every clip of the split; clips done are left."""
    clips = classification.open_data(config).get(split)
    if not clips:
        raise InputError(f'--split={split}: the set holds no such clips; give train, validation or test')
    sources = [net for net in config.nets if classifiers.FRAMES[net]]
    models = {s: classification.make_model(config, s, len(clips.categories)) for s in sources}
    variables = {s: checkpoint.load_variables(pathlib.Path(workdir) / s / 'variables') for s in sources}
    maps_of = jax.jit(functools.partial(coarse_maps, models=models))
    out, empty, written = pathlib.Path(out), 0, 0
    for index, clip in enumerate(tqdm.tqdm(clips.clips, 'SCAM', unit='clip', mininterval=1)):
        folder = out / (clip['id'] if sum(c['id'] == clip['id'] for c in clips.clips) == 1 else f'{clip["id"]}_{index}') / 'maps'
        if folder.exists():
            continue
        maps = []
        for start in range(0, clip['frames'], config.batch):
            # Beyond the clip's end `fragment` repeats its last frame, so that every batch is of one size.
            examples = [fragments.fragment(clips, index, k, 3, True) for k in range(start, start + config.batch)]
            batch = {k: np.stack([e[k] for e in examples]) for k in examples[0]}
            maps.append(maps_of(variables, batch)[0])
        maps = np.concatenate(maps)[:clip['frames']]
        empty += int((maps.max(axis=(1, 2)) == 0).sum())
        written += len(maps)
        write(folder, maps, config.data.side)
    print(f'wrote {written} maps to {out}; {empty} of them empty, as no source was sure of the tag')


def write(folder, maps, side):
    """Writes maps [t, h, w] in [0, 1] as PNGs of `side` pixels into `folder`, which appears when all are there."""
    temporary = folder.with_name(f'.maps.{os.getpid()}')
    try:
        temporary.mkdir(parents=True)
        for t, map_ in enumerate(maps):
            picture = PIL.Image.fromarray(np.float32(map_)).resize((side, side), PIL.Image.Resampling.BILINEAR)
            PIL.Image.fromarray(np.uint8(np.round(255 * np.asarray(picture).clip(0, 1)))).save(temporary / f'eyeMap_{t + 1:05d}.png')
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
