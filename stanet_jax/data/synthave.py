"""SynthAVE: a small audio-visual world in which where people look is known, written as real files.

    stanet data synthave --out=data/synthave

A clip shows one or two objects before a textured background, among untagged distractors. An object is a large body, whose
look several categories share, and a small head, whose hue and pattern alone tell its category. A category has its own
motion and its own sound too. The tag of a clip is the category of one of its objects; the clip's kind says which cues reveal it:

    plain            one object; it moves and sounds as its category does
    still            one object; it does not move
    foreign_sound    one object; noise, music or another category's sound is heard
    sound_decides    two objects move; the one that is heard is the tag, which the motion does not reveal
    motion_decides   two objects, wind is heard; the one that moves is the tag
    context_decides  two objects move, wind is heard; one is in view through all of the clip, and in other clips without being
                     their tag; the other one, which comes or goes, is the tag

The training side has AVE's layout (`AVE_Dataset/`: H.264 and AAC in mp4, the kind in the annotation's quality field), the test
part also that of the STAViS release (frames, wav, density maps, `.mat` fixations), with each simulated observer's gaze under the
`observers` key of the `.mat`. `truth.jsonl` holds the clips' kinds, objects and sounds, which a real set would not tell.
"""
import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import av
import numpy as np
import PIL.Image
import scipy.io
import scipy.io.wavfile
import scipy.ndimage
import tqdm
from jaxtyping import Float, UInt8

import stanet_jax
from stanet_jax.scratch import making
from stanet_jax.workers import pool

SAMPLE_RATE = 16000
SPLITS = {'train': 'trainSet.txt', 'validation': 'valSet.txt', 'test': 'testSet.txt'}
SET = 'SynthAVE'  # its name among the fixation sets


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the world is made."""
    categories: int = 8  # up to 28
    train: int = 960  # clips
    validation: int = 96
    test: int = 192
    seconds: float = 2.0
    rate: int = 8  # frames per second
    side: int = 96  # width and height of a frame, in pixels
    observers: int = 16  # whose gaze is simulated
    seed: int = 0
    plain: float = 0.12  # the kinds' shares of the clips
    still: float = 0.12
    foreign_sound: float = 0.12
    sound_decides: float = 0.26
    motion_decides: float = 0.26
    context_decides: float = 0.12

    @property
    def frames(self) -> int:
        """How many frames a clip has."""
        return int(round(self.seconds * self.rate))


KINDS = ('plain', 'still', 'foreign_sound', 'sound_decides', 'motion_decides', 'context_decides')
HEAD = 8 / 96  # radius of a head, as a share of the frame's side
BODY = {1: 18 / 96, 2: 14 / 96}  # radius of a body likewise, by how many objects are in view


@dataclasses.dataclass
class SceneObject:
    """Something that moves in a clip of t frames, by itself a distractor.

    Attributes:
        category: -1 for a distractor.
        path: (y, x) of its centre in each frame, in pixels.
        visible: its opacity in each frame, in [0, 1].
        body: radius in pixels.
        look: draws the properties of its appearance that are its own.
    """
    category: int
    path: Float[np.ndarray, 't 2']
    visible: Float[np.ndarray, ' t']
    body: float
    look: np.random.Generator


@dataclasses.dataclass
class CategoryObject(SceneObject):
    """An object of a category.

    Attributes:
        head: (y, x) of its head's centre in each frame, in pixels.
    """
    head: Float[np.ndarray, 't 2']


class Trajectory(NamedTuple):
    """Where an object is: (y, x) of the centres of its body and its head in each frame, in pixels."""
    body: Float[np.ndarray, 't 2']
    head: Float[np.ndarray, 't 2']


@dataclasses.dataclass
class Clip:
    """What is shown and heard in a clip.

    Attributes:
        id: as long as a YouTube id.
        kind: one of `KINDS`.
        tag: the category of the first object.
        objects, distractors: what is in view.
        heard: categories; -1 is noise, -2 music, -3 wind.
    """
    id: str
    kind: str
    tag: int
    objects: list[CategoryObject]
    distractors: list[SceneObject]
    heard: list[int]


class WrittenClip(NamedTuple):
    """What is noted of a clip whose files are written.

    Attributes:
        annotation: its line in the annotation files.
        truth: its line in `truth.jsonl`.
        density: of the gaze, over all frames, see `density_map`.
    """
    annotation: str
    truth: str
    density: Float[np.ndarray, 'side side']


# ------------------------------------------------------------------------------------------------------ what a category is


def category_name(category: int) -> str:
    """Gives the name of a category."""
    return f'category_{category:02d}'


def head_colours(category: int, categories: int) -> Float[np.ndarray, '2 3']:
    """Gives two RGB colours in [0, 1]: the category's hue, bright, and the same hue nearly black."""
    hue = 6 * category / categories
    rgb = np.clip([abs(hue - 3) - 1, 2 - abs(hue - 2), 2 - abs(hue - 4)], 0, 1)
    return np.stack([0.1 + 0.9 * rgb, 0.15 * rgb])


def motion(category: int, t: Float[np.ndarray, ' t'], phase: float) -> Float[np.ndarray, 't 2']:
    """Gives the displacement (y, x), each in [-1, 1], of a category's objects at the times t in seconds.

    They follow closed curves that differ by category, and seldom stand still. At the default size a head moves by about 10 pixels a
    frame; places of the small encoder are 8 apart.
    """
    fy, fx, lead = [(1, 1, .25), (1, 1, -.25), (1.2, .6, .0), (.6, 1.2, .0), (1.1, .8, .25), (.8, 1.1, .1)][category % 6]
    turn = 2 * np.pi * 1.7 * (t + phase)
    return np.stack([np.sin(fy * turn), np.sin(fx * turn + 2 * np.pi * lead)], axis=-1)


def category_sound(category: int, categories: int, t: Float[np.ndarray, ' n'], rng: np.random.Generator) -> Float[np.ndarray, ' n']:
    """Gives the wave of a category at the times t in seconds: a harmonic tone of its pitch and rhythm, slightly varied by `rng`."""
    pitch = 220 * 2 ** (4.0 * category / categories) * (1 + rng.uniform(-.015, .015))
    beat = 1.5 + (category * 5 % 7) / 2
    rhythm = (0.5 + 0.5 * np.sin(2 * np.pi * (beat * t + rng.uniform()))) ** 2
    tone = sum(np.sin(2 * np.pi * pitch * n * t + rng.uniform(0, 6)) / n for n in (1, 2, 3) if pitch * n < 7500)
    return (0.25 + 0.75 * rhythm) * tone / 1.8


def sound(clip: Clip, settings: Settings, rng: np.random.Generator) -> Float[np.ndarray, ' n']:
    """Makes the sound of a clip, in [-1, 1] at 16 kHz."""
    n = int(settings.seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    white = rng.standard_normal(n)
    wind = scipy.ndimage.uniform_filter1d(white, 40) * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(.2, .6) * t))
    wave = 0.02 * white + 0.1 * wind
    for heard in clip.heard:
        if heard >= 0:
            wave += 0.5 * category_sound(heard, settings.categories, t, rng)
        elif heard == -1:  # noise in gusts
            wave += 0.25 * white * (0.5 + 0.5 * np.sign(np.sin(2 * np.pi * rng.uniform(1, 4) * t)))
        elif heard == -2:  # music: a new chord each third of a second, on no category's pitch
            for k, start in enumerate(np.arange(0, n, SAMPLE_RATE // 3)):
                piece = slice(start, start + SAMPLE_RATE // 3)
                notes = 110 * 2 ** (rng.choice([0, 2, 4, 7, 9], 3, replace=False) / 12 + k % 3)
                wave[piece] += 0.2 * np.sin(2 * np.pi * notes[:, None] * t[piece]).sum(0) * np.hanning(t[piece].size)
        else:
            wave += 0.4 * wind
    return np.clip(wave * rng.uniform(.5, .9), -1, 1)


# ----------------------------------------------------------------------------------------------------------- who is where


def place(settings: Settings, count: int, moves: Sequence[bool], categories: Sequence[int], rng: np.random.Generator) -> list[Trajectory]:
    """Draws where objects are in each frame, until all stay in the frame and apart; the distance asked for shrinks with the attempts.

    Args:
        settings: of the world.
        count: 1 or 2 objects.
        moves: whether each of them moves.
        categories: of each.
        rng: to draw with.
    """
    side, t = settings.side, np.arange(settings.frames) / settings.rate
    reach, swing = BODY[count] + 0.5 * HEAD, 0.085 * side
    for attempt in range(1000):
        slack = 1 - attempt / 1000
        paths = []
        for category, moving in zip(categories, moves, strict=True):
            path = rng.uniform(0.2, 0.8, 2) * side + moving * swing * motion(category, t, rng.uniform())
            angle = rng.uniform(0, 2 * np.pi)
            paths.append(Trajectory(path, path + reach * side * np.array([np.sin(angle), np.cos(angle)])))
        inside = all(head.min() > (HEAD + 0.01) * side and head.max() < (1 - HEAD - 0.01) * side for _, head in paths)
        if count == 1 and inside:
            return paths
        if inside:
            (a, ha), (b, hb) = paths
            gaps = [np.linalg.norm(p - q, axis=1).min() / side - r for p, q, r in
                    ((a, b, 2 * BODY[2]), (ha, b, HEAD + BODY[2]), (hb, a, HEAD + BODY[2]), (ha, hb, 2 * HEAD))]
            if min(gaps) > 0.05 * slack - 0.06 * (1 - slack):
                return paths
    raise AssertionError(f'no room for {count} objects in a frame of {side} pixels')


def distractor(settings: Settings, rng: np.random.Generator) -> SceneObject:
    """Makes a plain shape that drifts or flickers, independently of the tag."""
    t = np.arange(settings.frames) / settings.rate
    start, velocity = rng.uniform(0, 1, 2), rng.uniform(-.25, .25, 2)
    flickers = rng.uniform() < 0.5
    path = np.abs((start + t[:, None] * velocity * (not flickers)) % 2 - 1) * settings.side
    visible = (rng.uniform(size=t.size) < 0.6).astype(float) if flickers else np.ones(t.size)
    return SceneObject(-1, path, visible, rng.uniform(.03, .06) * settings.side, rng)


def visit(frames: int, rng: np.random.Generator) -> Float[np.ndarray, ' t']:
    """Draws the visibility of an object that is absent for an eighth to a third of the clip, at its beginning or its end."""
    visible = np.ones(frames)
    away = rng.integers(frames // 8, frames // 3 + 1)
    visible[:away] = 0
    return visible if rng.uniform() < .5 else visible[::-1]


def make_clip(settings: Settings, split: str, index: int) -> Clip:
    """Makes clip `index` of a split, as a pure function of the settings, the split and the index."""
    rng = np.random.default_rng([settings.seed, list(SPLITS).index(split), index])
    kind, tag = assignment(settings, split)[index]
    others = [c for c in range(settings.categories) if c != tag]
    other = int(rng.choice(others))
    two = kind.endswith('_decides')
    categories = [tag, other] if two else [tag]
    moves = {'still': [False], 'motion_decides': [True, False]}.get(kind, [True] * len(categories))
    objects = []
    for category, (path, head) in zip(categories, place(settings, len(categories), moves, categories, rng), strict=True):
        look = np.random.default_rng(rng.integers(2**32))
        objects.append(CategoryObject(category, path, np.ones(settings.frames), BODY[len(categories)] * settings.side, look, head))
    if kind == 'context_decides':
        objects[0].visible = visit(settings.frames, rng)
    foreign = [-1, -2, other][rng.integers(3)]
    heard = {'foreign_sound': [foreign], 'motion_decides': [-3], 'context_decides': [-3]}.get(kind, [tag])
    distractors = [distractor(settings, np.random.default_rng(rng.integers(2**32))) for _ in range(rng.integers(2, 5))]
    digest = hashlib.sha1(f'{settings.seed} {split} {index}'.encode()).digest()
    return Clip(base64.urlsafe_b64encode(digest).decode()[:11], kind, tag, objects, distractors, heard)


def assignment(settings: Settings, split: str) -> list[tuple[str, int]]:
    """Gives the (kind, tag) of every clip of a split; kinds have their shares, and each kind's tags occur equally often."""
    count = getattr(settings, split)
    ends = np.round(np.cumsum([getattr(settings, kind) for kind in KINDS]) * count).astype(int)
    kinds = [kind for kind, n in zip(KINDS, np.diff(ends, prepend=0), strict=True) for _ in range(n)]
    return [(kind, i % settings.categories) for i, kind in enumerate(kinds)]


# --------------------------------------------------------------------------------------------------------------- drawing


def paint(image: Float[np.ndarray, 'h w c'], centre: Float[np.ndarray, '2'], radius: float,
          colour: Float[np.ndarray, ' c'] | Callable[[np.ndarray, np.ndarray], np.ndarray], shape: str = 'disc',
          opacity: float = 1.0) -> None:
    """Paints a shape with soft edges onto an image, in place.

    Args:
        image: of values in [0, 1].
        centre: (y, x) in pixels.
        radius: in pixels.
        colour: of the shape, or a function of the offsets (y, x) from the centre, in radii, that gives the colour of each pixel.
        shape: 'disc', 'tall', 'box' or 'diamond'.
        opacity: in [0, 1].
    """
    y0, x0 = np.maximum(np.floor(centre - radius - 1), 0).astype(int)
    y1, x1 = np.minimum(np.ceil(centre + radius + 2), image.shape[:2]).astype(int)
    if y0 >= y1 or x0 >= x1:
        return
    y, x = np.mgrid[y0:y1, x0:x1] - centre[:, None, None]
    distance = {'disc': lambda: np.hypot(y, x), 'tall': lambda: np.hypot(y, 1.4 * x), 'box': lambda:
                np.maximum(abs(y), abs(x)) * 1.15, 'diamond': lambda: (abs(y) + abs(x)) * .9}[shape]()
    mask = (opacity * np.clip(radius - distance + 0.5, 0, 1))[..., None]
    fill = colour(y / radius, x / radius) if callable(colour) else colour
    image[y0:y1, x0:x1] += mask * (fill - image[y0:y1, x0:x1])


def head_pattern(category: int, categories: int, angle: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Gives the colouring of a category's heads, for `paint`: two colours in stripes, quarters, rings or halves, turned by `angle`."""
    bright, dark = head_colours(category, categories)

    def colour(y, x):
        u, v = np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y
        field = [np.sin(5 * u), u * v * 6, np.sin(8 * np.hypot(u, v)), 3 * u][category % 4]
        return dark + (bright - dark) * np.clip(0.9 + 1.5 * field, 0, 1)[..., None]
    return colour


def background(side: int, rng: np.random.Generator) -> Float[np.ndarray, 'side side 3']:
    """Makes a texture of three scales in muted colours, in [0, 1]."""
    image = np.full((side, side, 3), rng.uniform(.3, .6, 3))
    for cells, strength in ((3, .16), (10, .09), (32, .06)):
        grey = rng.standard_normal((cells + 3, cells + 3, 1)) + 0.4 * rng.standard_normal((cells + 3, cells + 3, 3))
        zoom = (side / cells, side / cells, 1)
        image += strength * scipy.ndimage.zoom(grey, zoom, order=1)[:side, :side]
    return np.clip(image, 0, 1).astype(np.float32)


def body_look(thing: SceneObject, categories: int) -> tuple[str, Float[np.ndarray, '3']]:
    """Gives the shape and colour of an object's body, which about three categories share; the colour varies slightly by object."""
    sort = thing.category % max(2, categories // 3)
    base = np.array([[.55, .45, .35], [.45, .5, .55], [.5, .5, .4]])[sort % 3]
    return ['tall', 'box', 'diamond', 'disc'][sort % 4], np.clip(base + thing.look.uniform(-.08, .08, 3), 0, 1)


def draw(clip: Clip, settings: Settings, rng: np.random.Generator) -> UInt8[np.ndarray, 't h w 3']:
    """Draws the frames of a clip."""
    scene = background(settings.side, rng)
    looks = []
    for thing in clip.objects:
        shape, colour = body_look(thing, settings.categories)
        looks.append((thing, shape, colour, head_pattern(thing.category, settings.categories, thing.look.uniform(0, 6.3))))
    props = [(d, d.look.choice(['disc', 'box', 'diamond']), d.look.uniform(.2, .8, 3)) for d in clip.distractors]
    frames = np.empty((settings.frames, *scene.shape), np.uint8)
    for t, frame in enumerate(frames):
        image = scene.copy()
        for prop, shape, colour in props:
            paint(image, prop.path[t], prop.body, colour, shape, prop.visible[t])
        for thing, shape, colour, _ in looks:
            paint(image, thing.path[t], thing.body, colour, shape, thing.visible[t])
        for thing, _, _, pattern in looks:
            paint(image, thing.head[t], HEAD * settings.side, pattern, 'disc', thing.visible[t])
        image += 0.015 * rng.standard_normal(image.shape, np.float32)
        frame[:] = np.clip(image * 255 + .5, 0, 255)
    return frames


# ------------------------------------------------------------------------------------------------------------------ gaze


def gaze(clip: Clip, settings: Settings, rng: np.random.Generator) -> Float[np.ndarray, 'observers t 2']:
    """Simulates where each observer looks in each frame: (y, x) in pixels.

    An observer dwells on one thing for a few frames, then chooses the next with these probabilities: the tag's head (0.64), another
    thing in view (0.14), the frame's centre (0.12) or anywhere (0.10). The gaze starts at the centre, arrives 1 or 2 frames after the
    choice, and then follows what moves.
    """
    side, frames = settings.side, settings.frames
    points = np.empty((settings.observers, frames, 2))
    tag, *other_objects = clip.objects
    others = [(o.head, 0.3 * o.visible if clip.kind == 'context_decides' else o.visible) for o in other_objects]
    others += [(o.path, o.visible) for o in clip.objects] + [(d.path, d.visible) for d in clip.distractors]
    for observer in points:
        lag, t = int(rng.integers(1, 3)), 0
        observer[:lag] = side / 2
        while t < frames - lag:
            dwell = int(rng.integers(2, 6))
            choice = rng.uniform()
            if choice < .64 and tag.visible[t]:
                target = tag.head
            elif choice < .78:
                weights = np.array([v[t] for _, v in others]) + 1e-9
                target = others[rng.choice(len(others), p=weights / weights.sum())][0]
            elif choice < .90:
                target = np.broadcast_to(side * rng.normal(.5, .12, 2), (frames, 2))
            else:
                target = np.broadcast_to(side * rng.uniform(0, 1, 2), (frames, 2))
            stop = min(t + dwell, frames - lag)
            observer[t + lag:stop + lag] = target[t + lag:stop + lag]
            t = stop
    return np.clip(points + rng.normal(0, .02 * side, points.shape), 0, side - 1)


def fixation_map(points: Float[np.ndarray, 'n 2'], side: int) -> UInt8[np.ndarray, 'side side']:
    """Gives the map that is 1 at the pixels of points (y, x) and 0 elsewhere."""
    fixations = np.zeros((side, side), np.uint8)
    fixations[tuple(np.round(points).astype(int).T)] = 1
    return fixations


def density_map(points: Float[np.ndarray, 'n 2'], side: int) -> Float[np.ndarray, 'side side']:
    """Gives the density of points (y, x), blurred by a Gaussian whose sigma is 5 % of the side and scaled to a maximum of 1."""
    counts = np.zeros((side, side))
    np.add.at(counts, tuple(np.round(points).astype(int).T), 1)
    density = scipy.ndimage.gaussian_filter(counts, 0.05 * side, mode='constant')
    return density / density.max()


# --------------------------------------------------------------------------------------------------------------- writing


def write_video(path: str | os.PathLike, frames: UInt8[np.ndarray, 't h w 3'], wave: Float[np.ndarray, ' n'], rate: int) -> None:
    """Writes frames and a wave in [-1, 1] as an mp4 file of H.264 and AAC.

    One thread, without x264's code that differs by CPU, makes the same file of the same clip everywhere.
    """
    options = {'crf': '16', 'preset': 'veryfast', 'threads': '1', 'x264-params': 'cpu-independent=1'}
    with av.open(str(path), 'w') as container:
        video = container.add_stream('libx264', rate=rate, options=options)
        _, video.height, video.width, _ = frames.shape
        video.pix_fmt = 'yuv420p'
        audio = container.add_stream('aac', rate=SAMPLE_RATE, layout='mono', options={'b': '64k', 'aac_coder': 'fast'})
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(video.encode(None))
        samples = np.round(wave[None] * 32767).astype(np.int16)
        block = av.AudioFrame.from_ndarray(samples, format='s16', layout='mono')
        block.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))


def write_fixations(root: pathlib.Path, clip: Clip, frames: UInt8[np.ndarray, 't side side 3'], wave: Float[np.ndarray, ' n'],
                    points: Float[np.ndarray, 'observers t 2'], side: int) -> None:
    """Writes one video of the fixation set, in the layout of STAViS; see `draw`, `sound` and `gaze` for what is written."""
    folders = [root / 'video_frames' / SET / clip.id, root / 'video_audio' / SET / clip.id,
               root / 'annotations' / SET / clip.id / 'maps']
    for folder in folders:
        folder.mkdir(parents=True)
    scipy.io.wavfile.write(folders[1] / f'{clip.id}.wav', SAMPLE_RATE, np.round(wave * 32767).astype(np.int16))
    for t, frame in enumerate(frames):
        density = np.round(255 * density_map(points[:, t], side)).astype(np.uint8)
        PIL.Image.fromarray(frame).save(folders[0] / f'img_{t + 1:05d}.jpg', quality=95)
        PIL.Image.fromarray(density).save(folders[2] / f'eyeMap_{t + 1:05d}.jpg', quality=95)
        scipy.io.savemat(folders[2].parent / f'fixMap_{t + 1:05d}.mat',
                         {'eyeMap': fixation_map(points[:, t], side), 'observers': points[:, t]}, do_compression=True)


def write_clip(root: pathlib.Path, settings: Settings, split: str, index: int) -> WrittenClip:
    """Makes clip `index` of a split and writes its files under `root`."""
    clip = make_clip(settings, split, index)
    rng = np.random.default_rng([settings.seed, list(SPLITS).index(split), index, 1])
    frames, wave = draw(clip, settings, rng), sound(clip, settings, rng)
    write_video(root / 'AVE_Dataset' / 'AVE' / f'{clip.id}.mp4', frames, wave, settings.rate)
    points = gaze(clip, settings, rng)
    if split == 'test':
        write_fixations(root, clip, frames, wave, points, settings.side)
    shown = np.flatnonzero(clip.objects[0].visible)
    start, end = shown[0] // settings.rate, -(-(shown[-1] + 1) // settings.rate)
    truth = {'id': clip.id, 'split': split, 'kind': clip.kind, 'tag': clip.tag, 'heard': clip.heard,
             'switch': int(clip.heard == [clip.tag]), 'head_radius': HEAD * settings.side,
             'objects': [{'category': o.category, 'visible': o.visible.astype(int).tolist(),
                          'head': np.round(o.head, 2).tolist()} for o in clip.objects]}
    density = density_map(points.reshape(-1, 2), settings.side)
    return WrittenClip(f'{category_name(clip.tag)}&{clip.id}&{clip.kind}&{start}&{end}', json.dumps(truth), density)


def check(settings: Settings) -> None:
    """Raises InputError where no world can be made with the settings."""
    shares = [getattr(settings, kind) for kind in KINDS]
    counts = [settings.train, settings.validation, settings.test]
    for good, text in (
            (2 <= settings.categories <= 28, f'categories: from 2 to 28, got {settings.categories}'),
            (min(counts) >= 0 < sum(counts), f'train, validation, test: none below 0 and one above, got {counts}'),
            (settings.observers >= 1, f'observers: at least 1, got {settings.observers}'),
            (settings.seed >= 0, f'seed: at least 0, got {settings.seed}'),
            (settings.side >= 48 and settings.side % 2 == 0, f'side: an even number from 48 on, got {settings.side}'),
            (settings.rate >= 1, f'rate: at least 1, got {settings.rate}'),
            (1 <= settings.seconds < np.inf, f'seconds: at least 1, got {settings.seconds}'),
            (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6,
             f'{", ".join(KINDS)}: shares from 0 on that sum to 1, got {shares}')):
        if not good:
            raise stanet_jax.InputError(text)
    if settings.frames < 8:
        raise stanet_jax.InputError(f'seconds and rate: at least 8 frames to a clip, got {settings.frames}')


def generate(out: str | os.PathLike, settings: Settings | None = None, workers: int | None = None) -> None:
    """Writes the whole set into a folder, which appears when it is complete.

    Args:
        out: folder to write; it must not exist.
        settings: of the world, by default `Settings()`.
        workers: processes, by default one for each core, or one for a small set.
    Raises:
        InputError: the folder exists, or no world can be made with the settings.
    """
    settings, out = settings or Settings(), pathlib.Path(out)
    check(settings)
    with making(out) as root:
        write_all(root, settings, workers)


def ensure(out: str | os.PathLike, settings: Settings | None = None) -> None:
    """Writes the set as `generate` does, unless it is there; waits for another process that does."""
    try:
        if not os.path.exists(out):
            generate(out, settings)
    except stanet_jax.InputError:
        if not os.path.exists(out):
            raise


@contextlib.contextmanager
def mapping(workers: int | None, count: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Gives `map` by so many processes, by none beside this one where it is one worker.

    By default there is one for each core; up to 64 items, the `count`, are made sooner than other processes start.
    """
    workers = workers or (1 if count <= 64 else os.cpu_count() or 1)
    if workers == 1:
        yield map
        return
    with pool(workers) as of_workers:
        yield functools.partial(of_workers.map, chunksize=8)


def write_all(root: pathlib.Path, settings: Settings, workers: int | None) -> None:
    """Writes the whole set into a folder; the arguments are those of `generate`."""
    (root / 'AVE_Dataset' / 'AVE').mkdir(parents=True)
    jobs = [(split, index) for split in SPLITS for index in range(getattr(settings, split))]
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    truths, train_density = [], np.zeros((settings.side, settings.side))
    with mapping(workers, len(jobs)) as map_:
        results = map_(write_clip, *zip(*((root, settings, *job) for job in jobs), strict=True))
        progress = tqdm.tqdm(results, 'SynthAVE', len(jobs), unit='clip', mininterval=1)
        for (split, _), written in zip(jobs, progress, strict=True):
            lines[split].append(written.annotation)
            truths.append(written.truth)
            train_density = train_density + written.density * (split == 'train')
    for split, name in SPLITS.items():
        (root / 'AVE_Dataset' / name).write_text('\n'.join(lines[split]) + '\n')
    (root / 'AVE_Dataset' / 'Annotations.txt').write_text('\n'.join(sum(lines.values(), [])) + '\n')
    (root / 'truth.jsonl').write_text('\n'.join(truths) + '\n')
    (root / 'settings.json').write_text(json.dumps(dataclasses.asdict(settings), indent=2) + '\n')
    mean = np.round(255 * train_density / max(train_density.max(), 1e-9)).astype(np.uint8)
    PIL.Image.fromarray(mean).save(root / 'train_mean_density.png')
    (root / 'fold_lists').mkdir()
    fold = ''.join(f'{line.split("&")[1]} {settings.frames} {settings.rate}\n' for line in lines['test'])
    (root / 'fold_lists' / f'{SET}_list_test_fps.txt').write_text(fold)


if __name__ == '__main__':
    from stanet_jax import cli  # here, as only running this file needs it
    cli.main(['data', 'synthave', *sys.argv[1:]])
