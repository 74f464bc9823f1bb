"""Stage: pseudo-fixations, the SCAM maps of every frame of a data set (CVPR Sec. 3.4, 3.6; TPAMI Sec. 3, 4).

A run makes one kind of map; its config names the sources and the boxes that they are cropped to:

    coarse   S, SA and ST on whole frames; SCAM, a mean over neighbouring frames, and the tightest box around the salient region
    fine     S, SA and ST trained on the crops of these boxes, on these crops; SCAM pasted back into the frame
    plus     the fine nets on the crops, and S+, SA+ and ST+ on whole frames

and writes

    <workdir>/<split>/<clip>/maps/eyeMap_%05d.png     8 bit, one for each frame, scaled to its maximum
    <workdir>/<split>/manifest.jsonl                  a line for each frame: sources, weights, box

A clip's folder appears when it is complete. After an interruption the clips that are missing are made, the others are kept.
"""
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from jaxtyping import Bool, Float, Int, Num, UInt8
from ml_collections import ConfigDict

from stanet_jax import InputError, scam
from stanet_jax.arrays import AnyArray
from stanet_jax.contrast import weigh
from stanet_jax.data.annotations import Annotations, map_path
from stanet_jax.data.clips import Clips
from stanet_jax.models.classifiers import PLUS_NETS
from stanet_jax.stages.examples import check_data, open_clips
from stanet_jax.stages.nets import front_end
from stanet_jax.stages.source_maps import ClipSources, Nets, SourceMaps, iterate_source_maps, load_nets, make_source_maps_fn
from stanet_jax.training.checks import require
from stanet_jax.workdir import barrier, open_workdir, read_config, replace_text, write_missing

FUSIONS = ('selective', 'average')  # Eq. 2 and Eq. 22


class FusedMaps(NamedTuple):
    """The fused maps of the t frames of a clip.

    Attributes:
        maps: pseudo-fixations, from 0 to 255; zeros where `empty`.
        boxes: (y0, x0, y1, x1) of the tightest box around the salient region, in pixels; taken from the neighbours
            where all sources were filtered out.
        weights: of the s sources.
        empty: whether all sources were filtered out, or the cut left nothing.
    """
    maps: UInt8[AnyArray, 't side side']
    boxes: Int[AnyArray, 't 4']
    weights: Float[AnyArray, 't s']
    empty: Bool[AnyArray, ' t']


def fuse(plain: SourceMaps | None, plus: SourceMaps | None, boxes: Float[AnyArray, 't 4'], tags: Num[AnyArray, ' c'],
         valid: Bool[AnyArray, ' t'], contrasts: Float[AnyArray, 't h w'] | None = None, *, fusion: str, reach: int, side: int,
         cut: float = 0.0) -> FusedMaps:
    """Fuses the maps of a clip's sources to one map for each frame, and finds the tightest box around each.

    The sources' maps are fused, pasted into the frame at their boxes, averaged over the frames `t - reach ... t + reach` and scaled to
    their range. With `contrasts`, they then weigh the contrast of each frame, by which a frame without a source has a map, too.

    Args:
        plain: S, SA and ST, which saw the crops of `boxes`; or None.
        plus: S+, SA+ and ST+, which saw whole frames (TPAMI Eq. 8); or None. With these, maps are pasted before they are fused.
        boxes: (y0, x0, y1, x1) in pixels.
        tags: multi-hot.
        valid: False at frames that only pad the clip to a fixed length.
        contrasts: of the frames, see `contrast.contrast`; or None.
        fusion: 'selective' (Eq. 2) or 'average' (Eq. 22).
        reach: frames on each side that are averaged over; 0 for none.
        side: of the frames, in pixels.
        cut: see `scam.cut`; boxes are found before.
    """
    sources = [] if plain is None else [plain]
    if plus is not None:
        paste = jax.vmap(jax.vmap(functools.partial(scam.paste, shape=(side, side)), in_axes=(0, None)))
        whole = jnp.broadcast_to(jnp.float32([0, 0, side, side]), boxes.shape)
        sources = [of._replace(cams=paste(of.cams, at)) for of, at in ((plain, boxes), (plus, whole)) if of is not None]
        boxes = whole
    cams, confidence = (jnp.concatenate(of, axis=1) for of in zip(*sources, strict=True))
    weights = scam.soft_filter(confidence, jnp.broadcast_to(tags, (len(cams), len(tags))))
    if fusion == 'average':
        maps, empty = scam.average(cams), jnp.zeros(len(cams), bool)
    else:
        maps, empty = scam.scam(cams, weights), weights.sum(axis=1) == 0
    maps = jax.vmap(functools.partial(scam.paste, shape=(side, side)))(maps, boxes)
    maps = scam.min_max(scam.smooth(maps, valid, reach))
    if contrasts is not None:
        near = scam.smooth(jax.image.resize(contrasts.astype(jnp.float32), maps.shape, 'bilinear'), valid, reach)
        maps, empty = weigh(jnp.where(empty[:, None, None], 0, maps), near), jnp.zeros_like(empty)
    tight = jax.vmap(lambda m: scam.widen_box(scam.tight_box(m), m.shape))(maps)
    maps = jnp.where(empty[:, None, None], 0, scam.cut(maps, cut))
    levels = jnp.round(255 * maps).astype(jnp.uint8)
    return FusedMaps(levels, tight, weights, empty | ~levels.any(axis=(1, 2)))


# -------------------------------------------------------------------------------------------------------------------- stage


def check(config: ConfigDict) -> None:
    """Checks the fields of a config of this stage.

    Raises:
        InputError: a field has a value that is not allowed; the message names the field.
    """
    check_data(config)
    require('fusion', config.fusion, config.fusion in FUSIONS, f'must be one of {", ".join(FUSIONS)}')
    require('cut', config.cut, config.cut >= 0, 'must be 0 (nothing is cut), or above')
    require('every', config.every, config.every >= 1, 'must be 1 (maps of every clip) or more')
    require('reach', config.reach, config.reach >= 0, 'must be 0 (no mean over neighbours) or more')
    if config.contrast:
        require('contrast', config.contrast, read_config(config.nets).encoder.get('frozen'), 'is of the features of a frozen encoder')
    require('stretch', config.stretch, config.stretch > 0, 'must be above 0')
    require('splits', config.splits, bool(config.splits) and set(config.splits) <= {'train', 'validation', 'test'},
            'must name splits out of train, validation, test')
    require('plus_sources', config.plus_sources, set(config.plus_sources) <= set(PLUS_NETS),
            f'must name sources out of {", ".join(PLUS_NETS)}')
    require('sources', config.sources, set(config.sources) <= {'S', 'SA', 'ST', 'STA'} and bool(config.sources or config.plus_nets),
            'must name sources out of S, SA, ST, STA')


def run(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Makes the maps of each clip of `config.splits` that has none yet, each process a share of the clips.

    Of the clips for training and validation these are each n-th of a tag alone, where `config.every` is n.

    Reads the runs of the nets, `config.nets` and for SCAM+ `config.plus_nets`; the audio switch's labels, `config.switch`; and the boxes
    of another run of this stage, `config.boxes`. See `configs/pseudo_gt.py`.
    """
    run_together([(config, workdir)])


def run_together(wanted: Sequence[tuple[ConfigDict, str | os.PathLike]]) -> None:
    """Makes several kinds of maps of the same nets, as (config, workdir) each, as `run` does; the nets' own maps are computed once.

    The configs differ in `sources`, `plus_sources`, `fusion`, `cut` and `every` alone, and in whether there are `plus_nets`.
    """
    for config, _ in wanted:
        check(config)
    config = max((config for config, _ in wanted), key=lambda of: bool(of.plus_nets))
    of_nets = read_config(config.nets)
    workdirs, data = [open_workdir(of, workdir) for of, workdir in wanted], open_clips(config, of_nets)
    classes = len(next(iter(data.values())).categories)
    nets, plus = (load_nets(config[field], {name for of, _ in wanted for name in of[names]}, classes)
                  for field, names in (('nets', 'sources'), ('plus_nets', 'plus_sources')))
    source_maps_fn = make_source_maps_fn(nets, plus, config.centred)
    counts: dict[pathlib.Path, list[MapCounts]] = {workdir: [] for workdir in workdirs}
    for split, clips in ((split, data[split]) for split in config.splits if split in data):
        sources_of = functools.partial(iterate_source_maps, clips, Annotations(clips, config.switch, config.boxes), plus=plus,
                                       source_maps_fn=source_maps_fn, stretch=config.stretch, workers=config.data.workers,
                                       front_end=front_end(of_nets))
        kinds = [make_kind(of, workdir / split, clips, nets, plus) for (of, _), workdir in zip(wanted, workdirs, strict=True)]
        for workdir, of_split in zip(workdirs, write_split(kinds, clips, sources_of), strict=True):
            counts[workdir].append(of_split)
    for workdir, of_splits in counts.items():
        print(f'{workdir}: {sum(of.made for of in of_splits)} maps made, {sum(of.empty for of in of_splits)} of them empty, as no source '
              'was sure of the tag or nothing in them stood out')


class MapCounts(NamedTuple):
    """How many maps were made, and how many of these are empty, see `FusedMaps`."""
    made: int
    empty: int


class MapKind(NamedTuple):
    """One of the kinds of maps that are made together, of the clips of a split.

    Attributes:
        out: folder of the split.
        clips: indices of those whose maps are made.
        sources: names of the nets that are fused.
        select: gives those nets' maps of a clip, out of all that were computed.
        fuse: `(clip, ClipSources) -> FusedMaps`, see `make_fuse_fn`.
        config: a hash of its config, for the manifest.
    """
    out: pathlib.Path
    clips: frozenset[int]
    sources: Sequence[str]
    select: Callable[[ClipSources], ClipSources]
    fuse: Callable[[int, ClipSources], FusedMaps]
    config: str


def make_kind(config: ConfigDict, out: pathlib.Path, clips: Clips, nets: Nets, plus: Nets) -> MapKind:
    """The kind of maps of a config, out of those of `nets` and `plus`, which may be more than it names."""
    chosen = [[name for name in of.models if name in names] for of, names in ((nets, config.sources), (plus, config.plus_sources))]
    if not any(chosen):
        raise InputError(f'config.sources={tuple(config.sources)}, config.plus_sources={tuple(config.plus_sources)}: the runs have none of '
                         f'these nets, but {", ".join([*nets.models, *plus.models]) or "no others either"}; name some that they have')
    places = [[list(of.models).index(name) for name in some] for of, some in zip((nets, plus), chosen, strict=True)]

    def select(seen):
        plain, further = (None if of is None or not some else jax.tree.map(lambda x, some=some: x[:, some], of)
                          for of, some in zip((seen.plain, seen.plus), places, strict=True))
        return seen._replace(plain=plain, plus=further)

    run_hash = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
    fuse_fn = make_fuse_fn(clips, config.fusion, config.reach, config.contrast, config.cut)
    return MapKind(out, frozenset(clips.each(config.every)), [*chosen[0], *chosen[1]], select, fuse_fn, run_hash)


def write_split(kinds: Sequence[MapKind], clips: Clips,
                sources_of: Callable[[Sequence[int]], Iterator[tuple[int, ClipSources]]]) -> list[MapCounts]:
    """Writes the maps of one split that are missing, of every kind, and their manifests; returns how many of each kind were made.

    Args:
        kinds: of maps.
        clips: of the split.
        sources_of: yields (clip, its sources' maps) of chosen clips, see `iterate_source_maps`.
    """
    names, counts = clips.names, [[MapCounts(0, 0)] for _ in kinds]
    root = pathlib.Path(os.path.commonpath([kind.out for kind in kinds]))
    places = [(clip, number) for clip in range(len(clips)) for number, kind in enumerate(kinds) if clip in kind.clips]
    for kind in kinds:
        kind.out.mkdir(parents=True, exist_ok=True)

    def make(missing):
        of_clip: dict[int, list[int]] = {}
        for place in missing:
            of_clip.setdefault(places[place][0], []).append(place)
        for clip, seen in sources_of(list(of_clip)):
            for place in of_clip[clip]:
                number = places[place][1]
                kind, frames = kinds[number], range(clips.clips[clip]['frames'])
                chosen = kind.select(seen)
                made = kind.fuse(clip, chosen)
                rows = [{**manifest_row(clips, clip, k, chosen, made, kind.sources), 'clip': names[clip], 'config': kind.config}
                        for k in frames]
                counts[number].append(MapCounts(len(rows), int(made.empty.sum())))
                yield place, functools.partial(write_maps, made.maps, rows)

    paths = [os.fspath((kinds[number].out / names[clip]).relative_to(root)) for clip, number in places]
    write_missing(root, paths, [clips.clips[clip]['frames'] for clip, _ in places], make, 'frame')
    for kind in kinds:
        if jax.process_index() == 0:
            lines = [(kind.out / names[clip] / 'frames.jsonl').read_text() for clip in sorted(kind.clips)]
            replace_text(kind.out / 'manifest.jsonl', ''.join(lines))
        barrier(f'{kind.out} listed')
    return [MapCounts(sum(of.made for of in some), sum(of.empty for of in some)) for some in counts]


_fuse = jax.jit(fuse, static_argnames=('fusion', 'reach', 'side', 'cut'))


def make_fuse_fn(clips: Clips, fusion: str, reach: int, contrast: bool = False,
                 cut: float = 0.0) -> Callable[[int, ClipSources], FusedMaps]:
    """`(clip, ClipSources) -> FusedMaps` for clips of a split, see `fuse`; with their contrast where asked for.

    Clips are padded to the longest one, so that it is compiled once.
    """
    fused = functools.partial(_fuse, fusion=fusion, reach=reach, side=clips.side, cut=cut)
    longest = max(clip['frames'] for clip in clips.clips)

    def fuse_clip(clip, seen):
        t = len(seen.boxes)
        contrasts = clips.whole.of_clip(clips.clips[clip], 'contrast') if contrast and clips.whole else None
        plain, plus, boxes, contrasts = jax.tree.map(lambda x: np.pad(x, [(0, longest - t)] + [(0, 0)] * (x.ndim - 1), 'edge'),
                                          (seen.plain, seen.plus, seen.boxes, contrasts))
        return jax.tree.map(lambda x: np.asarray(x)[:t], fused(plain, plus, boxes, seen.tags, np.arange(longest) < t, contrasts))
    return fuse_clip


def manifest_row(clips: Clips, clip: int, k: int, seen: ClipSources, made: FusedMaps, sources: Sequence[str]) -> dict[str, Any]:
    """The line of the manifest on frame k of a clip.

    `frame` counts from 1, as the files do; `box` is (y0, x0, y1, x1) in shares of the frame; `sources` has the `confidence` in the tag (the
    mean over several) and the `weight` of each source.
    """
    info = clips.clips[clip]
    confidence = np.concatenate([of.confidence[k][:, info['tags']].mean(axis=1) for of in (seen.plain, seen.plus) if of is not None])
    return {'frame': k + 1, 'tag': clips.tag_names(clip), 'kind': info['kind'], 'switch': int(seen.phi[k]),
            'sources': {s: {'confidence': round(float(confidence[i]), 4), 'weight': round(float(made.weights[k, i]), 4)}
                        for i, s in enumerate(sources)},
            'box': [round(float(x), 5) for x in made.boxes[k] / clips.side], 'empty': bool(made.empty[k])}


def write_maps(maps: UInt8[np.ndarray, 't h w'], rows: Sequence[Mapping[str, Any]], folder: pathlib.Path) -> None:
    """Writes a clip's maps as PNG files and its lines of the manifest as `frames.jsonl` into a new folder."""
    map_path(folder.parent, folder.name, 0).parent.mkdir(parents=True)
    for t, map_ in enumerate(maps):
        PIL.Image.fromarray(map_).save(map_path(folder.parent, folder.name, t), compress_level=1)
    (folder / 'frames.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
