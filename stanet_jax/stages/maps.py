"""Pseudo-fixations: SCAM of every frame of a data set, coarse to fine (CVPR Sec. 3.1, 3.2; TPAMI Sec. 3.1, 3.2).

Coarse: SCAM of S, SA and ST, a mean over neighbouring frames, and the tightest box around what stands out. Fine: three nets that
were trained on the boxes' crops, SCAM again, pasted back into the frame, a mean over neighbouring frames. Each stage writes

    <stage>/<split>/<clip>/maps/eyeMap_%05d.png     8 bit, one for each frame, scaled to its maximum
    <stage>/<split>/manifest.jsonl                  a line for each frame: sources, weights, box

A clip's folder appears when all of it is there; what a kill interrupts is done again, the rest is left.
"""
import concurrent.futures
import functools
import hashlib
import json
import pathlib
import shutil

import grain
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import tqdm

from stanet_jax import InputError, scam
from stanet_jax.data import augmentation as augment
from stanet_jax.data.annotations import Annotations, clip_names, map_path
from stanet_jax.data.fragments import WHOLE, fragment, others
from stanet_jax.media import sound as audio
from stanet_jax.models import branch, classifiers
from stanet_jax.stages import classifiers as classification
from stanet_jax.training import checkpoint, sharding
from stanet_jax.training import loop as training

FUSIONS = ('selective', 'average')  # Eq. 2 and Eq. 22
STAGES = ('coarse', 'fine', 'plus')


# --------------------------------------------------------------------------------------------------------------- on devices


def source_maps(variables, batch, *, models):
    """Every source's view of stretches of n frames, each cropped to its box.

    Args:
        variables: {source: variables}; models: {source: Classifier}.
        batch: `frames` uint8 [b, n + 2, h, w, 3], n frames and one more at each end; `boxes` [b, n, 4], (y0, x0, y1, x1) in pixels;
            `tags` [b, c]; `audio` [b, n, 257, T] and `phi` [b, n].
    Returns:
        `cams` [b, n, s, h', w'] in [0, 1] and `confidence` [b, n, s, c].
    """
    b, n = batch['boxes'].shape[:2]
    shape = batch['frames'].shape[2:4]

    def triples(frames, boxes):
        neighbours = jnp.stack([frames[k:k + n] for k in range(3)], axis=1)
        cut = jax.vmap(jax.vmap(functools.partial(scam.crop, shape=shape), in_axes=(0, None)))
        return cut(neighbours.astype(jnp.float32), boxes)

    frames = jax.vmap(triples)(batch['frames'], batch['boxes']).reshape(b * n, 3, *shape, 3)
    tags = jnp.repeat(batch['tags'], n, axis=0)
    cams, confidences = [], []
    for source, model in models.items():
        example = {'frames': frames if branch.FRAMES[source] == 3 else frames[:, 1:2], 'tags': tags,
                   'audio': batch['audio'].reshape(b * n, *batch['audio'].shape[2:]), 'phi': batch['phi'].reshape(b * n)}
        logits, cam = classification.predict(variables[source], example, model=model)
        cams.append(cam)
        confidences.append(jax.nn.softmax(logits))
    return {'cams': jnp.stack(cams, 1).reshape(b, n, len(models), *cams[0].shape[1:]),
            'confidence': jnp.stack(confidences, 1).reshape(b, n, len(models), -1)}


def plus_maps(variables, batch, *, models, side):
    """The views of S+, SA+ and ST+ of whole clips; each net encodes a frame once, however many fragments it is in.

    Args:
        variables: {net: variables}; models: {net: ClassifierPlus}.
        batch: as `source_maps` takes it, n frames being all of a clip, and, see `companions`, `length` [b], `places` {net: [b, n, m]},
            `cross_frames` [b, m, 3, h, w, 3], `cross_audio` [b, m, 257, T] and `cross_phi` [b, m].
        side: of the frames that the nets were trained on; others are resized.
    Returns:
        As `source_maps`.
    """
    b, n = batch['phi'].shape
    last, cams, confidences = batch['length'] - 1, [], []
    for net, model in models.items():
        source, _, granularity = net.partition('_')
        reach, apply = jnp.arange(branch.FRAMES[source]) - branch.FRAMES[source] // 2, functools.partial(model.apply, variables[net])

        def nodes_of(seen, heard, phi, apply=apply):  # [b, k, t, h', w', f], [b, k, d], [b, k] -> [b, k, h', w', c]
            flat = (None if x is None else x.reshape(-1, *x.shape[2:]) for x in (seen, heard, phi))
            nodes = apply(*flat, method='node')
            return nodes.reshape(*seen.shape[:2], *nodes.shape[1:])

        def see(frames, apply=apply):  # [b, ..., h, w, 3] -> C5
            x = augment.normalise(frames)
            x = x if x.shape[-2] == side else jax.image.resize(x, (*x.shape[:-3], side, side, 3), 'linear')
            return apply(x, method='see')['C5']

        def at(values, places, last=last):  # [b, k, ...], [b, ...] -> [b, ..., ...]: the values at these places of each clip
            return jax.vmap(lambda of, where, end: of[jnp.clip(where, 0, end)])(values, places, last)

        # The nodes of all moments from one before the first, whose frames are all the first, to one after the last.
        moments = jnp.broadcast_to(jnp.arange(-1, n + 1), (b, n + 2))
        seen = at(see(batch['frames'][:, 1:-1]), moments[..., None] + reach)
        sound = (at(apply(batch['audio'], method='hear'), moments), at(batch['phi'], moments)) if source == 'SA' else (None, None)
        nodes = nodes_of(seen, *sound)
        targets = nodes[:, 1:-1, None]
        if granularity == 'cross':
            seen = see(batch['cross_frames'][:, :, 1 + reach])
            sound = (apply(batch['cross_audio'], method='hear'), batch['cross_phi']) if source == 'SA' else (None, None)
            found = nodes_of(seen, *sound)[:, None]
            found = jnp.broadcast_to(found, (b, n, *found.shape[2:]))
        else:
            found = at(nodes, batch['places'][net] + 1, last + 2)
        every = jnp.concatenate([targets, found], axis=2)
        logits, out = apply(every.reshape(b * n, *every.shape[2:]), method='reason')
        cams.append(scam.class_activation(out['maps'], jnp.repeat(batch['tags'], n, axis=0)))
        confidences.append(jax.nn.softmax(logits))
    return {'cams': jnp.stack(cams, 1).reshape(b, n, len(models), *cams[0].shape[1:]),
            'confidence': jnp.stack(confidences, 1).reshape(b, n, len(models), -1)}


def fuse(cams, confidence, boxes, tags, valid, plus_cams=None, plus_confidence=None, *, fusion, reach, side):
    """A clip's maps: SCAM, pasted at its boxes, the mean over `t - reach ... t + reach`, min-max; and the tightest boxes around them.

    Args:
        cams: [t, s, h', w']; confidence: [t, s, c]; boxes: [t, 4] in pixels, where the cams were cut; tags: [c].
        valid: [t], False at what only fills the clip up to a length.
        plus_cams, plus_confidence: of further sources (Eq. 8), which saw whole frames: every map is pasted before SCAM. `cams` and
            `confidence` may be None then.
        fusion: 'selective' (Eq. 2) or 'average' (Eq. 22).
        reach: of the mean; 0 for none.
        side: of the frame, in pixels.
    Returns:
        A dict of `maps` uint8 [t, side, side], `boxes` int32 [t, 4] in pixels, `weights` [t, s], `empty` [t]: frames whose sources
        are all filtered out. Their maps are zeros; their boxes are of their neighbours.
    """
    if plus_cams is not None:
        paste = jax.vmap(jax.vmap(functools.partial(scam.paste, shape=(side, side)), in_axes=(0, None)))
        whole = jnp.broadcast_to(jnp.float32([0, 0, side, side]), boxes.shape)
        pasted = [] if cams is None else [paste(cams, boxes)]
        cams, boxes = jnp.concatenate([*pasted, paste(plus_cams, whole)], axis=1), whole
        confidence = plus_confidence if confidence is None else jnp.concatenate([confidence, plus_confidence], axis=1)
    weights = scam.soft_filter(confidence, jnp.broadcast_to(tags, (len(cams), len(tags))))
    if fusion == 'average':
        maps, empty = scam.average(cams), jnp.zeros(len(cams), bool)
    else:
        maps, empty = scam.scam(cams, weights), weights.sum(axis=1) == 0
    maps = jax.vmap(functools.partial(scam.paste, shape=(side, side)))(maps, boxes)
    maps = scam.min_max(scam.smooth(maps, valid, reach))
    tight = jax.vmap(lambda m: scam.widen_box(scam.tight_box(m), m.shape))(maps)
    maps = jnp.where(empty[:, None, None], 0, maps)
    return {'maps': jnp.round(255 * maps).astype(jnp.uint8), 'boxes': tight, 'weights': weights, 'empty': empty}


# ------------------------------------------------------------------------------------------------------------------ reading


def stretches(clips, chosen, length):
    """`(clip, first frame)` of the stretches of `length` frames that the chosen clips are cut into; the last one may run over."""
    return [(i, start) for i in chosen for start in range(0, clips.clips[i]['frames'], length)]


def read(clips, annotations, length, stretch):
    """A stretch as `source_maps` takes it (without the axis b), every frame and every second of sound read once."""
    clip, start = stretch
    info, span = clips.clips[clip], range(start, start + length)
    last = info['frames'] - 1
    known = [annotations(clip, min(k, last)) for k in span]
    sounds = {}
    for k in span:
        window = audio.window_around(info['samples'], min(k, last) / clips.rate)
        if window not in sounds:  # at a clip's ends several frames share one
            sounds[window] = audio.log_spectrogram(clips.sound(clip, min(k, last) / clips.rate))
        known[k - start]['audio'] = sounds[window]
    frames = {k: clips.frame(clip, k) for k in sorted({min(max(k, 0), last) for k in range(start - 1, start + length + 1)})}
    h, w = next(iter(frames.values())).shape[:2]
    return {'frames': np.stack([frames[min(max(k, 0), last)] for k in range(start - 1, start + length + 1)]),
            'tags': np.eye(len(clips.categories), dtype=np.float32)[info['tag']],
            'boxes': np.float32([k.get('box', WHOLE) for k in known]) * np.float32([h, w, h, w]),
            'audio': np.stack([k['audio'] for k in known]),
            'phi': np.float32([k.get('phi', 1) * (info['samples'] > 0) for k in known])}


def companions(clips, annotations, nets, count, clip, length):
    """What `plus_maps` takes of a clip beyond `read`: the places of its other fragments, and `count` triples of other clips of the tag.

    These last are the same for all of the clip's frames, so that they are read once.
    """
    info = clips.clips[clip]
    places = {}
    for net in nets:
        source, _, granularity = net.partition('_')
        if granularity != 'cross':
            of = [others(clips, clip, min(k, info['frames'] - 1), branch.FRAMES[source], granularity, count) for k in range(length)]
            places[net] = np.int32([[k for _, k in row] for row in of])
    cross = others(clips, clip, 0, 3, 'cross', count)
    found = [fragment(clips, *place, 3, True) | annotations(*place) for place in cross]
    return {'length': np.int32(info['frames']), 'places': places, 'cross_frames': np.stack([of['frames'] for of in found]),
            'cross_audio': np.stack([of['audio'] for of in found]), 'cross_phi': np.float32([of['phi'] for of in found])}


def reader(clips, annotations, items, length, batch, workers, plus=(), count=0):
    """Batches of `batch` stretches, in order, by way of grain; the last one filled up with its last stretch.

    For the nets `plus`, stretches are whole clips, and come with their `companions`.
    """
    def load(item):
        found = read(clips, annotations, length, item)
        return {**found, **companions(clips, annotations, plus, count, item[0], length)} if plus else found

    return read_ahead(load, items, batch, workers)


def read_ahead(load, chosen, batch, workers):
    """Batches of `load(i)` of the chosen i, in order, by way of grain; the last one filled up with its last example."""
    chosen = [*chosen, *chosen[-1:] * (-len(chosen) % batch)]
    loaded = grain.MapDataset.source(chosen).map(load).batch(batch)
    reading = loaded.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    return iter(reading.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)) if workers else reading)


# ------------------------------------------------------------------------------------------------------------------- stages


def stage(config, nets, out, boxes='', plus=''):
    """Makes the maps of one stage for every clip of `config.splits`, on all devices; each process does its share of the clips.

    Args:
        config: see `configs/pseudo_gt.py`.
        nets: folder of the run of S, SA and ST.
        out: folder of the stage.
        boxes: folder of the stage whose boxes the frames are cropped to; '' for whole frames.
        plus: folder of the run of the nets of SCAM+, which see whole frames and are sources too; '' for none.
    """
    config = config.copy_and_resolve_references()
    config.data.side = training.read_config(nets).data.side
    data = classification.open_data(config)
    classes = len(next(iter(data.values())).categories)
    models, variables = load_nets(nets, config.sources, classes)
    plus_models, plus_variables = load_nets(plus, config.plus_sources, classes) if plus else ({}, {})
    look = looker(models, variables, plus_models, plus_variables, training.read_config(plus or nets).data.side)
    sources = [*models, *plus_models]
    done = empty = 0
    for split in (split for split in config.splits if split in data):
        annotations = Annotations(data[split], config.switch, boxes)
        counts = split_maps(config, data[split], sources, look, annotations, pathlib.Path(out) / split)
        done, empty = done + counts[0], empty + counts[1]
    print(f'{out}: {done} maps made, {empty} of them empty, as no source was sure of the tag')


def load_nets(run, sources, classes):
    """The models and the variables of a run's nets that are among the sources, each a dict by name."""
    config = training.read_config(run)
    names = [s for s in config.nets if s in sources]
    return ({s: classification.make_model(config, s, classes) for s in names},
            {s: checkpoint.load_variables(pathlib.Path(run) / s / 'variables') for s in names})


def split_maps(config, clips, sources, look, annotations, out):
    """Makes the maps of one split into `out`, `look` being a `looker`; returns how many were made and how many of them are empty."""
    names, fused, counts = clip_names(clips), fuser(config, clips), np.zeros(2, int)
    run_hash = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def make(missing):
        for clip, seen in looked_at(config, clips, annotations, missing, sources, look):
            info, made = clips.clips[clip], fused(seen)
            lines = [line(clips, names[clip], info, k, seen, made, sources, run_hash) for k in range(info['frames'])]
            counts[:] += len(lines), made['empty'].sum()
            yield clip, functools.partial(write, made['maps'], lines)

    produce(out, names, [clip['frames'] for clip in clips.clips], make, 'frame')
    if jax.process_index() == 0:
        text = ''.join((out / name / 'frames.jsonl').read_text() for name in names)
        training.replace_text(out / 'manifest.jsonl', text)
    sharding.barrier(f'{out} listed')
    return counts


def produce(out, names, sizes, make, unit, again=False):
    """Makes what is missing of the files or folders `names` in `out`; each process does its share, each appears when it is whole.

    Args:
        out: the folder; made if it is not there.
        sizes: what each counts for on the progress line, which counts in `unit`.
        make: `missing -> iterator of (i, write)`, in any order; `write(path)`, called by a thread, writes the one of `names[i]` to a path.
        again: all are missing; what is there is replaced.
    """
    scratch = out / f'.writing.{jax.process_index()}'
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    missing = [i for i in range(jax.process_index(), len(names), jax.process_count()) if again or not (out / names[i]).exists()]

    def put(write, name):
        write(scratch / name)
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        (scratch / name).rename(out / name)

    with concurrent.futures.ThreadPoolExecutor(2) as pool, tqdm.tqdm(
            total=sum(sizes[i] for i in missing), desc=f'{out.parent.name} {out.name}', unit=unit, mininterval=1) as progress:
        waiting = []
        for i, write in make(missing):
            waiting.append(pool.submit(put, write, names[i]))
            while len(waiting) > 4 or waiting and waiting[0].done():
                waiting.pop(0).result()
            progress.update(sizes[i])
        for job in waiting:
            job.result()
    shutil.rmtree(scratch)
    sharding.barrier(f'{out} written')


def looker(models, variables, plus_models, plus_variables, plus_side=0):
    """`batch -> source_maps` and `plus_maps`, of what there is, over this process's devices; a batch holds a stretch for each."""
    def look(variables, batch):
        seen = source_maps(variables[0], batch, models=models) if models else {}
        found = plus_maps(variables[1], batch, models=plus_models, side=plus_side) if plus_models else {}
        return seen | {f'plus_{k}': v for k, v in found.items()}

    return sharding.on_local_devices(look, (variables, plus_variables))


def looked_at(config, clips, annotations, chosen, sources, look):
    """Yields (clip, what the sources make of it): `cams`, `confidence`, `boxes`, `phi` of each of its frames, and `tags` [c]."""
    parts, devices, plus = [], jax.local_device_count(), [s for s in sources if s in classifiers.PLUS]
    length = max(clip['frames'] for clip in clips.clips) if plus else config.stretch
    items = stretches(clips, chosen, length)
    batches = reader(clips, annotations, items, length, devices, config.data.workers, plus, config.plus.fragments) if items else ()
    for number, batch in enumerate(batches):
        seen = {**jax.device_get(look(batch)), 'boxes': batch['boxes'], 'phi': batch['phi']}
        for i, (clip, start) in enumerate(items[number * devices:(number + 1) * devices]):
            frames = clips.clips[clip]['frames']
            parts.append({k: v[i, :frames - start] for k, v in seen.items()})
            if start + length >= frames:
                yield clip, {k: np.concatenate([part[k] for part in parts]) for k in seen} | {'tags': batch['tags'][i]}
                parts = []


def fuser(config, clips):
    """`fuse` of a clip as `looked_at` yields it; clips are filled up to the longest one, so that one size is compiled."""
    fused = jax.jit(functools.partial(fuse, fusion=config.fusion, reach=config.reach, side=clips.side))
    longest = max(clip['frames'] for clip in clips.clips)

    def fuse_clip(seen):
        t, seen = len(seen['boxes']), {'cams': None, 'confidence': None, **seen}
        full = {k: v if v is None else np.pad(v, [(0, longest - t)] + [(0, 0)] * (v.ndim - 1), 'edge')
                for k, v in seen.items() if k not in ('tags', 'phi')}
        return {k: np.asarray(v)[:t] for k, v in fused(**full, tags=seen['tags'], valid=np.arange(longest) < t).items()}
    return fuse_clip


def line(clips, name, info, k, seen, made, sources, run_hash):
    """A frame's line of the manifest; `frame` counts from 1, as the files do, `box` is (y0, x0, y1, x1) in shares of the frame."""
    tag = info['tag']
    confidence = np.concatenate([seen[name][k, :, tag] for name in ('confidence', 'plus_confidence') if name in seen])
    return {'clip': name, 'frame': k + 1, 'tag': clips.categories[tag], 'kind': info['kind'], 'switch': int(seen['phi'][k]),
            'sources': {s: {'confidence': round(float(confidence[i]), 4), 'weight': round(float(made['weights'][k, i]), 4)}
                        for i, s in enumerate(sources)},
            'box': [round(float(x), 5) for x in made['boxes'][k] / clips.side], 'empty': bool(made['empty'][k]), 'config': run_hash}


def write(maps, lines, folder):
    """Writes a clip's maps uint8 [t, h, w] and its lines of the manifest into its folder."""
    map_path(folder.parent, folder.name, 0).parent.mkdir(parents=True)
    for t, map_ in enumerate(maps):
        PIL.Image.fromarray(map_).save(map_path(folder.parent, folder.name, t), compress_level=1)
    (folder / 'frames.jsonl').write_text(''.join(json.dumps(found) + '\n' for found in lines))


def check(config):
    """Refuses a config whose fields cannot be meant, with the field's name."""
    for field, value, good, why in (
            ('fusion', config.fusion, config.fusion in FUSIONS, f'must be one of {", ".join(FUSIONS)}'),
            ('reach', config.reach, config.reach >= 0, 'must be 0 (no mean over neighbours) or more'),
            ('stretch', config.stretch, config.stretch > 0, 'must be above 0'),
            ('splits', config.splits, set(config.splits) <= {'train', 'validation', 'test'} and config.splits,
             'must name splits out of train, validation, test'),
            ('stages', config.stages, config.stages and set(config.stages) <= set(STAGES), f'must name stages out of {", ".join(STAGES)}'),
            ('plus_sources', config.plus_sources, set(config.plus_sources) <= set(classifiers.PLUS),
             f'must name sources out of {", ".join(classifiers.PLUS)}'),
            ('sources', config.sources, set(config.sources) <= {'S', 'SA', 'ST', 'STA'} and (config.sources or config.stages == ('plus',)),
             'must name sources out of S, SA, ST, STA')):
        if not good:
            raise InputError(f'config.{field}={value!r}: {why}')
    for nets in (config.fine, config.plus):
        classification.check(nets)


def train_fine(config, workdir, boxes):
    """Trains the fine nets S, SA and ST on the crops at the boxes of a stage, beginning from the coarse ones."""
    fine = config.fine.copy_and_resolve_references()
    fine.boxes, fine.switch = str(boxes), config.switch
    fine.data.update({**config.data, 'side': fine.data.side})
    fine.start_from = {net: f'{config.coarse}/{net}' for net in fine.nets}
    classification.run(fine, workdir)


def train_plus(config, workdir):
    """Trains S+, SA+ and ST+, beginning from the coarse nets."""
    plus = config.plus.copy_and_resolve_references()
    plus.switch = config.switch
    plus.data.update({**config.data, 'side': plus.data.side})
    for parts in plus.start_from.values():
        parts.update({part: f'{config.coarse}/{pathlib.Path(folder).name}' for part, folder in parts.items()})
    classification.run(plus, workdir)


def run(config, workdir):
    """Coarse maps and boxes, fine nets on the boxes' crops, fine maps; then the nets of SCAM+ and its maps. What is done is left."""
    check(config)
    workdir = training.open_workdir(config, workdir)
    if 'coarse' in config.stages:
        stage(config, config.coarse, workdir / 'coarse')
    if 'fine' in config.stages:
        train_fine(config, workdir / 'nets', workdir / 'coarse')
        stage(config, workdir / 'nets', workdir / 'fine', workdir / 'coarse')
    if 'plus' in config.stages:
        train_plus(config, workdir / 'plus_nets')
        stage(config, workdir / 'nets', workdir / 'plus', workdir / 'coarse', workdir / 'plus_nets')
