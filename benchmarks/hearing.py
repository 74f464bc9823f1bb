"""What sound does to the maps: the packaged student's and heard_cam's of the same frames with their sound, without, and with another's.

    python -m benchmarks.hearing --clips=DIR --out=docs/real.md

DIR holds clips in folders of their tags. Of every tag the first so many are seen, two frames a second, with their own sound, muted, and
with the sound of a clip of the next tag. The part of the page says how alike the maps are; `--sheet` draws them, to look at.
"""
import argparse
import pathlib
import sys

import numpy as np
import tqdm
from absl import logging

from benchmarks.experiment import replace_part
from stanet_jax import InputError, compilation, scam
from stanet_jax.evaluation.metrics import cc
from stanet_jax.inference.predictor import Predictor
from stanet_jax.inference.training_free import TrainingFree
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.overlay import overlay
from stanet_jax.media.sound import read_sound
from stanet_jax.media.video import read_frames

RATE = 2  # frames a second, as recipe `:real` learns from
METHODS = {'student': lambda: Predictor('default'), 'heard_cam': lambda: TrainingFree('heard_cam')}
OTHERS = {'muted': 'without sound', 'another': "with another tag's sound"}


def chosen_clips(folder, count):
    """The first `count` files of every folder of a tag, [[path] of each tag]."""
    tags = sorted(path for path in folder.iterdir() if path.is_dir() and any(path.iterdir()))
    if len(tags) < 2:
        raise InputError(f'{folder}: holds no two folders of clips, which are named by their tags')
    return [sorted(tag.iterdir())[:count] for tag in tags]


def maps_by_sound(predictor, frames, own, foreign):
    """The maps [n, h, w] of frames by what is heard beside them."""
    return {name: predictor.maps(frames, wave, RATE).maps for name, wave in (('own', own), ('muted', None), ('another', foreign))}


def differences(first, second):
    """Of maps [n, h, w] of the same frames: CC of each pair, and whether its maximum moves by more than a tenth of the side."""
    likeness = np.array([cc(*pair) for pair in zip(first, second, strict=True)])
    peaks = [np.stack(np.unravel_index(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[1:])) for maps in (first, second)]
    return likeness, np.hypot(*(peaks[0] - peaks[1])) > first.shape[-1] / 10


def compare(clips, methods):
    """What sound does to each method's maps: {method: {other: (CCs, whether the maximum moves)}}, and the rows of a sheet."""
    found, rows = {name: {other: [] for other in OTHERS} for name in methods}, []
    pairs = [(path, strange[k % len(strange)])
             for of, strange in zip(clips, clips[1:] + clips[:1], strict=True) for k, path in enumerate(of)]
    for path, strange in tqdm.tqdm(pairs, 'clips', unit='clip'):
        frames, own, foreign = list(read_frames(path, RATE)), read_sound(path), read_sound(strange)
        cells = []
        for name, predictor in methods.items():
            maps = maps_by_sound(predictor, frames, own, foreign)
            for other in OTHERS:
                found[name][other].append(differences(maps['own'], maps[other]))
            shown = len(frames) // 2
            cells += [(f'{name}, {kind}', overlay(frames[shown], np.float64(scam.min_max(of[shown])))) for kind, of in maps.items()]
        rows.append((f'{path.parent.name}/{path.stem}', cells))
    return {name: {other: [np.concatenate(x) for x in zip(*of, strict=True)] for other, of in of_name.items()}
            for name, of_name in found.items()}, rows


def document(found, clips):
    """The part of the page."""
    lines = [f'Written by `python -m benchmarks.hearing --clips=CLIPS --each={len(clips[0])}`: {sum(map(len, clips))} clips of '
             f'{len(clips)} tags, {RATE} frames a second. The maps of the same frames with their sound and otherwise, by the packaged '
             'student and by `heard_cam`.', '',
             '| maps | | CC with those of its own sound | maximum moves by over a tenth of the side | frames |', '|---|---|---|---|---|']
    for name, of in found.items():
        for other, (likeness, moved) in of.items():
            lines.append(f'| {name} | {OTHERS[other]} | {np.nanmean(likeness):.3f}, of a tenth of the frames below '
                         f'{np.nanquantile(likeness, 0.1):.3f} | {moved.mean():.1%} | {len(moved)} |')
    return '\n'.join(lines)


def main():
    """Predicts, compares, and writes the part of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--clips', type=pathlib.Path, required=True, help='folder with a folder of clips for each tag')
    parser.add_argument('--each', type=int, default=3, help='clips of each tag')
    parser.add_argument('--sheet', type=pathlib.Path, help='picture of the middle frame of each clip with its maps')
    parser.add_argument('--out', type=pathlib.Path, help='Markdown page whose part "Sound" is replaced')
    args = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    compilation.prepare()
    try:
        clips = chosen_clips(args.clips, args.each)
        found, rows = compare(clips, {name: make() for name, make in METHODS.items()})
    except (InputError, OSError) as error:
        sys.exit(f'error: {error}')
    if args.sheet:
        contact_sheet(args.sheet, rows, across=1)
    text = document(found, clips)
    print(text)
    if args.out:
        replace_part(args.out, 'Sound', text)


if __name__ == '__main__':
    main()
