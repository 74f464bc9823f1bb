"""Fixation maps of any video, by a trained student (TPAMI Sec. 5); no tag enters."""
import collections
import concurrent.futures
import functools
import heapq
import itertools
import os
import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import av
import chex
import jax
import numpy as np
import tqdm
from av.video.reformatter import VideoReformatter

from stanet_jax import InputError, augment, checkpoint, distillation, film, sharding, switch, training
from stanet_jax.audio import SoundWindow, log_spectrogram
from stanet_jax.video import decode, open_media, to_rgb, video_stream

# What is taken for a video in a folder; a file that is named may be of any kind.
VIDEOS = frozenset('.3g2 .3gp .asf .avi .divx .f4v .flv .gif .m2ts .m2v .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogm .ogv .ts .vob '
                   '.webm .wmv'.split())


# --------------------------------------------------------------------------------------------------------------- the student


def answer(variables, frames, audio, phi, *, student, switch_net, switch_side):
    """The student's maps of untagged moments.

    Args:
        variables: (the student's, the switch net's).
        frames: uint8 [b, 3, h, w, 3]; audio: log-spectrograms [b, 257, 98]; phi: [b], 1 where there is sound.
        switch_side: pixels of the frames that the switch net was trained on.
    Returns:
        [b, h, w] in [0, 1]. The audio switch is the switch net's answer at 0.5, and 0 without sound (method.md 4).
    """
    x = augment.normalise(frames)
    middle = jax.image.resize(x[:, 1:2], (len(x), 1, switch_side, switch_side, 3), 'linear')
    opened, _ = switch_net.apply(variables[1], middle, audio, phi)
    logits, _ = student.apply(variables[0], x, audio, phi * (opened[:, 0] > 0))
    return jax.nn.sigmoid(logits)


class Predictor:
    """A trained student and its audio switch, compiled once.

    Attributes:
        side: of the frames it looks at, in pixels.
        rate: frames per second: the neighbours it looks at are 1 / rate seconds away.
        batch: moments that it takes at a time.
    """

    def __init__(self, run):
        """Reads the folder of a student's run; InputError where it is none, or its weights are of another config."""
        if jax.process_count() > 1:
            raise InputError('--processes: prediction is one process on all its devices; start one for each share of the videos')
        run = pathlib.Path(run)
        config = training.read_config(run)
        if config.get('task') != 'student':
            raise InputError(f'{run}: a run of {", ".join(config.get("nets", ["no nets"]))}, not of a student; '
                             'give one of python distill.py --config=configs/sta.py')
        switch_config = training.read_config(run / 'switch')
        student, variables = _load(run, run / 'STA', config, distillation.make_student, 3)
        switch_net, switch_variables = _load(run / 'switch', run / 'switch', switch_config, switch.make_model, 1)
        self.side, self.rate, self.batch = config.data.side, float(config.data.rate), sharding.padded(config.batch)
        self._mesh = sharding.make_mesh()
        self._variables = jax.device_put((variables, switch_variables), sharding.replicated(self._mesh))
        self.answer = jax.jit(functools.partial(
            answer, student=student, switch_net=switch_net, switch_side=switch_config.data.side))

    def __call__(self, frames, audio, phi):
        """uint8 [n, 3, side, side, 3], float32 [n, 257, 98] and [n], see `answer` -> float32 [n, side, side]; any n."""
        n = len(frames)
        chex.assert_shape([frames, audio, phi], [(n, 3, self.side, self.side, 3), (n, 257, 98), (n,)])
        maps = []
        for start in range(0, n, self.batch):
            part = [x[start:start + self.batch] for x in (frames, audio, phi)]
            full = [np.pad(x, [(0, self.batch - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in part]
            maps.append(self.answer(self._variables, *sharding.put(full, self._mesh)))
        return np.concatenate([np.zeros((0, self.side, self.side), np.float32), *map(np.asarray, maps)])[:n]


def _load(folder, net, config, make, frames):
    """The model that `make(config)` gives and the variables in `net`, which must fit."""
    variables = checkpoint.load_variables(net / 'variables')
    try:
        model, side = make(config), config.data.side
        shapes = (1, frames, side, side, 3), (1, 257, 98), (1,)
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


# ------------------------------------------------------------------------------------------------------- from video to moments


class Moment(NamedTuple):
    """A frame of a video as it was decoded, its time in seconds on the file's clock, and what the student sees of it."""
    frame: Any
    start: float
    end: float
    frames: Any  # uint8 [3, side, side, 3]
    audio: Any  # float32 [257, 98]
    phi: Any  # float32, 1 where the video has sound


def moments(video, side, rate):
    """Yields the Moment of every frame of a video, in as little memory as 2 / rate seconds of frames and a second of sound take.

    The neighbours of the frame at t are the frames nearest to t - 1 / rate and t + 1 / rate, so at the ends the frame itself may be
    one of them. InputError as `video.read_frames`.
    """
    with open_media(video) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f'{video}: has no video stream')
        scaler, sound, reach = VideoReformatter(), None, 1 / rate
        seen, waiting = collections.deque(), collections.deque()

        def moment(frame, start, end):
            while len(seen) > 1 and seen[1][0] <= start - reach:
                seen.popleft()
            frames = [min(seen, key=lambda s: abs(s[0] - time))[1] for time in (start - reach, start, start + reach)]
            audio = np.zeros((257, 98), np.float32) if sound.silent else log_spectrogram(sound.around(start - origin))
            return Moment(frame, start, end, np.stack(frames), audio, np.float32(not sound.silent))

        decoded = decode(container, [stream])
        if container.format.name == 'avi':
            decoded = _in_order(decoded)
        for frame, start, end in _rising(decoded, float(stream.time_base)):
            if sound is None:
                origin, sound = start, SoundWindow(video, start)
            seen.append((start, to_rgb(frame, side, scaler)))
            waiting.append((frame, start, end))
            while waiting and waiting[0][1] + reach <= start:
                yield moment(*waiting.popleft())
        if sound is None:
            raise InputError(f'{video}: no frame of it decodes; fetch it again')
        while waiting:
            yield moment(*waiting.popleft())


def _in_order(decoded, most=16):
    """Sorts the times of frames that are up to `most` places off: AVI counts frames as they are decoded, not as they are shown."""
    frames, ordered = collections.deque(), []
    for frame, start, end in decoded:
        frames.append(frame)
        heapq.heappush(ordered, (start, end))
        if len(frames) > most:
            yield frames.popleft(), *heapq.heappop(ordered)
    while frames:
        yield frames.popleft(), *heapq.heappop(ordered)


def _rising(decoded, tick):
    """Makes the times rise: what falls back by more than a second (a spliced file) goes on from the frame before."""
    shift, last, last_end = 0.0, -np.inf, 0.0
    for frame, start, end in decoded:
        if start + shift < last - 1:
            shift = last_end - start
        duration, last = end - start, max(start + shift, last + tick)
        last_end = last + duration
        yield frame, last, last_end


def ahead(items):
    """The items of an iterator, the next of which a thread of its own makes meanwhile."""
    end = object()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        item = thread.submit(next, items, end)
        while (done := item.result()) is not end:
            item = thread.submit(next, items, end)
            yield done


def answers(predictor, video):
    """Yields (Moments, maps [n, side, side]) of a video, a batch at a time; the next is being read, and one predicted, meanwhile."""
    every = moments(video, predictor.side, predictor.rate)
    groups = ahead(iter(lambda: list(itertools.islice(every, predictor.batch)), []))
    return ahead((group, predictor(*(np.stack(x) for x in zip(*(m[3:] for m in group), strict=True)))) for group in groups)


# ------------------------------------------------------------------------------------------------------------ whole videos


def predict_video(predictor, video, out, name=None):
    """Writes what the student makes of a video.

    `<out>/<name>/maps/eyeMap_%05d.png`, one for each frame, counted from 1, of the frame's size, 8 bit, each from its least value, 0,
    to its greatest, 255; and `overlay.mp4`, the frames with the maps over them and the video's sound. The folder appears when all
    of it is there, and takes the place of an older one of its kind.

    Args:
        predictor: a Predictor.
        video: a file that FFmpeg reads.
        out: folder; name: by default the file's, without its ending.
    Returns:
        The number of frames.
    Raises:
        InputError: the file cannot be read, see `moments`, or the folder is there and holds other things.
    """
    folder = pathlib.Path(out) / (name or pathlib.Path(video).stem)
    if folder.exists() and not {p.name for p in folder.iterdir()} <= {'maps', 'overlay.mp4'}:
        raise InputError(f'{folder}: is there, and holds other things than maps; give another --out')
    temporary, old = (folder.with_name(f'.{folder.name}.{os.getpid()}.{kind}') for kind in ('new', 'old'))
    try:
        with tqdm.tqdm(total=_frames(video), desc=folder.name, unit='frame', mininterval=0.5) as progress:
            film.write(temporary, video, answers(predictor, video), progress)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return progress.n


def _frames(video):
    """About how many frames a video has, or None."""
    with open_media(video) as container:
        stream = video_stream(container)
        if stream is None or stream.frames:
            return stream and stream.frames
        return container.duration and round(container.duration / av.time_base * float(stream.average_rate or 25))


def names(videos):
    """A name for each video's results: the file's without its ending, or with it where two would be the same, or numbered."""
    stems = collections.Counter(video.stem.casefold() for video in videos)
    result = []
    for video in videos:
        name = video.stem if stems[video.stem.casefold()] == 1 else video.name
        numbered = itertools.chain([name], (f'{name}_{k}' for k in itertools.count(2)))
        result.append(next(n for n in numbered if n.casefold() not in {r.casefold() for r in result}))
    return result


def find(videos):
    """Files, and the videos in folders, each once."""
    found = []
    for path in map(pathlib.Path, videos):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEOS and p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise InputError(f'{path}: no video in this folder (named {", ".join(sorted(VIDEOS))}); name the files')
        found += inside
    return list({path.resolve(): path for path in found}.values())


def predict(predictor, videos, out):
    """`predict_video` of every file, and of every video in every folder; what cannot be done is named and skipped.

    Raises:
        InputError: at the end, where a video failed; at once, where a folder holds none.
    """
    videos = find(videos)
    failed = []
    for video, name in zip(videos, names(videos), strict=True):
        try:
            predict_video(predictor, video, out, name)
        except (InputError, OSError, av.FFmpegError) as error:
            failed.append(' '.join(f'{error if isinstance(error, InputError) else f"{video}: {error}"}'.split()))
            if len(videos) > 1:
                print(f'skipped: {failed[-1]}', file=sys.stderr)
    if failed:
        raise InputError(failed[0] if len(videos) == 1 else f'{len(failed)} of {len(videos)} videos failed and are named above; the '
                         f'others are in {out}')
    print(f'{len(videos)} video{"s" * (len(videos) > 1)} done: maps and overlay.mp4 are in {out}')
