"""Scores saliency maps, of a folder or of a checkpoint, on a fixation set; with the ceiling and the floors to read them by."""
import csv
import dataclasses
import functools
import importlib.resources
import io
import itertools
import json
import math
import pathlib
import re
import shutil

import numpy as np
import PIL.Image
import scipy.ndimage

from stanet_jax import InputError
from stanet_jax.evaluation import fixations as fixation_sets
from stanet_jax.evaluation import protocols
from stanet_jax.evaluation.scoring import Kept, score, score_all
from stanet_jax.media import overlay as film
from stanet_jax.media import sound as audio
from stanet_jax.media.video import Moment
from stanet_jax.training import loop as training

SOUNDS = ('own', 'muted', 'other')  # that a student hears: the video's, none, another video's
REFERENCES = ('ceiling', 'centre_prior', 'mean_map')  # rows to read others by
COLUMNS = {'auc_judd': 'AUC-J', 'shuffled_auc': 's-AUC', 'nss': 'NSS', 'cc': 'CC', 'sim': 'SIM', 'kl_div': 'KL'}
PAPERS = ('auc_judd', 'sim', 'shuffled_auc', 'cc', 'nss')  # that the papers' tables have, in their order

# --------------------------------------------------------------------------------------------------------- where maps are from


def map_files(folder, frames, first):
    """A video's maps in order of their numbers: `<folder>/maps/eyeMap_%05d.png` (or jpg), or whatever images are in the folder.

    Where there are fewer than `frames`, and their numbers, from 1, are those of the frames from `first` (counted from 0) on or from an
    earlier one, None stands for the ones before.
    """
    inside = [path for path in (folder / 'maps').glob('eyeMap_*') if path.suffix in ('.png', '.jpg')]
    inside = inside or [path for path in folder.iterdir() if path.suffix.lower() in ('.png', '.jpg', '.jpeg')]
    found = sorted(inside, key=lambda path: [int(x) if x.isdecimal() else x for x in re.split(r'(\d+)', path.name)])
    numbers, start = [int((re.findall(r'\d+', path.stem) or [0])[-1]) for path in found], frames - len(found)
    return [None] * start + found if 0 < start <= first and numbers == list(range(start + 1, frames + 1)) else found


def match(folder, videos, first=0):
    """A folder of maps and the videos of a set: ({video name: files}, lines that tell what does not match)."""
    if not pathlib.Path(folder).is_dir():
        raise InputError(f'--maps={folder}: no such folder; give the one that holds <video>/maps/eyeMap_%05d.png')
    there, files, lines = fixation_sets.folders(pathlib.Path(folder)), {}, []
    for video in videos:
        found = map_files(there[video.name], video.frames, first) if video.name in there else []
        if len(found) == video.frames:
            files[video.name] = found
        else:
            lines.append(f'{video.name}: {len(found)} maps for {video.frames} frames' if found else f'{video.name}: no maps')
    known = {video.name for video in videos}
    lines += [f'{name}: maps, but not in the set' for name in there if name not in known]
    if not files:
        raise InputError(f'--maps={folder}: the maps of no video match the set; the first: {lines[0]}')
    return files, lines


def maps_of_folders(folders, videos, first=0):
    """The maps of folders {name: folder} as `score_all` takes them, the videos that each has all maps of, and lines on what does not match.

    Frames before `first` are not scored and need no map.
    """
    found = {name: match(folder, videos, first) for name, folder in folders.items()}
    files, lines = {name: of for name, (of, _) in found.items()}, [line for _, of in found.values() for line in of]
    there = [video for video in videos if all(video.name in of for of in files.values())]
    return functools.partial(read_maps, files), there, lines


def read_maps(files, video):
    """Yields {name: map} of each frame of a video, from `files` {name: {video's name: paths}}; None where there is no path."""
    for paths in zip(*(of[video.name] for of in files.values()), strict=True):
        yield {name: path and fixation_sets.read_image(path, 'L') for name, path in zip(files, paths, strict=True)}


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


def save_maps(maps_of_video, name, folder, first, video):
    """Yields what `maps_of_video` gives and writes the maps of the name as `<folder>/<video>/pred_sal_%06d.jpg`, min-maxed, 8 bit.

    Those before frame `first`, which are not scored, are left out; the video's folder appears when all are there.
    """
    scratch = folder / f'.{video.name}'
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for k, maps in enumerate(maps_of_video(video)):
        if k >= first:
            low, high = maps[name].min(), maps[name].max()
            levels = np.uint8(np.rint((maps[name] - low) * (255 / (high - low) if high > low else 0)))
            PIL.Image.fromarray(levels).save(scratch / film.NAMES['stavis'].format(k + 1), quality=95)
        yield maps
    shutil.rmtree(folder / video.name, ignore_errors=True)
    scratch.rename(folder / video.name)


def score_students(predictor, videos, protocol, kept=None, save=''):
    """The rows of students, {name: see `score`}: what they predict with their own, no and, where there are several videos, foreign sound.

    The rows of one are named by the sound. Of three there are each student's and both fusions', and STA's and the final one's without
    their sound. `save`: folder for the maps of the last name, with the videos' own sound, see `save_maps`; '' for none.
    """
    rows = {}
    for sound in SOUNDS[:2 + (len(videos) > 1)]:
        chosen = predictor.names if sound == 'own' else dict.fromkeys((predictor.names[0], predictor.names[-1]))
        maps = maps_by_checkpoint(predictor, videos, sound)
        if save and sound == 'own':
            maps = functools.partial(save_maps, maps, predictor.names[-1], pathlib.Path(save), protocol.first)
        found = score_all(lambda video, maps=maps, chosen=chosen: ({name: of[name] for name in chosen} for of in maps(video)),
                          videos, protocol, sound, kept)
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
        """How many of them look at each pixel in frame k, int [h, w]; None where that is not known."""
        points, fixations = self.video.observers(k), self.video.fixations(k)
        if points is None or fixations is None:
            return None
        return fixation_sets.count_points(points[self.first::2], fixations.shape)

    def fixations(self, k):
        counts = self.counts(k)
        return None if counts is None else counts > 0

    def density(self, k):
        counts = self.counts(k)
        return None if counts is None else scipy.ndimage.gaussian_filter(np.float64(counts), 0.05 * len(counts), mode='constant')

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
    width, names = max(map(len, results['rows'])) + 2, protocols.PROTOCOLS[results['protocol']].metrics
    lines = [f'{results["set"]}, protocol {results["protocol"]}', f'{"":{width}}{"videos":>7}{"frames":>8}' + ''.join(
        f'{COLUMNS[metric]:>8}' for metric in names)]
    for name, row in results['rows'].items():
        cells = ''.join(f'{row["scores"][metric]:8.3f}' for metric in names)
        lines.append(f'{name:{width}}{len(row["videos"]):7}{row["frames"]:8}{cells}')
        if any(row['undefined'].values()):
            lines.append(f'{"":{width}}undefined:' + ','.join(f' {n} {COLUMNS[m]}' for m, n in row['undefined'].items() if n))
    problems = [f'  {line}' for line in results['mismatched']]
    problems += [f'  {name}: {f["video"]}: {f["why"]}' for name, row in results['rows'].items() for f in row['failed']]
    return '\n'.join(lines + ([f'not scored ({len(problems)}):', *problems] if problems else []))


def without_nan(x):
    """A tree of dicts and lists with None where there is NaN, which JSON has not."""
    if isinstance(x, dict):
        return {k: without_nan(v) for k, v in x.items()}
    if isinstance(x, list):
        return [without_nan(v) for v in x]
    return None if isinstance(x, float) and math.isnan(x) else x


def write(out, results):
    """Writes the results as JSON (null where a score is undefined) and, beside it, a CSV with a row for each video."""
    text, names = io.StringIO(), protocols.PROTOCOLS[results['protocol']].metrics
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['protocol', 'set', 'row', 'video', 'frames', *names, *(f'undefined_{name}' for name in names)])
    for name, row in results['rows'].items():
        for of in [{**row, 'video': ''}, *row['videos']]:
            writer.writerow([results['protocol'], results['set'], name, of['video'], of['frames'],
                             *without_nan(list(of['scores'].values())), *of['undefined'].values()])
    training.replace_text(out, json.dumps(without_nan(results), indent=2) + '\n')
    training.replace_text(out.with_suffix('.csv'), text.getvalue())


def run(data, set_name, protocol, out, maps='', checkpoint='', workers=1, compare=False, save=''):
    """Scores a folder of maps, or students with their own, no and foreign sound; prints the table, writes `out` and a CSV.

    Args:
        data: folder of fixation sets; set_name: one of them, '' for the only one, or 'all', where each has files of its own
            (`<out>_<set>.json`), maps are looked for in `<maps>/<set>`, and `out` has the table of all.
        protocol: a key of `protocols.PROTOCOLS`.
        checkpoint: a folder as `predictor.Predictor` takes it, or a list of such.
        workers: processes that score a folder of maps.
        save: folder for the students' maps, `<save>/<set>/<video>/pred_sal_%06d.jpg`; '' for none.
        compare: whether the papers' own figures are printed beside the table of all sets.
    Returns:
        A dict of `protocol`, `set`, `data`, `of` (the folder or the run), `mismatched` (lines) and `rows`, {name: see `score`}; of all
        sets {set: such a dict}.
    """
    out = pathlib.Path(out)
    if out.suffix != '.json':
        raise InputError(f'--out={out}: must end in .json; the CSV is written beside it')
    if protocol not in protocols.PROTOCOLS:
        raise InputError(f'--protocol={protocol}: must be one of {", ".join(protocols.PROTOCOLS)}')
    students, of = None, str(maps)
    if not maps:
        from stanet_jax.inference import predictor  # here, as a folder of maps needs no network
        runs = [checkpoint] if isinstance(checkpoint, (str, pathlib.Path)) else checkpoint
        students, of = predictor.Predictor(*runs), ', '.join(map(str, runs))
    out.parent.mkdir(parents=True, exist_ok=True)
    if set_name != 'all':
        return run_set(data, set_name, protocol, out, maps, students, of, workers, save)
    results, missing = {}, []
    for name in fixation_sets.folders(pathlib.Path(data) / 'annotations'):
        try:
            results[name] = run_set(data, name, protocol, out.with_name(f'{out.stem}_{name}.json'), maps and f'{maps}/{name}', students, of,
                                    workers, save)
        except InputError as error:
            missing.append(f'  {name}: {error}')
    if not results:
        raise InputError(f'--data={data}: no set could be scored; ' + (missing[0].strip() if missing else 'it holds no annotations/<set>'))
    print('\n'.join([all_sets(results, compare), *(['not scored:', *missing] if missing else [])]))
    training.replace_text(out, json.dumps(without_nan({'protocol': protocol, 'of': of, 'sets': {
        name: {row: found['scores'] for row, found in result['rows'].items()} for name, result in results.items()}}), indent=2) + '\n')
    return results


def run_set(data, set_name, protocol, out, maps, students, of, workers, save):
    """`run` for one set, by a folder of maps or by `students`, a Predictor; `of` is what these are called in the results."""
    rules = protocols.PROTOCOLS[protocol]
    set_name, videos, mismatched = fixation_sets.open_set(data, set_name)
    if maps:
        maps_of_video, videos, lines = maps_of_folders({'maps': maps}, videos, rules.first)
        mismatched += lines
    kept = Kept(out.with_suffix('.partial'), {'protocol': protocol, 'data': str(data), 'set': set_name, 'of': of,
                                              'videos': [video.name for video in videos]})
    if maps:
        rows = score_all(maps_of_video, videos, rules, 'maps', kept, workers)
    else:
        rows = score_students(students, videos, rules, kept, save and f'{save}/{set_name}')
    results = publish(out, protocol, data, set_name, videos, of, mismatched, rows)
    kept.path.unlink(missing_ok=True)
    print(f'written: {out}, {out.with_suffix(".csv")}')
    return results


def publish(out, protocol, data, set_name, videos, of, mismatched, rows):
    """Adds the reference rows, writes all with `write` and prints the table; -> what was written, see `run`."""
    results = {'protocol': protocol, 'set': set_name, 'data': str(data), 'of': of, 'mismatched': mismatched,
               'rows': {**rows, **references(data, videos, protocols.PROTOCOLS[protocol])}}
    write(out, results)
    print(table(results))
    return results


def papers_table():
    """TPAMI Table 7: {set: {method: {metric: score}}}."""
    lines = (importlib.resources.files('stanet_jax.evaluation') / 'table7.csv').read_text('utf-8').splitlines()
    found = {}
    for row in csv.DictReader(line for line in lines if not line.startswith('#')):
        found.setdefault(row['set'], {})[row['method']] = {metric: float(row[metric]) for metric in PAPERS}
    return found


def all_sets(results, compare):
    """The results of several sets {set: see `run`} as text: a block for each, as ordered in the papers' Table 7, with its rows if asked."""
    lines, papers = [], papers_table()
    width = max(len(row) for result in results.values() for row in [*result['rows'], 'GradCAMpp (paper)']) + 2
    for name in sorted(results, key=lambda name: [*papers, name].index(name)):
        rows, names = results[name]['rows'], protocols.PROTOCOLS[results[name]['protocol']].metrics
        lines.append(f'{name:{width}}' + ''.join(f'{COLUMNS[metric]:>8}' for metric in PAPERS))
        beside = {f'{method} (paper)': of for method, of in papers.get(name, {}).items()} if compare else {}
        for row, scores in {**{row: of['scores'] for row, of in rows.items()}, **beside}.items():
            cells = (f'{scores[metric]:8.3f}' if metric in names or row in beside else f'{"-":>8}' for metric in PAPERS)
            lines.append(f'  {row:{width - 2}}' + ''.join(cells))
    return '\n'.join(lines)
