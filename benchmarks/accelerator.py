"""What an accelerator makes of the nets of the papers: one command, offline, without data and without weights, and a page of numbers.

    make gpu-report
    python -m benchmarks.accelerator --minutes=10 --out=docs/accelerator.md

On random input of the papers' size: C-GCN in several forms; the five metrics; prediction of synthetic frames; every net forward and in a
training step, in bfloat16, TF32 and float32; a training step on 1, 2, 4 ... of the devices; the largest batch. The programs of `--together`
rows are compiled side by side, then each is timed alone. Before that it looks at the clock: what would not be done after `--minutes`, if it
took as long as the longest so far, is left out and named. All rows are in a JSON file beside the page. The same command goes on with those
that are left, as long as the device and the settings are the same; delete the JSON to begin anew.

`--small` makes all of it tiny, to see on a CPU that it runs.
"""
import argparse
import functools
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from absl import logging

from benchmarks import accelerator_page, cgcn, metrics, paper_steps
from stanet_jax.inference.predictor import Predictor
from stanet_jax.media.moments import moments_of_frames
from stanet_jax.media.sound import SAMPLE_RATE
from stanet_jax.stages.nets import net_inputs
from stanet_jax.training import checkpoint, sharding
from stanet_jax.workdir import replace_text

# The papers' nets, one of each shape: S_long and S_cross are S_short by shape, and so on; the switch is SA with one logit.
NETS = (('coarse', 'S'), ('coarse', 'SA'), ('coarse', 'ST'), ('plus', 'S_short'), ('plus', 'ST_short'), ('plus', 'SA_long'),
        ('sta', 'STA'), ('sta_plus', 'STA_short'), ('switch', 'A'), ('fine', 'S'), ('fine', 'SA'), ('fine', 'ST'))
LARGEST = ('coarse S', 'coarse ST', 'plus ST_short', 'sta STA', 'coarse ST remat', 'plus ST_short remat')
# The type of the nets, and the precision of products.
PRECISIONS = {'bfloat16': ('bfloat16', 'default'), 'TF32': ('float32', 'tensorfloat32'), 'float32': ('float32', 'highest')}
FPS = 25


def config_of(stage, small, **fields):
    """A stage's config at the papers' size, or a tiny one."""
    config = paper_steps.config_of(stage, **fields)
    if small:
        config.encoder.name, config.audio_encoder.name, config.width, config.data.side = 'tiny', 'tiny_audio', 8, 32
        config.batch, config.remat = fields.get('batch') or 2, False  # the tiny encoder has none
    return config


def seconds_of(run, least=0.5, rounds=3):
    """The median seconds of a run, after one to warm up: of `rounds` of them, or as many as take `least` seconds."""
    jax.block_until_ready(run())
    took = []
    while len(took) < rounds or sum(took) < least:
        start = time.perf_counter()
        jax.block_until_ready(run())
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def planned(compiled):
    """The bytes that a compiled program needs."""
    plan = compiled.memory_analysis()
    return plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes


def operations_of(program, *given):
    """The operations of a jitted function as XLA counts them before it optimises: of its form for the host, whose backend alone does so."""
    host = jax.sharding.SingleDeviceSharding(jax.devices('cpu')[0])
    given = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=host), given)
    return float(program.lower(*given).cost_analysis()['flops'])


def pictures_of(batch):
    """How many pictures of a batch pass the image encoder; of A, sounds the audio encoder."""
    return int(np.prod(batch['frames'].shape[:-3])) if 'frames' in batch else len(batch['mask'])


def step_on(config, name, devices):
    """A training step on some devices: its operations, compiled, a function that runs it on random input, and the number of pictures."""
    mesh = sharding.make_mesh() if devices is None else jax.make_mesh(
        (len(devices),), ('data',), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    net = paper_steps.make_net(config, name)
    step, shapes = paper_steps.make_step(config, name, net)
    compiled = paper_steps.lower_step(step, shapes, net.batch, mesh).compile()
    operations = operations_of(step, shapes, net.batch, jax.random.key(0))

    def start():
        state = jax.device_put(paper_steps.random_like(shapes), sharding.replicated(mesh))
        batch, key = sharding.put(paper_steps.random_like(net.batch), mesh), jax.random.key(0)

        def run():
            nonlocal state
            state, found = compiled(state, batch, key)
            return found
        return run
    return operations, compiled, start, pictures_of(net.batch)


def forward(config, name):
    """The net's answer to a batch: its operations, compiled, and a function that computes it on random input."""
    net = paper_steps.make_net(config, name)
    size = {'size': (config.data.side,) * 2} if config.task == 'student' else {}

    def apply(variables, batch):
        return net.model.apply(variables, **net_inputs(batch, config.encoder.name), **size)[0]

    program = jax.jit(apply)
    compiled = program.lower(net.variables, net.batch).compile()

    def start():
        variables, batch = (jax.device_put(paper_steps.random_like(x)) for x in (net.variables, net.batch))
        return lambda: compiled(variables, batch)
    return operations_of(program, net.variables, net.batch), compiled, start


def row_of(operations, compiled, seconds, pictures):
    """The numbers of a program: milliseconds, pictures a second, counted operations, bytes."""
    return {'ms': 1e3 * seconds, 'pictures_per_second': pictures / seconds, 'operations': operations,
            'bytes': planned(compiled)}


def prepare_net(args, stage, name, precision):
    """A net forward and in a training step on one device."""
    dtype, products = PRECISIONS[precision]
    config = config_of(stage, args.small, dtype=dtype)
    with jax.default_matmul_precision(products):
        of_forward = forward(config, name)
        *of_step, pictures = step_on(config, name, jax.devices()[:1])

    def measure():
        return {'batch': config.batch, 'side': 0 if name == 'A' else config.data.side,
                **{name: row_of(operations, compiled, seconds_of(start()), pictures)
                   for name, (operations, compiled, start) in {'forward': of_forward, 'step': of_step}.items()}}
    return measure


def prepare_scaling(args, count):
    """A training step of S, coarse, on so many devices, each with the papers' batch."""
    config = config_of('coarse', args.small, dtype='bfloat16')
    config.batch *= count
    operations, compiled, start, pictures = step_on(config, 'S', jax.devices()[:count])
    return lambda: {'devices': count, 'batch': config.batch, **row_of(operations, compiled, seconds_of(start()), pictures)}


def prepare_largest(args, stage, name, remat=False):
    """The largest batch of a training step in bfloat16, of the papers' times a power of two: its plan fits the memory, and it runs."""
    limit = memory(args)
    base = config_of(stage, args.small).batch

    def compile_at(batch):
        try:
            return step_on(config_of(stage, args.small, dtype='bfloat16', batch=batch, remat=remat), name, jax.devices()[:1])
        except jax.errors.JaxRuntimeError as error:
            if 'RESOURCE_EXHAUSTED' not in str(error):
                raise
            return None

    def run_at(batch, made):
        if made is None or planned(made[1]) > limit:
            return None
        try:
            operations, compiled, start, pictures = made
            return {'batch': batch, **row_of(operations, compiled, seconds_of(start(), 0, 1), pictures)}
        except jax.errors.JaxRuntimeError as error:
            if 'RESOURCE_EXHAUSTED' not in str(error):
                raise
            return None

    # What a batch takes beside the net's own variables grows as the batch does.
    compiled = step_on(config_of(stage, args.small, dtype='bfloat16', remat=remat), name, jax.devices()[:1])[1]
    own = compiled.memory_analysis().argument_size_in_bytes
    room = min(max((limit - own) / max(planned(compiled) - own, 1), 1), args.most)
    largest = base * 2 ** int(np.log2(room))
    made = compile_at(largest)

    def measure():
        batch, found = largest, run_at(largest, made)
        while batch > 1 and not found:
            batch //= 2
            found = run_at(batch, compile_at(batch))
        return {'limit': limit, **(found or {'batch': 0})}
    return measure


def memory(args):
    """The bytes that programs may take on a device: what it says, or else `--memory`."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get('bytes_limit', args.memory * 1e9)


def prepare_cgcn(args, names):
    """Forms of C-GCN, forward and backward, at the papers' size."""
    shape = (2, 3, 16, 16, 4) if args.small else (16, 3, 32, 32, 28)
    runs, plans = cgcn.forms(shape, 3, names)
    return lambda: {'shape': shape, 'difference': float(cgcn.furthest(runs)),
                    'forms': {name: {'ms': 1e3 * seconds_of(run), 'temporary_bytes': plans[name]} for name, run in runs.items()}}


def prepare_metrics(args):
    """The five metrics under `stavis`, in frames a second."""
    size, count = ((36, 64), 4) if args.small else ((360, 640), 64)
    if args.small:
        metrics.NEGATIVES = 100  # of the few pixels
    data = metrics.frames(count, size, size, np.random.default_rng(0))
    return lambda: {'size': size, 'frames_per_second': count / seconds_of(lambda: metrics.batched(*data))}


def write_students(folder, small):
    """Runs of the papers' three students with random weights: `folder`/sta and `folder`/sta_plus."""
    for stage in ('sta', 'sta_plus'):
        config = config_of(stage, small)
        for net in (*config.nets, 'switch'):
            made = paper_steps.make_net(config_of('switch', small) if net == 'switch' else config, net)
            checkpoint.save_variables(folder / stage / net / 'variables', paper_steps.random_like(made.variables))
        for where, of in ((folder / stage, config), (folder / stage / 'switch', config_of('switch', small))):
            (where / 'config.json').write_text(of.to_json())
    return folder / 'sta', folder / 'sta_plus'


def prepare_prediction(args):
    """Prediction of synthetic frames with sound, those in memory: by STA alone, and by the papers' three students."""
    size, seconds = ((36, 64), 2) if args.small else ((360, 640), 20)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*size, 3), np.uint8)
    wave = np.float32(rng.normal(0, 0.1, seconds * SAMPLE_RATE))
    with tempfile.TemporaryDirectory() as folder:
        sta, plus = write_students(pathlib.Path(folder), args.small)
        predictors = {'STA': Predictor(sta), 'three': Predictor(sta, plus)}

    def run(students):
        frames = (np.roll(noise, 3 * k, axis=1) for k in range(seconds * FPS))
        moments = moments_of_frames(frames, wave, FPS, students.side, students.front_end)
        return [np.asarray(maps[students.names[-1]]) for _, maps in students.predict_blocks(moments, FPS)]

    for students in predictors.values():
        run(students)
    return lambda: {'size': size, 'fps': FPS, 'frames': seconds * FPS,
                    **{name: seconds * FPS / seconds_of(functools.partial(run, students), 0, 1) for name, students in predictors.items()}}


def rows_of(args):
    """The rows in the order of their weight: {name: a function that compiles its programs and gives one that measures them}."""
    rows = {'C-GCN': (prepare_cgcn, cgcn.COMPILED), 'metrics': (prepare_metrics,), 'prediction': (prepare_prediction,)}
    if jax.default_backend() == 'gpu':  # a row of its own, as it is of another library and may not be for this GPU
        rows['C-GCN kernel'] = prepare_cgcn, ('blocks', 'kernel')

    def add_nets(stages, precisions):
        rows.update({f'{stage} {net} {precision}': (prepare_net, stage, net, precision) for precision in precisions
                     for stage, net in NETS if stage in stages and (not args.nets or net in args.nets)})

    def add_largest(chosen):
        for of in chosen:
            stage, net, *remat = of.split()
            if not args.nets or net in args.nets:
                rows[f'largest {of}'] = prepare_largest, stage, net, bool(remat)

    add_nets(('coarse', 'plus', 'sta', 'sta_plus'), ['bfloat16'])
    rows |= {f'scaling {2 ** k}': (prepare_scaling, 2 ** k) for k in range(jax.device_count().bit_length())}
    add_largest(LARGEST[:2])
    add_nets(('coarse', 'plus', 'sta', 'sta_plus'), ['TF32', 'float32'])
    add_largest(LARGEST[2:])
    add_nets(('switch', 'fine'), PRECISIONS)
    return {name: functools.partial(prepare, args, *given) for name, (prepare, *given) in rows.items()}


def settings_of(args):
    """What rows depend on: rows of other settings are not mixed with these."""
    device = jax.devices()[0]
    return {'device': device.device_kind, 'platform': device.platform, 'devices': jax.device_count(), 'jax': jax.__version__,
            'flags': os.environ.get('XLA_FLAGS', ''), 'small': args.small}


def measure(args, rows, result, write):
    """Adds rows to the result until the time is up, and writes it after each."""
    end, longest = time.monotonic() + 60 * args.minutes, 0.0
    left = [name for name in rows if name not in result['rows']]
    with ThreadPoolExecutor(args.together) as threads:
        for names in (left[k:k + args.together] for k in range(0, len(left), args.together)):
            start = time.monotonic()
            if start + longest > end:
                break
            prepared = {name: threads.submit(rows[name]) for name in names}
            for name, future in prepared.items():
                future.exception()  # once all are compiled, nothing runs beside what is timed
                print(f'{name}: ready after {time.monotonic() - start:.0f} s', flush=True)
            for name in names:
                try:
                    result['rows'][name] = prepared.pop(name).result()()
                except Exception as error:  # whatever an unknown device makes of it: the others go on, and the page has the error
                    result['rows'][name] = {'error': f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'}
                write()
            jax.clear_caches()
            longest = max(longest, time.monotonic() - start)
            print(f'{", ".join(names)}: {time.monotonic() - start:.0f} s', flush=True)


def main():
    """Measures what is missing and writes the page and the JSON."""
    parser = argparse.ArgumentParser(description='Measures the nets of the papers on an accelerator and writes a page.')
    parser.add_argument('--minutes', type=float, default=10, help='begins no row that would end after them; 0 writes the page alone')
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('docs/accelerator.md'), help='the page; the JSON is beside it')
    parser.add_argument('--nets', nargs='+', default=[], help='names, as S, ST_short or STA; all by default')
    parser.add_argument('--memory', type=float, default=8, help='gigabytes that a step may take on a device that does not say')
    parser.add_argument('--most', type=int, default=64, help="largest batch that is tried, as a multiple of the papers'")
    parser.add_argument('--together', type=int, default=4, help='rows whose programs are compiled side by side')
    parser.add_argument('--small', action='store_true', help='tiny nets and frames, to see that it runs')
    args = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    path = args.out.with_suffix('.json')
    result = {**settings_of(args), 'rows': {}}
    if path.exists():
        known = json.loads(path.read_text())
        if {**known, 'rows': {}} == result:
            result = known
        elif known['rows']:
            sys.exit(f'error: {path}: of another device or other settings ({known["device"]}, JAX {known["jax"]}); delete it or give '
                     'another --out')
    rows = rows_of(args)

    def write():
        args.out.parent.mkdir(parents=True, exist_ok=True)
        if result['rows']:
            replace_text(path, json.dumps(result, indent=1) + '\n')
        replace_text(args.out, accelerator_page.page(result, list(rows)))

    measure(args, rows, result, write)
    write()
    left = [name for name in rows if name not in result['rows']]
    print(f'{args.out}, {path}' + (f'; left out: {", ".join(left)}' if left else ''))


if __name__ == '__main__':
    main()
