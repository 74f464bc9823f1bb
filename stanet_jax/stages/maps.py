"""Pseudo-fixations: SCAM of every frame of a data set (CVPR Sec. 3.1, 3.2; TPAMI Sec. 3.1, 3.2, 4).

One stage makes one kind of map; what its sources are and where they look is the config's to say:

    coarse   S, SA and ST on whole frames; SCAM, a mean over neighbouring frames, and the tightest box around what stands out
    fine     nets that were trained on the boxes' crops, on these crops; SCAM pasted back into the frame
    plus     the fine nets, and S+, SA+ and ST+ on whole frames

and writes

    <workdir>/<split>/<clip>/maps/eyeMap_%05d.png     8 bit, one for each frame, scaled to its maximum
    <workdir>/<split>/manifest.jsonl                  a line for each frame: sources, weights, box

A clip's folder appears when all of it is there; what a kill interrupts is done again, the rest is left.
"""
import functools
import hashlib
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from stanet_jax import scam
from stanet_jax.data.annotations import Annotations, clip_names, map_path
from stanet_jax.models.classifiers import PLUS_NETS
from stanet_jax.stages.examples import open_clips
from stanet_jax.stages.source_maps import iterate_source_maps, load_nets, make_source_maps_fn
from stanet_jax.training.checks import require
from stanet_jax.workdir import barrier, open_workdir, read_config, replace_text, write_missing

FUSIONS = ('selective', 'average')  # Eq. 2 and Eq. 22


class FusedMaps(NamedTuple):
    """The maps of a clip's t frames.

    Attributes:
        maps: uint8 [t, side, side]; boxes: int32 [t, 4], the tightest around what stands out, in pixels.
        weights: [t, s], of the sources.
        empty: [t], frames whose sources are all filtered out. Their maps are zeros; their boxes are of their neighbours.
    """
    maps: Any
    boxes: Any
    weights: Any
    empty: Any


def fuse(plain, plus, boxes, tags, valid, *, fusion, reach, side):
    """A clip's maps: SCAM, pasted at its boxes, the mean over `t - reach ... t + reach`, min-max; and the tightest boxes around them.

    Args:
        plain: SourceMaps [t, s, ...] that were cut at `boxes`, or None.
        plus: SourceMaps of further sources (Eq. 8), which saw whole frames: every map is then pasted before SCAM; or None.
        boxes: [t, 4] in pixels; tags: [c].
        valid: [t], False at what only fills the clip up to a length.
        fusion: 'selective' (Eq. 2) or 'average' (Eq. 22).
        reach: of the mean; 0 for none.
        side: of the frame, in pixels.
    Returns:
        FusedMaps
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
    tight = jax.vmap(lambda m: scam.widen_box(scam.tight_box(m), m.shape))(maps)
    maps = jnp.where(empty[:, None, None], 0, maps)
    return FusedMaps(jnp.round(255 * maps).astype(jnp.uint8), tight, weights, empty)


# -------------------------------------------------------------------------------------------------------------------- stage


def check(config):
    """Refuses a config whose fields cannot be meant, with the field's name."""
    require('fusion', config.fusion, config.fusion in FUSIONS, f'must be one of {", ".join(FUSIONS)}')
    require('reach', config.reach, config.reach >= 0, 'must be 0 (no mean over neighbours) or more')
    require('stretch', config.stretch, config.stretch > 0, 'must be above 0')
    require('splits', config.splits, set(config.splits) <= {'train', 'validation', 'test'} and config.splits,
            'must name splits out of train, validation, test')
    require('plus_sources', config.plus_sources, set(config.plus_sources) <= set(PLUS_NETS),
            f'must name sources out of {", ".join(PLUS_NETS)}')
    require('sources', config.sources, set(config.sources) <= {'S', 'SA', 'ST', 'STA'} and (config.sources or config.plus_nets),
            'must name sources out of S, SA, ST, STA')


def run(config, workdir):
    """Makes the maps of every clip of `config.splits`, on all devices; each process does its share of the clips. What is done is left.

    Reads the run of the nets, that of the nets of SCAM+ where `config.plus_nets` names one, the switch's labels and the stage of the
    boxes; see `configs/pseudo_gt.py`.
    """
    check(config)
    side = read_config(config.nets).data.side
    workdir, data = open_workdir(config, workdir), open_clips(config, side)
    classes = len(next(iter(data.values())).categories)
    nets, plus = load_nets(config.nets, config.sources, classes), load_nets(config.plus_nets, config.plus_sources, classes)
    run_hash = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
    source_maps_fn, made, empty = make_source_maps_fn(nets, plus), 0, 0
    for split, clips in ((split, data[split]) for split in config.splits if split in data):
        sources_of = functools.partial(iterate_source_maps, clips, Annotations(clips, config.switch, config.boxes), plus=plus,
                                       source_maps_fn=source_maps_fn, stretch=config.stretch, workers=config.data.workers)
        fuse_clip = make_fuse_fn(clips, config.fusion, config.reach)
        counts = write_split(workdir / split, clips, sources_of, fuse_clip, (*nets.models, *plus.models), run_hash)
        made, empty = made + counts[0], empty + counts[1]
    print(f'{workdir}: {made} maps made, {empty} of them empty, as no source was sure of the tag')


def write_split(out, clips, sources_of, fuse_clip, sources, run_hash):
    """Writes the maps of one split that are not in `out` yet; -> how many frames' maps were made, and how many of them are empty.

    Args:
        sources_of: `chosen -> iterator of (clip, ClipSources)`; fuse_clip: `ClipSources -> FusedMaps`.
        sources: names of the sources; run_hash: of the config, for the manifest.
    """
    names, counts = clip_names(clips), np.zeros(2, int)

    def make(missing):
        for clip, seen in sources_of(missing):
            made, frames = fuse_clip(seen), range(clips.clips[clip]['frames'])
            rows = [{**manifest_row(clips, clip, k, seen, made, sources), 'clip': names[clip], 'config': run_hash} for k in frames]
            counts[:] += len(rows), made.empty.sum()
            yield clip, functools.partial(write_maps, made.maps, rows)

    write_missing(out, names, [clip['frames'] for clip in clips.clips], make, 'frame')
    if jax.process_index() == 0:
        replace_text(out / 'manifest.jsonl', ''.join((out / name / 'frames.jsonl').read_text() for name in names))
    barrier(f'{out} listed')
    return counts


def make_fuse_fn(clips, fusion, reach):
    """`ClipSources -> FusedMaps`; clips are filled up to the longest one, so that one size is compiled."""
    fused = jax.jit(functools.partial(fuse, fusion=fusion, reach=reach, side=clips.side))
    longest = max(clip['frames'] for clip in clips.clips)

    def fuse_clip(seen):
        t = len(seen.boxes)
        plain, plus, boxes = jax.tree.map(lambda x: np.pad(x, [(0, longest - t)] + [(0, 0)] * (x.ndim - 1), 'edge'),
                                          (seen.plain, seen.plus, seen.boxes))
        return jax.tree.map(lambda x: np.asarray(x)[:t], fused(plain, plus, boxes, seen.tags, np.arange(longest) < t))
    return fuse_clip


def manifest_row(clips, clip, k, seen, made, sources):
    """A frame's row of the manifest; `frame` counts from 1, as the files do, `box` is (y0, x0, y1, x1) in shares of the frame."""
    info = clips.clips[clip]
    tag = info['tag']
    confidence = np.concatenate([of.confidence[k, :, tag] for of in (seen.plain, seen.plus) if of is not None])
    return {'frame': k + 1, 'tag': clips.categories[tag], 'kind': info['kind'], 'switch': int(seen.phi[k]),
            'sources': {s: {'confidence': round(float(confidence[i]), 4), 'weight': round(float(made.weights[k, i]), 4)}
                        for i, s in enumerate(sources)},
            'box': [round(float(x), 5) for x in made.boxes[k] / clips.side], 'empty': bool(made.empty[k])}


def write_maps(maps, rows, folder):
    """Writes a clip's maps uint8 [t, h, w] and its rows of the manifest into its folder."""
    map_path(folder.parent, folder.name, 0).parent.mkdir(parents=True)
    for t, map_ in enumerate(maps):
        PIL.Image.fromarray(map_).save(map_path(folder.parent, folder.name, t), compress_level=1)
    (folder / 'frames.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
