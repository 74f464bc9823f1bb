"""Trains the classifiers S, SA and ST on clips' tags, measures them on held-out clips, shows what they look at (TPAMI Sec. 3)."""
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax import InputError, losses, scam
from stanet_jax.data import augmentation as augment
from stanet_jax.data import fragments
from stanet_jax.data.annotations import Annotations
from stanet_jax.media import contact_sheet as visualize
from stanet_jax.models import blenders, branch, classifiers, fusion
from stanet_jax.training import checkpoint, sharding
from stanet_jax.training import loop as training
from stanet_jax.training.loop import need


def check(config, known=('A', 'S', 'SA', 'ST', 'STA', *classifiers.PLUS)):
    """Refuses a config whose fields cannot be meant, with the field's name."""
    training.check(config, known)
    need('data.name', config.data.name, config.data.name in ('ave', 'synthave'), 'must be ave or synthave')
    for field in ('width', 'held_out_frames'):
        need(field, config[field], config[field] > 0, 'must be above 0')
    for field in ('rate', 'frames_per_clip'):
        need(f'data.{field}', config.data[field], config.data[field] > 0, 'must be above 0')
    need('data.least_crop', config.data.least_crop, 0 < config.data.least_crop <= 1, 'must be above 0, and 1 at most')
    need('sa_fuse', config.sa_fuse, config.sa_fuse in fusion.SA_FUSIONS, f'must be one of {", ".join(fusion.SA_FUSIONS)}')
    if any('_' in net for net in config.nets):
        need('fragments', config.fragments, config.fragments > 0, 'must be above 0')
        need('blender.name', config.blender.name, config.blender.name in blenders.BLENDERS,
             f'must be one of {", ".join(blenders.BLENDERS)}')
        need('blender.steps', config.blender.get('steps', 0), config.blender.get('steps', 0) >= 0, 'must be 0 or more')


def make_model(config, source, classes):
    """The net `source` ('S', 'SA', 'ST', or one of `classifiers.PLUS`) as the config has it."""
    source, _, granularity = source.partition('_')
    fields = (source, classes, config.encoder.name, config.audio_encoder.name, config.width, config.batch_norm, compute_dtype(config),
              config.sa_fuse)
    return classifiers.ClassifierPlus(*fields, config.blender.to_dict()) if granularity else classifiers.Classifier(*fields)


def compute_dtype(config):
    """The type to compute in; 'auto' is bfloat16 on accelerators."""
    auto = jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16
    return {'auto': auto, 'float32': jnp.float32, 'bfloat16': jnp.bfloat16}[config.dtype]


def example_batch(config, net, classes, batch):
    """Zeros in the shapes of a batch for a net, as `fragments.batches` gives them."""
    source, _, granularity = net.partition('_')
    side, lead = config.data.side, (batch, config.fragments + 1) if granularity else (batch,)
    result = {'tags': np.zeros((batch, classes), np.float32), 'clip': np.zeros(batch, np.int32), 'mask': np.ones(batch, bool)}
    if branch.FRAMES[source]:
        result['frames'] = np.zeros((*lead, branch.FRAMES[source], side, side, 3), np.uint8)
    if source in branch.SOUND:
        result |= {'audio': np.zeros((*lead, 257, 98), np.float32), 'phi': np.ones(lead, np.float32)}
    return result


def inputs(batch, key=None, jitter=None):
    """A batch's arrays as the net takes them: frames normalised and, with a key, jittered before."""
    result = {k: batch[k] for k in ('frames', 'audio', 'phi') if k in batch}
    if 'frames' in result:
        frames = result['frames']
        if key is not None:  # all fragments of an example alike
            frames = augment.jitter(frames.reshape(len(frames), -1, *frames.shape[-3:]), key, jitter).reshape(frames.shape)
        result['frames'] = augment.normalise(frames)
    return result


def loss_fn(variables, batch, key, *, model, jitter):
    """Eq. 7 of each example [b] and the new batch statistics, from augmented frames."""
    (logits, _), updated = model.apply(variables, **inputs(batch, key, jitter), train=True, mask=batch['mask'],
                                       mutable=['batch_stats'])
    return losses.multilabel_soft_margin(logits, batch['tags']), updated.get('batch_stats', {})


def predict(variables, batch, *, model):
    """Logits [b, c] and the class activation map of the tags [b, h, w] (None for a net without maps)."""
    logits, out = model.apply(variables, **inputs(batch))
    return logits, scam.class_activation(out['maps'], batch['tags']) if 'maps' in out else None


def initial_variables(config, name, model, batch, workdir):
    """Fresh variables of the net `name`, of which the config may begin some from trained nets.

    `config.start_from[name]` is the folder of a trained net of the same shape, or a dict of a folder for each part; a net of this
    run (`S`) is meant by its name alone. `config.encoder.weights` and `config.audio_encoder.weights` are folders of encoders' own.
    """
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(config.seed), **inputs(batch))
    variables = {'params': variables['params'], 'batch_stats': variables.get('batch_stats', {})}
    given = config.start_from.get(name, {})
    parts = {part: given for part in variables['params']} if isinstance(given, str) else given
    for part in variables['params']:
        if parts.get(part):
            folder = pathlib.Path(workdir) / parts[part] if parts[part] in branch.FRAMES else pathlib.Path(parts[part])
            trained = checkpoint.load_variables(folder / 'variables')
            variables = checkpoint.replace_part(variables, part, {k: v.get(part, {}) for k, v in trained.items()}, folder)
            if part == 'encoder' and name in ('SA', 'ST') and not isinstance(given, str):
                gain = 1.5 if name == 'ST' or config.sa_fuse == 'gate' else 1.0
                fused, plain = (of['params']['classifier'] for of in (variables, trained))
                variables['params']['classifier'] = begin_classifier(fused, plain, gain)
            if part == 'encoder' and name in classifiers.PLUS and not isinstance(given, str):
                variables = begin_plus(variables, trained, folder)
        elif part in ('encoder', 'audio_encoder') and config[part].weights:
            variables = checkpoint.replace_part(variables, part, checkpoint.load_variables(config[part].weights), config[part].weights)
    return variables


def begin_plus(variables, trained, folder):
    """S+, SA+ or ST+ such that the net begins by answering about as S, SA or ST does: its nodes are the maps of that net's classes.

    C-GCN's gates close on what is below 0 and saturate at what is far above, so the maps are halved and moved up by 2, to where C-GCN
    can tell a class that shows from one that does not; its query and key begin alike, so that a place attends to its likes; the
    classifier brings the answer back to the maps' scale.
    """
    plain, bias = trained['params']['classifier'], np.zeros_like(variables['params']['classifier']['bias'])
    one = np.eye(bias.size, dtype=np.float32)[None, None]
    reduce = {'params': {'kernel': plain['kernel'] / 2, 'bias': plain['bias'] / 2 + 2}}
    variables = checkpoint.replace_part(variables, 'reduce', reduce, folder)
    if 'cgcn' in variables['params']:
        alike = {'kernel': np.sqrt(np.float32(0.3)) * one, 'bias': bias}
        variables['params']['cgcn'] = {'query': alike, 'key': alike}
    variables['params']['classifier'] = {'kernel': 4 * one, 'bias': bias - 5}
    return variables


def begin_classifier(fused, plain, gain):
    """The classifier of SA or ST such that the net begins by answering about as S does.

    What `fused` takes begins with s, or with what stands for it: `relu(sigmoid(gate) s + s)`, which an untaught gate makes 1.5 s. S's
    kernel over this `gain` goes there, zeros to the rest.
    """
    kernel = plain['kernel'] / np.float32(gain)
    rest = fused['kernel'].shape[2] - kernel.shape[2]
    return {**fused, 'kernel': np.pad(kernel, [(0, 0), (0, 0), (0, rest), (0, 0)]), 'bias': plain['bias']}


# ---------------------------------------------------------------------------------------------------------------- accuracy


def make_evaluation(source, model, clips, config, mesh, per_clip):
    """`variables -> tallies by clip`: sums over `per_clip` frames of each clip, see `accuracy`."""
    n, c = len(clips), len(clips.categories)

    @functools.partial(jax.jit, donate_argnums=0)
    def tally(sums, variables, batch):
        logits, _ = predict(variables, batch, model=model)
        tag = (batch['tags'] * logits).sum(1)  # clips have one tag; its logit against the others'
        right = tag > jnp.where(batch['tags'] > 0, -jnp.inf, logits).max(1)
        mask = batch['mask'].astype(jnp.float32)
        add = {'right': right * mask, 'frames': mask, 'confidence': jax.nn.softmax(logits) * mask[:, None]}
        return jax.tree.map(lambda s, a: s.at[batch['clip']].add(a), sums, add)

    examples = examples_of(config, source, clips, per_clip)

    def evaluate(variables):
        sums = {'right': np.zeros(n, np.float32), 'frames': np.zeros(n, np.float32), 'confidence': np.zeros((n, c), np.float32)}
        sums = jax.device_put(sums, sharding.replicated(mesh))
        for batch in fragments.batches(examples, batch=config.batch, slots=sharding.slots(config.batch)):
            sums = tally(sums, variables, sharding.put(batch, mesh))
        return jax.device_get(sums)
    return evaluate


def examples_of(config, source, clips, per_clip):
    """The fragments that the net `source` learns from or is measured on: cropped to `config.boxes`, with `config.switch`'s labels."""
    source, _, granularity = source.partition('_')
    switch = config.switch if source == 'SA' else ''
    annotations = Annotations(clips, switch, config.boxes) if switch or config.boxes else None
    return fragments.Examples(clips, per_clip, branch.FRAMES[source], source in branch.SOUND, annotations,
                              least_crop=config.data.least_crop, granularity=granularity, count=config.get('fragments', 0))


def tell_shortage(config, net, clips):
    """Says, once for a training, where the fragments of `net` cannot be what the paper takes."""
    source, _, granularity = net.partition('_')
    short = fragments.shortage(clips, branch.FRAMES[source], granularity, config.get('fragments', 0))
    if short and jax.process_index() == 0:
        print(f'{net}: {short}')


def accuracy(tallies, clips):
    """Tallies -> `{kind: {'frames': share of frames whose best class is the tag, 'clips': the same of clips' mean confidence,
    'count': clips}}`, with all clips under `all`."""
    kinds = np.array([clip['kind'] for clip in clips.clips])
    tags = np.array([clip['tag'] for clip in clips.clips])
    clip_right = tallies['confidence'].argmax(1) == tags
    result = {}
    for kind in ['all', *dict.fromkeys(kinds)]:
        of = (kinds == kind) | (kind == 'all')
        result[kind] = {'frames': float(tallies['right'][of].sum() / tallies['frames'][of].sum()),
                        'clips': float(clip_right[of].mean()), 'count': int(of.sum())}
    return result


# -------------------------------------------------------------------------------------------------------------------- runs


def train_net(config, source, splits, workdir, mesh):
    """Trains one net on `splits` ({name: Clips}), unless that is done already, and leaves its `variables` in its folder."""
    train, held_out = splits['train'], splits.get('validation') or splits.get('test')
    classes, per_clip = len(train.categories), config.data.frames_per_clip
    model = make_model(config, source, classes)
    evaluation = make_evaluation(source, model, held_out, config, mesh, config.held_out_frames) if held_out else None

    def evaluate(variables):
        if not evaluation:
            return {}
        result = accuracy(evaluation(variables), held_out)
        return {'accuracy': result['all']['frames'], **{f'accuracy_{k}': v['frames'] for k, v in result.items() if k != 'all'}}

    example = example_batch(config, source, classes, 1)
    tell_shortage(config, source, train)
    training.train(workdir / source, source, config, mesh, examples=examples_of(config, source, train, per_clip), evaluate=evaluate,
                   initial=lambda: initial_variables(config, source, model, example, workdir),
                   loss_fn=functools.partial(loss_fn, model=model, jitter=tuple(config.jitter)))


def open_data(config):
    """The prepared set's clips, `{split: Clips}` of the splits that hold any; made or prepared first, by all processes together."""
    from stanet_jax.data import ave, load
    builder = load(config.data, (jax.process_index(), jax.process_count()), sharding.barrier)
    splits = {split: ave.Clips(builder, split) for split in builder.info.metadata['splits']}
    return {split: clips for split, clips in splits.items() if len(clips)}


def run(config, workdir):
    """Trains the config's nets one after the other in `workdir`; one that was begun goes on, one that is done is left."""
    check(config)
    workdir = training.open_workdir(config, workdir)
    splits = open_data(config)
    if 'train' not in splits:
        raise InputError(f'{config.data.root}: no clip to train on; see what was skipped above')
    mesh = sharding.make_mesh()
    for source in config.nets:
        train_net(config, source, splits, workdir, mesh)
    if len(splits) > 1:
        evaluate(config, workdir, splits)
    else:
        print('no validation or test split: nothing is held out to measure on')


def evaluate(config, workdir, splits, split=''):
    """Measures every trained net on a split (the test split where there is one), by kind; draws what they look at.

    Writes `accuracy.json` and `cams.png` into the workdir and prints the table.
    """
    workdir = pathlib.Path(workdir)
    split = split or ('test' if 'test' in splits else 'validation')
    if split not in splits:
        raise InputError(f'--split={split}: the set holds {", ".join(splits)}')
    clips, mesh, results, shown = splits[split], sharding.make_mesh(), {}, {}
    for source in config.nets:
        if not (workdir / source / 'variables').exists():
            raise InputError(f'{workdir}/{source}: not trained yet; run train.py with this config and workdir first')
        variables = checkpoint.load_variables(workdir / source / 'variables')
        model = make_model(config, source, len(clips.categories))
        tallies = make_evaluation(source, model, clips, config, mesh, config.data.frames_per_clip)(
            jax.device_put(variables, sharding.replicated(mesh)))
        results[source] = accuracy(tallies, clips)
        if jax.process_index() == 0 and source != 'A':
            shown[source] = look(config, source, model, variables, clips)
            visualize.contact_sheet(workdir / source / 'cams.png', cam_rows({source: shown[source]}, clips))
    if jax.process_index() == 0:
        training.replace_text(workdir / 'accuracy.json', json.dumps({'split': split, 'nets': results}, indent=2) + '\n')
        print(table(results, split))
        if shown:
            visualize.contact_sheet(workdir / 'cams.png', cam_rows(shown, clips))
            print(f'what they look at: {workdir / "cams.png"}')


def table(results, split):
    """The nets' accuracies as text: a row for each kind, frames and clips."""
    kinds = next(iter(results.values()))
    lines = [f'accuracy on {split}: frames (clips)', f'{"":18}{"clips":>6}' + ''.join(f'{net:>15}' for net in results)]
    for kind, first in kinds.items():
        cells = [f'{results[net][kind]["frames"]:.3f} ({results[net][kind]["clips"]:.3f})' for net in results]
        lines.append(f'{kind:18}{first["count"]:6}' + ''.join(f'{cell:>15}' for cell in cells))
    return '\n'.join(lines)


def look(config, source, model, variables, clips, per_kind=2):
    """What the net makes of a few clips' middle frames: a list of (clip, frame [h, w, 3], confidence, cam [h', w'])."""
    chosen = clips.of_each_kind(per_kind)
    examples = examples_of(config, source, clips, 1)
    examples = [examples.at(i, clips.clips[i]['frames'] * 5 // 8) for i in chosen]
    batch = {k: np.stack([e[k] for e in examples]) for k in examples[0]}
    logits, cams = jax.jit(functools.partial(predict, model=model))(variables, batch)
    confidence = (jax.nn.softmax(logits) * batch['tags']).sum(1)
    frames = batch['frames'][:, 0] if batch['frames'].ndim == 6 else batch['frames']  # the target's
    return list(zip(chosen, frames[:, frames.shape[1] // 2], np.asarray(confidence), np.asarray(cams), strict=True))


def cam_rows(shown, clips):
    """Rows of (title, [(label, image)]) for `contact_sheet.contact_sheet`: the frame, then each net's map over it."""
    rows = []
    for nets in zip(*shown.values(), strict=True):
        clip, frame = clips.clips[nets[0][0]], nets[0][1]
        cells = [(clip['kind'], frame)]
        for source, (_, _, confidence, cam) in zip(shown, nets, strict=True):
            cells.append((f'{source} {confidence:.2f}', visualize.overlay(frame, cam)))
        rows.append((clips.categories[clip['tag']], cells))
    return rows
