"""Makes films of the fixation sets' own videos, with tags that somebody gives them, to train on (TPAMI Table 9).

    <out>/<set>/<video>.mp4    the video's frames and sound
    <out>/clips.csv            file, tag, source_video, split, as `data.folders` reads it

The tags stand in a CSV file with the columns `set`, `video`, `tag` (several with semicolons between) and, if it has one, `split`. The
paper trains on 168 of its 241 videos; which, and their tags, are not published. A film that is there already is kept.
"""
import csv
import io
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tqdm

from stanet_jax import InputError
from stanet_jax.data.lists import read_text
from stanet_jax.evaluation.fixations import FPS, Video, highest_number, list_folders, normalise_name
from stanet_jax.media.film import write_film
from stanet_jax.workdir import replace_text, scratch_path

COLUMNS = ('set', 'video', 'tag')


class Tagged(NamedTuple):
    """A line of the CSV file: a video of a set, its tags as they stand there, and its split, '' where it is to be drawn."""
    set_name: str
    video: str
    tag: str
    split: str


def read_tags(path: str | os.PathLike) -> list[Tagged]:
    """The lines of the CSV file; InputError where it cannot be read, lacks a column, or a line lacks a value or stands twice."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(pathlib.Path(path)))))
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}; it should have the columns {", ".join(COLUMNS)}') from None
    if not rows or not set(COLUMNS) <= rows[0].keys():
        raise InputError(f'{path}: needs the columns {", ".join(COLUMNS)}, and a line for each video')
    found = []
    for number, row in enumerate(rows, 2):
        values = [(row[column] or '').strip() for column in COLUMNS]
        if not all(values):
            raise InputError(f'{path}, line {number}: lacks its {COLUMNS[values.index("")]}; fill it in')
        found.append(Tagged(values[0], normalise_name(values[1]), values[2], (row.get('split') or '').strip()))
    if len({(of.set_name, of.video) for of in found}) < len(found):
        raise InputError(f'{path}: a video stands there twice; several tags of one have semicolons between')
    return found


def read_rates(root: pathlib.Path, name: str) -> dict[str, float]:
    """The frames a second of a set's videos, of all its fold lists, those to train on, too; lines that are none are left out."""
    rates = {}
    for path in sorted((root / 'fold_lists').glob(f'{name}_list_*_fps.txt')):
        for line in read_text(path).split('\n'):
            fields = re.fullmatch(r'\s*(.*\S)\s+\d+\s+(\d+\.?\d*)\s*', line)
            if fields and float(fields[2]) > 0:
                rates[normalise_name(fields[1])] = float(fields[2])
    return rates


def find_videos(root: pathlib.Path, name: str) -> dict[str, Video]:
    """All videos of a set that have frames, whatever its fold lists say: {name: video}."""
    rates, sounds, found = read_rates(root, name), list_folders(root / 'video_audio' / name), {}
    for video, folder in list_folders(root / 'video_frames' / name).items():
        sound = sounds.get(video, root / 'video_audio' / name / video)
        frames = highest_number(folder, r'img_(\d+)\.jpg')
        found[video] = Video(video, frames, rates.get(video, FPS), folder, root / 'annotations' / name / video, sound / f'{sound.name}.wav')
    return found


def convert(root: str | os.PathLike, tags: str | os.PathLike, out: str | os.PathLike) -> list[str]:
    """Writes the film of every tagged video that is not there yet, and `clips.csv`; returns a line on each that is skipped.

    Args:
        root: folder of the fixation sets.
        tags: the CSV file.
        out: folder to write.
    Raises:
        InputError: the CSV file cannot be used, or not one of its videos.
    """
    out, listed = pathlib.Path(out), read_tags(tags)
    videos = {name: find_videos(pathlib.Path(root), name) for name in dict.fromkeys(of.set_name for of in listed)}
    written, skipped = [], []
    for of in tqdm.tqdm(listed, 'films', unit='video', mininterval=1):
        try:
            written.append(_write(of, videos, out))
        except InputError as error:
            skipped.append(f'{of.set_name}, {of.video}: {error}')
    if not written:
        raise InputError(f'--root={root}: has none of the videos in {tags}; the first one: {skipped[0]}')
    _write_table(out / 'clips.csv', written)
    return skipped


def _write(of: Tagged, videos: Mapping[str, Mapping[str, Video]], out: pathlib.Path) -> tuple[str, Tagged]:
    video = videos[of.set_name].get(of.video)
    if video is None or not video.frames:
        raise InputError('no frames of it are there; fetch video_frames of its set')
    path = out / of.set_name / f'{of.video}.mp4'
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = scratch_path(path)
        try:
            write_film(new, map(video.frame, range(video.frames)), video.wave(), video.fps)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    return os.fspath(path.relative_to(out)), of


def _write_table(path: pathlib.Path, written: Sequence[tuple[str, Tagged]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['file', 'tag', 'source_video', 'split'])
    writer.writerows([file, of.tag, f'{of.set_name}/{of.video}', of.split] for file, of in written)
    replace_text(path, text.getvalue())
