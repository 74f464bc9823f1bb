"""What the report shows: the maps of every stage for a few clips, and films with the students' maps over them."""
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float, Num, UInt8
from ml_collections import ConfigDict

from stanet_jax.data import annotations
from stanet_jax.data.clips import Clips
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.map_sources import student_maps
from stanet_jax.inference.predictor import Predictor
from stanet_jax.inference.videos import predict_video
from stanet_jax.media import box
from stanet_jax.media.contact_sheet import contact_sheet
from stanet_jax.media.header import duration
from stanet_jax.media.overlay import overlay
from stanet_jax.pipeline.table import STUDENT_ROWS
from stanet_jax.stages.accuracy import example_maps, map_rows
from stanet_jax.stages.examples import find_source, make_examples, open_clips, shown_frame
from stanet_jax.stages.nets import make_classifier
from stanet_jax.stages.students import STUDENTS
from stanet_jax.training import checkpoint
from stanet_jax.workdir import read_config

FILMS, LONGEST = 8, 30.0  # how many films a report shows, and of how many seconds at most


@dataclasses.dataclass(frozen=True)
class ClipFilm:
    """A prepared clip as students see and hear it, see `map_sources.FilmVideo`."""
    clips: Clips
    index: int

    @property
    def name(self) -> str:
        """The clip's id."""
        return self.clips.clips[self.index]['id']

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return self.clips.clips[self.index]['frames']

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.clips.rate_of(self.index)

    def frame(self, k: int) -> UInt8[np.ndarray, 'h w 3']:
        """Frame k."""
        return self.clips.frame(self.index, k)

    def wave(self) -> Float[np.ndarray, ' n'] | None:
        """The sound in [-1, 1]; None for a silent clip."""
        sound = self.clips.raw(self.index).sound
        return None if sound is None or not len(sound) else sound.astype(np.float32) / 32768


def open_stage_clips(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Clips]:
    """The clips of a pipeline's run, as its coarse nets see them."""
    return open_clips(coarse_config(config, workdir))


def coarse_config(config: ConfigDict, workdir: pathlib.Path) -> ConfigDict:
    """The config of the coarse nets of a pipeline's run, with its audio switch."""
    coarse = read_config(workdir / 'coarse')
    coarse.switch = str(workdir / 'switch')
    coarse.data.update(config.data)
    return coarse


def draw_stages(config: ConfigDict, workdir: pathlib.Path, clips: Clips, students: Predictor, videos: Mapping[str, fixations.Video],
                path: pathlib.Path) -> None:
    """Draws the maps of every stage for a few clips, a row for each clip.

    A row shows the frame, the gaze of the observers where it is known, each source's class activation map, SCAM coarse with its box, SCAM
    fine, SCAM+, the students and their fusion; of STANet alone no SCAM+ and one student.

    Args:
        config: of the pipeline.
        workdir: its folder.
        clips: some of whose maps are shown.
        students: of the run.
        videos: of the fixation set that has the clips' gaze, by name; {} where there is none.
        path: of the PNG or JPEG file to write.
    """
    coarse, shown = coarse_config(config, workdir), {}
    for source in ('S', 'SA', 'ST'):
        model = make_classifier(coarse, source, len(clips.categories))
        variables = checkpoint.load_variables(workdir / 'coarse' / source / 'variables')
        shown[source] = example_maps(model, variables, make_examples(coarse, source, clips, 1))
    chosen = [of.clip for of in shown['S']]
    films = [ClipFilm(clips, clip) for clip in chosen]
    predicted_of, names, titles = student_maps(students, films), clips.names, student_titles(students.names)
    boxes = annotations.manifest(workdir / 'pseudo_gt' / 'coarse', clips, 'box')
    rows: list[tuple[str, list[tuple[str, np.ndarray]]]] = []
    for (title, cells), film in zip(map_rows(shown, clips), films, strict=True):
        clip = film.index
        k, frame = shown_frame(clips, clip), cells[0][1]

        def pseudo(stage, name=names[clip], k=k):
            with PIL.Image.open(annotations.map_path(workdir / 'pseudo_gt' / stage / clips.split, name, k)) as image:
                return np.asarray(image) / 255
        gaze: Any = videos[film.name].density(k) if videos else None  # SynthAVE has that of every frame
        predicted = list(predicted_of(film))[k]
        extra = {'SCAM coarse': draw_box(overlay(frame, pseudo('coarse')), boxes[clip][k]), 'SCAM fine': overlay(frame, pseudo('fine')),
                 **({'SCAM+': overlay(frame, pseudo('plus'))} if 'sta_plus' in config else {}),
                 **{title: overlay(frame, stretched(predicted[name])) for name, title in titles.items()}}
        looked = [] if gaze is None else [('gaze', overlay(frame, stretched(gaze)))]
        rows.append((title, [cells[0], *looked, *cells[1:], *extra.items()]))
    contact_sheet(path, rows, across=1)


def student_titles(names: Sequence[str]) -> dict[str, str]:
    """What is shown of a predictor's maps, with titles: those of the students, and the fusion that is the prediction of three."""
    titles = {name: STUDENT_ROWS[name] for name in names if name in STUDENTS}
    return titles if names[-1] in titles else {**titles, names[-1]: f'{names[-1]}, no tag'}


def stretched(map_: Num[np.ndarray, 'h w']) -> Num[np.ndarray, 'h w']:
    """A map scaled linearly to [0, 1]."""
    return (map_ - map_.min()) / max(map_.max() - map_.min(), 1e-9)


def draw_box(image: UInt8[np.ndarray, 'h w 3'], box: Sequence[float]) -> UInt8[np.ndarray, 'h w 3']:
    """An RGB image with a box drawn on it; the box is (y0, x0, y1, x1) in shares of the image."""
    picture = PIL.Image.fromarray(image)
    (w, h), (y0, x0, y1, x1) = picture.size, box
    PIL.ImageDraw.Draw(picture).rectangle((x0 * w, y0 * h, x1 * w - 1, y1 * h - 1), outline=(120, 230, 120))
    return np.asarray(picture)


def render_films(config: ConfigDict, workdir: pathlib.Path, clips: Clips, students: Predictor) -> list[tuple[str, pathlib.Path]]:
    """Predicts the first short film of each kind of clip, or of each tag where all are of one kind, and gives the overlay videos.

    Args:
        config: of the pipeline.
        workdir: its folder, where `films` is written.
        clips: whose films are taken.
        students: of the run.
    Returns:
        (title, path of the mp4 file) of FILMS films at most.
    """
    kinds = {clip['kind'] for clip in clips.clips}
    paths = {of.id: of.path for of in find_source(config).read().splits[clips.split]}
    made: dict[str, pathlib.Path] = {}
    for i, clip in enumerate(clips.clips):
        title = clip['kind'] if len(kinds) > 1 else clips.tag_names(i)
        path = paths.get(clip['id'])
        if title in made or len(made) == FILMS or path is None or (box.call(duration, path) or np.inf) > LONGEST:
            continue
        name = f'{len(made)}'
        predict_video(students, path, workdir / 'films', name)
        made[title] = workdir / 'films' / name / 'overlay.mp4'
    return list(made.items())
