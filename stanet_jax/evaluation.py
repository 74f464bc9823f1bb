"""Scores saliency maps, of a folder or of a checkpoint, on a fixation set; with the ceiling and the floors to read them by."""
import csv
import dataclasses
import io
import itertools
import json
import math
import pathlib
import re

import numpy as np
import PIL.Image
import scipy.ndimage
import tqdm

from stanet_jax import InputError, audio, metrics, protocols, training
from stanet_jax.data import fixation_sets
from stanet_jax.video import Moment

BATCH = 4  # maps that are scored at once; more fall out of a CPU's cache and take twice as long
SOUNDS = ('own', 'muted', 'other')  # that a student hears: the video's, none, another video's
REFERENCES = ('ceiling', 'centre_prior', 'mean_map')  # rows to read others by
COLUMNS = {'auc_judd': 'AUC-J', 'shuffled_auc': 's-AUC', 'nss': 'NSS', 'cc': 'CC', 'sim': 'SIM', 'kl_div': 'KL'}

# ----------------------------------------------------------------------------------------------------------------- scoring


def score(maps_of_video, videos, protocol, name='maps'):
    """Scores the maps of many videos; one that cannot be read is listed and left out.

    Args:
        maps_of_video: `video -> iterable of maps [h', w']`, one for each frame from the first on, drawn one after the other; it
            may raise InputError.
        videos: list of `fixation_sets.Video`, or what has its `name`, `frames`, `fixations(k)` and `density(k)`.
        protocol: a `protocols.Protocol`.
        name: what the progress line calls it.
    Returns:
        A dict of `frames`, how many were scored; `scores` and `undefined`, by metric, the mean and how many frames it leaves out;
        `videos`, a list of the same by video; `failed`, a list of {video, why}.
    Raises:
        InputError: not one video could be scored.
    """
    return score_all(lambda video: ({name: map_} for map_ in maps_of_video(video)), videos, protocol, name)[name]


def score_all(maps_of_video, videos, protocol, name):
    """`score` of several sources at once: `maps_of_video` gives {source: map} of each frame -> {source: results}."""
    tables, failed = {}, []
    total = sum(max(video.frames - protocol.first, 0) for video in videos)
    with tqdm.tqdm(total=total, desc=name, unit='frame', mininterval=1) as progress:
        for number, video in enumerate(videos):
            try:
                for source, table in score_video(maps_of_video(video), video, protocol, number, progress).items():
                    tables.setdefault(source, {})[video.name] = table
            except (InputError, OSError) as error:
                failed.append({'video': video.name, 'why': str(error)})
    if not tables:
        raise InputError(f'{name}: no video could be scored; the first one: {failed[0]["why"] if failed else "there is none"}')
    return {source: {**summary(list(of.values()), protocol), 'failed': failed,
                     'videos': [{'video': video, **summary([table], protocol)} for video, table in of.items()]}
            for source, of in tables.items()}


def summary(tables, protocol):
    """Scores of each frame of some videos, a list of {metric: [n]} -> `frames`, `scores`, `undefined`, see `score`."""
    return {'frames': sum(len(table['nss']) for table in tables),
            'scores': {metric: protocol.average([table[metric] for table in tables]) for metric in metrics.METRICS},
            'undefined': {metric: int(sum(np.isnan(table[metric]).sum() for table in tables)) for metric in metrics.METRICS}}


def score_video(maps, video, protocol, number, progress):
    """The scores of a video's frames from the protocol's first on, {source: {metric: [n]}}, of {source: map} of each of its frames.

    Its `number` seeds the draws.
    """
    if video.frames <= protocol.first:
        raise InputError(f'{video.name}: has {video.frames} frames; the protocol scores from frame {protocol.first + 1} on')
    fixated, shape = read_fixations(video)
    negatives, results, count = protocol.negatives(fixated), {}, 0
    maps = itertools.islice(maps, protocol.first, None)
    while batch := list(itertools.islice(maps, BATCH)):
        start, count = protocol.first + count, count + len(batch)
        if protocol.first + count > video.frames:
            break
        # The last batch is filled up, so that one size is compiled.
        frames = [start + min(i, len(batch) - 1) for i in range(BATCH)]
        density = np.stack([read_density(video, k, shape) for k in frames])
        rows = metrics.targets([fixated[k] for k in frames], [negatives(k) for k in frames], seeds=[(number, k) for k in frames])
        for source in batch[0]:
            of = [maps_of_frame[source] for maps_of_frame in batch]
            prepared = protocol.prepare(stack(of + of[-1:] * (BATCH - len(batch)), video), shape)
            # Min-maxed, a map is below zero only where resizing overshoots.
            scores = metrics.score_batch(prepared, density, **rows, signed=False)
            results.setdefault(source, []).append({metric: x[:len(batch)] for metric, x in scores.items()})
        progress.update(len(batch))
    if protocol.first + count != video.frames:
        raise InputError(f'{video.name}: the number of maps is not {video.frames}, that of its frames')
    return {source: {metric: np.concatenate([r[metric] for r in of]).astype(np.float64) for metric in metrics.METRICS}
            for source, of in results.items()}


def stack(maps, video):
    maps = [np.asarray(m, np.float32) for m in maps]
    if maps[0].ndim != 2 or any(m.shape != maps[0].shape for m in maps) or not all(np.isfinite(m).all() for m in maps):
        raise InputError(f'{video.name}: its maps must be [h, w] of one size and finite; make them again')
    return np.stack(maps)


def read_fixations(video):
    """The flat indices of each frame's fixated pixels, a list, none where they are missing; and the shape (h, w) of the frames."""
    fixated, shape = [], None
    for k in range(video.frames):
        fixations = video.fixations(k)
        if fixations is not None and shape not in (None, fixations.shape):
            raise InputError(f'{video.name}, frame {k + 1}: fixations of {fixations.shape} after some of {shape}; fetch it again')
        shape = shape if fixations is None else fixations.shape
        fixated.append(np.zeros(0, np.int64) if fixations is None else np.flatnonzero(fixations))
    if shape is None:
        raise InputError(f'{video.name}: has no fixations at all; fetch its annotations')
    return fixated, shape


def read_density(video, k, shape):
    density = video.density(k)
    if density is None:
        return np.zeros(shape, np.float32)  # zero mass: undefined
    if density.shape != shape:
        raise InputError(f'{video.name}, frame {k + 1}: density of {density.shape}, fixations of {shape}; fetch it again')
    return np.float32(density)


# --------------------------------------------------------------------------------------------------------- where maps are from


def map_files(folder):
    """A video's maps in order of their numbers: `<folder>/maps/eyeMap_%05d.png` (or jpg), or whatever images are in the folder."""
    inside = [path for path in (folder / 'maps').glob('eyeMap_*') if path.suffix in ('.png', '.jpg')]
    inside = inside or [path for path in folder.iterdir() if path.suffix.lower() in ('.png', '.jpg', '.jpeg')]
    return sorted(inside, key=lambda path: [int(x) if x.isdecimal() else x for x in re.split(r'(\d+)', path.name)])


def match(folder, videos):
    """A folder of maps and the videos of a set: ({video name: files}, lines that tell what does not match)."""
    if not pathlib.Path(folder).is_dir():
        raise InputError(f'--maps={folder}: no such folder; give the one that holds <video>/maps/eyeMap_%05d.png')
    there, files, lines = fixation_sets.folders(pathlib.Path(folder)), {}, []
    for video in videos:
        found = map_files(there[video.name]) if video.name in there else []
        if len(found) == video.frames:
            files[video.name] = found
        else:
            lines.append(f'{video.name}: {len(found)} maps for {video.frames} frames' if found else f'{video.name}: no maps')
    known = {video.name for video in videos}
    lines += [f'{name}: maps, but not in the set' for name in there if name not in known]
    if not files:
        raise InputError(f'--maps={folder}: the maps of no video match the set; the first: {lines[0]}')
    return files, lines


def maps_of_folders(folders, videos):
    """The maps of folders {name: folder} as `score_all` takes them, the videos that each has all maps of, and lines on what does not match.
    """
    found = {name: match(folder, videos) for name, folder in folders.items()}
    files, lines = {name: of for name, (of, _) in found.items()}, [line for _, of in found.values() for line in of]

    def maps_of_video(video):
        for paths in zip(*(of[video.name] for of in files.values()), strict=True):
            yield {name: fixation_sets.read_image(path, 'L') for name, path in zip(files, paths, strict=True)}
    return maps_of_video, [video for video in videos if all(video.name in of for of in files.values())], lines


def maps_by_checkpoint(predictor, videos, sound='own'):
    """What students make of a video's frames, for `score_all`; a few frames at a time are in memory.

    Args:
        predictor: a `predictor.Predictor`.
        videos: the set's.
        sound: 'own'; 'muted', as if the video had none; 'other', that of the next video in the list.
    Returns:
        `video -> generator of {name: map [side, side]}`, the names those of the predictor.
    """
    following = {video.name: after for video, after in zip(videos, videos[1:] + videos[:1], strict=True)}

    def moments(video):
        wave = {'own': video.wave, 'other': following[video.name].wave, 'muted': lambda: None}[sound]()
        heard, spectrogram = wave is not None and len(wave) > 0, np.zeros((257, 98), np.float32)
        for k in range(video.frames):
            if heard:
                spectrogram = audio.log_spectrogram(audio.second_around(wave, k / video.fps))
            yield Moment(k / video.fps, squeeze(video.frame(k), predictor.side), spectrogram, float(heard))

    def maps_of_video(video):
        for block, maps in predictor.maps(moments(video), video.fps):
            maps = {name: np.asarray(of) for name, of in maps.items()}
            yield from ({name: of[k] for name, of in maps.items()} for k in range(len(block)))
    return maps_of_video


def score_students(predictor, videos, protocol):
    """The rows of students, {name: see `score`}: what they predict with their own, no and, where there are several videos, foreign sound.

    The rows of one are named by the sound. Of three there are each student's and both fusions', and STA's and the final one's without
    their sound.
    """
    rows = {}
    for sound in SOUNDS[:2 + (len(videos) > 1)]:
        chosen = predictor.names if sound == 'own' else dict.fromkeys((predictor.names[0], predictor.names[-1]))
        maps = maps_by_checkpoint(predictor, videos, sound)
        found = score_all(lambda video, maps=maps, chosen=chosen: ({name: of[name] for name in chosen} for of in maps(video)),
                          videos, protocol, sound)
        for name, row in found.items():
            rows[sound if len(predictor.names) == 1 else name if sound == 'own' else f'{name}, {sound} sound'] = row
    return rows


def squeeze(frame, side):
    """A frame uint8 [h, w, 3] resized to side x side pixels, as `video.read_frames` does it: by areas where it shrinks, else cubic."""
    h, w, _ = frame.shape
    method = PIL.Image.Resampling.BOX if side <= min(h, w) else PIL.Image.Resampling.BICUBIC
    return frame if h == w == side else np.asarray(PIL.Image.fromarray(frame).resize((side, side), method))


# -------------------------------------------------------------------------------------------------------- ceiling and floors


@dataclasses.dataclass(frozen=True)
class Half:
    """A video as every second observer saw it, from observer `first` (0 or 1) on; density: Gaussian, sigma 5 % of the height."""
    video: fixation_sets.Video
    first: int

    @property
    def name(self):
        return self.video.name

    @property
    def frames(self):
        return self.video.frames

    def counts(self, k):
        """How many look at each pixel in frame k, float [h, w]; None where that is not known."""
        points, fixations = self.video.observers(k), self.video.fixations(k)
        if points is None or fixations is None:
            return None
        places = np.round(points[self.first::2]).astype(int)
        counts = np.zeros(fixations.shape)
        np.add.at(counts, tuple(np.clip(places, 0, np.array(counts.shape) - 1).T), 1)
        return counts

    def fixations(self, k):
        counts = self.counts(k)
        return None if counts is None else counts > 0

    def density(self, k):
        counts = self.counts(k)
        return None if counts is None else scipy.ndimage.gaussian_filter(counts, 0.05 * len(counts), mode='constant')

    def maps(self):
        """The densities of all frames, as maps to score; zeros where there is none."""
        shape = next((counts.shape for counts in map(self.counts, range(self.frames)) if counts is not None), (1, 1))
        for k in range(self.frames):
            density = self.density(k)
            yield np.zeros(shape) if density is None else density


def knows_observers(video):
    try:
        first = next((k for k in range(video.frames) if video.fixations(k) is not None), None)
        return first is not None and video.observers(first) is not None
    except InputError:
        return False


def centre_prior(side=64):
    """A Gaussian at the centre, its sigma a quarter of each side of the frame that it is resized to; [side, side]."""
    bell = np.exp(-((np.arange(side) + 0.5) / side - 0.5)**2 / (2 * 0.25**2))
    return np.outer(bell, bell)


def references(root, videos, protocol):
    """The rows to read others by, {name: results}: `ceiling` where observers are known, `centre_prior`, `mean_map` where there is one."""
    rows, observed = {}, [video for video in videos if knows_observers(video)]
    if observed:
        rows['ceiling'] = score(lambda half: Half(half.video, 0).maps(), [Half(video, 1) for video in observed], protocol, 'ceiling')
    fixed = {'centre_prior': centre_prior()}
    if (pathlib.Path(root) / 'train_mean_density.png').exists():
        fixed['mean_map'] = fixation_sets.read_image(pathlib.Path(root) / 'train_mean_density.png', 'L')
    for name, map_ in fixed.items():
        rows[name] = score(lambda video, map_=map_: itertools.repeat(map_, video.frames), videos, protocol, name)
    return rows


# ------------------------------------------------------------------------------------------------------------------ reports


def table(results):
    """The results of `run` as text: a row for each of its `rows`."""
    width = max(map(len, results['rows'])) + 2
    lines = [f'{results["set"]}, protocol {results["protocol"]}', f'{"":{width}}{"videos":>7}{"frames":>8}' + ''.join(
        f'{COLUMNS[metric]:>8}' for metric in metrics.METRICS)]
    for name, row in results['rows'].items():
        cells = ''.join(f'{row["scores"][metric]:8.3f}' for metric in metrics.METRICS)
        lines.append(f'{name:{width}}{len(row["videos"]):7}{row["frames"]:8}{cells}')
        if any(row['undefined'].values()):
            lines.append(f'{"":{width}}undefined:' + ','.join(f' {n} {COLUMNS[m]}' for m, n in row['undefined'].items() if n))
    problems = [f'  {line}' for line in results['mismatched']]
    problems += [f'  {name}: {f["video"]}: {f["why"]}' for name, row in results['rows'].items() for f in row['failed']]
    return '\n'.join(lines + ([f'not scored ({len(problems)}):', *problems] if problems else []))


def write(out, results):
    """Writes the results as JSON (null where a score is undefined) and, beside it, a CSV with a row for each video."""
    def without_nan(x):
        if isinstance(x, dict):
            return {k: without_nan(v) for k, v in x.items()}
        if isinstance(x, list):
            return [without_nan(v) for v in x]
        return None if isinstance(x, float) and math.isnan(x) else x

    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['protocol', 'set', 'row', 'video', 'frames', *metrics.METRICS, *(f'undefined_{m}' for m in metrics.METRICS)])
    for name, row in results['rows'].items():
        for of in [{**row, 'video': ''}, *row['videos']]:
            writer.writerow([results['protocol'], results['set'], name, of['video'], of['frames'],
                             *without_nan(list(of['scores'].values())), *of['undefined'].values()])
    training.replace_text(out, json.dumps(without_nan(results), indent=2) + '\n')
    training.replace_text(out.with_suffix('.csv'), text.getvalue())


def run(data, set_name, protocol, out, maps='', checkpoint=''):
    """Scores a folder of maps, or students with their own, no and foreign sound; prints the table, writes `out` and a CSV.

    `checkpoint`: a folder as `predictor.Predictor` takes it, or a list of such.

    Returns:
        A dict of `protocol`, `set`, `data`, `of` (the folder or the run), `mismatched` (lines) and `rows`, {name: see `score`}.
    """
    out = pathlib.Path(out)
    if out.suffix != '.json':
        raise InputError(f'--out={out}: must end in .json; the CSV is written beside it')
    if protocol not in protocols.PROTOCOLS:
        raise InputError(f'--protocol={protocol}: must be one of {", ".join(protocols.PROTOCOLS)}')
    rules = protocols.PROTOCOLS[protocol]
    set_name, videos, mismatched = fixation_sets.open_set(data, set_name)
    if maps:
        maps_of_video, videos, lines = maps_of_folders({'maps': maps}, videos)
        mismatched += lines
    else:
        from stanet_jax import predictor  # here, as a folder of maps needs no network
        runs = [checkpoint] if isinstance(checkpoint, (str, pathlib.Path)) else checkpoint
        students = predictor.Predictor(*runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = score_all(maps_of_video, videos, rules, 'maps') if maps else score_students(students, videos, rules)
    results = publish(out, protocol, data, set_name, videos, str(maps) if maps else ', '.join(map(str, runs)), mismatched, rows)
    print(f'written: {out}, {out.with_suffix(".csv")}')
    return results


def publish(out, protocol, data, set_name, videos, of, mismatched, rows):
    """Adds the reference rows, writes all with `write` and prints the table; -> what was written, see `run`."""
    results = {'protocol': protocol, 'set': set_name, 'data': str(data), 'of': of, 'mismatched': mismatched,
               'rows': {**rows, **references(data, videos, protocols.PROTOCOLS[protocol])}}
    write(out, results)
    print(table(results))
    return results
