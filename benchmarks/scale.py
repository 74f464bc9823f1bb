"""What `:paper` takes on 1, 8, 64 and 256 devices: input, network, disk and hours, on AVE and on VGGSound, from measured costs.

    python -m benchmarks.scale --clips=videos --teraflops=100 --out=docs/scale.md
    python -m benchmarks.scale --clips=videos --simulate=runs/scale --out=docs/scale.md

`--clips` are videos in folders by their tags, a few of those that the plan is for; without it, made ones of VGGSound's size. They are
prepared as `:paper` does, every frame at 256 and at 356 pixels, and read as the nets read: that gives the bytes of a record and of a second
of film, and the seconds of one core to prepare a frame and to read an example. The operations of a training step are XLA's count
(`benchmarks.paper_steps`). What no machine here can tell is given: `--teraflops`, which one device does of these operations in a second of
training, `--fps` of the sets' films, and that devices add up.

`--simulate` also trains a small net on one device, on eight simulated ones, and in four processes, and compares losses and the memory
of the processes (`benchmarks.scale_simulation`).
"""
import argparse
import pathlib
import sys
import tempfile
import time
from typing import NamedTuple

import jax
import numpy as np
from absl import logging

from benchmarks import paper_steps, preparation, scale_simulation
from benchmarks.accelerator_page import number, table
from stanet_jax import InputError
from stanet_jax.data import fragments, sets
from stanet_jax.media import clip
from stanet_jax.models.branch import FRAMES, SOUND, parse_net
from stanet_jax.stages.examples import cropping
from stanet_jax.workdir import replace_text

DEVICES = (1, 8, 64, 256)
SECONDS = 10  # of a clip of both sets
SETS = {'AVE': 4_143, 'VGGSound': 200_000}  # clips
SIDES = (256, 356)


class SideCost(NamedTuple):
    """What a frame costs at a side.

    Attributes:
        record: bytes of its record, its share of the sound included.
        prepare: seconds of one core to prepare it.
    """
    record: float
    prepare: float


class NetCost(NamedTuple):
    """What an example of a net costs.

    Attributes:
        side: of its frames, in pixels.
        frames: that are read for it.
        read: seconds of one core to read it.
        operations: of a training step, for each example.
        parameters: of the net.
        batch: of the papers.
        epochs: passes over all frames.
    """
    side: int
    frames: int
    read: float
    operations: float
    parameters: int
    batch: int
    epochs: float


def net_names():
    """The stages and nets of `:paper` that are trained on clips: [(stage, net)]."""
    return [(stage, net) for stage in paper_steps.stages_of('paper') for net in paper_steps.STAGES[stage].get_config('paper').nets
            if net != 'A']  # the tagger is VGGSound's own


def side_cost(videos, splits, side):
    """The cost of a frame at a side, of videos and of what they were prepared to."""
    frames = sum(info['frames'] for clips in splits.values() for info in clips.clips)
    folder = next(iter(splits.values())).folder
    clip.read_clip(videos[0], 0.0, side)  # imports what is imported at the first call
    start, made = time.process_time(), 0
    for video in videos[:8]:
        made += len(clip.read_clip(video, 0.0, side).frames)
    return SideCost(sum(path.stat().st_size for path in folder.rglob('*.array_record*')) / frames, (time.process_time() - start) / made)


def read_cost(clips, config, net, seconds):
    """The seconds of one core to read an example of a net, of as many as `seconds` allow."""
    source, granularity = parse_net('SA' if net == 'switch' else net)
    examples = fragments.Examples(clips, 0, FRAMES[source], 'log_spectrogram' if source in SOUND else '', granularity=granularity,
                                  count=config.get('fragments', 0), **cropping(config))
    rng, count = np.random.default_rng(0), 0
    examples.example(0, rng)  # opens the files
    start, cpu = time.perf_counter(), time.thread_time()
    while time.perf_counter() - start < seconds or count < 4:
        examples.example(int(rng.integers(len(examples))), rng)
        count += 1
    return (time.thread_time() - cpu) / count


def net_cost(splits, stage, net, seconds):
    """The cost of an example of a net, read from what was prepared at its side."""
    config = paper_steps.config_of(stage, dtype='float32')
    made = paper_steps.make_net(config, net)
    step, state = paper_steps.make_step(config, net, made)
    counted = step.lower(state, made.batch, jax.random.key(0)).cost_analysis()['flops']
    frames = int(np.prod(made.batch['frames'].shape[1:-3]))
    return NetCost(config.data.side, frames, read_cost(splits[config.data.side]['train'], config, net, seconds), counted / config.batch,
                   sum(x.size for x in jax.tree.leaves(made.variables['params'])), config.batch, config.epochs[net])


def measure(folder, videos, seconds):
    """All costs: {side: SideCost}, {'stage net': NetCost}, and the bytes of a second of film."""
    root = pathlib.Path(videos) if videos else pathlib.Path(folder, 'films')
    if not videos:
        root.mkdir()
        preparation.write_set(root, 4, SECONDS, (256, 336))
    files = sorted(path for path in root.rglob('*') if path.suffix.lower() in ('.mp4', '.mkv', '.webm', '.avi', '.mov'))
    splits = {side: sets.open_splits('folders' if videos else 'vggsound', root, side, 0.0, pathlib.Path(folder, str(side)), train_on='all')
              for side in SIDES}
    sides = {side: side_cost(files, splits[side], side) for side in SIDES}
    length = sum(info['frames'] / clips.rate_of(i) for clips in splits[256].values() for i, info in enumerate(clips.clips))
    nets = {f'{stage} {net}': net_cost(splits, stage, net, seconds) for stage, net in net_names()}
    return sides, nets, sum(file.stat().st_size for file in files) / length


# ---------------------------------------------------------------------------------------------------------------------- the plan


def examples_per_second(cost, devices, teraflops):
    """How many examples of a net devices consume in a second."""
    return devices * teraflops * 1e12 / cost.operations


def disk(clips, fps, sides, film):
    """The bytes that a set takes: {what: bytes}."""
    frames = clips * SECONDS * fps
    return {'films': clips * SECONDS * film, **{f'records of {side} pixels': frames * cost.record for side, cost in sides.items()}}


def hours(clips, fps, nets, devices, teraflops):
    """The hours that the training of all nets takes."""
    frames = clips * SECONDS * fps
    return sum(cost.epochs * frames / examples_per_second(cost, devices, teraflops) for cost in nets.values()) / 3600


def gradient_bytes(cost, devices, teraflops):
    """Bytes a second that each device sends, and as many that it receives, to sum float32 gradients in a ring, every `batch` examples."""
    steps = examples_per_second(cost, 1, teraflops) / cost.batch
    return steps * 4 * cost.parameters * 2 * (devices - 1) / devices


def used(batch, devices):
    """The share of devices' work that is of real examples, where a batch is padded to a multiple of their number."""
    return batch / (-(-batch // devices) * devices)


def cost_lines(sides, nets, film):
    """The lines on what was measured."""
    return ['## Measured', '', f'A second of film is {number(film / 1e3)} kB. On one core:', '',
            *table(['side', 'record, kB', 'prepare a frame, ms'],
                   [[side, number(cost.record / 1e3), number(1e3 * cost.prepare)] for side, cost in sides.items()]),
            *table(['net', 'side', 'frames of an example', 'read an example, ms', 'Gflop of an example', 'parameters, M', 'batch'],
                   [[name, of.side, of.frames, number(1e3 * of.read), number(of.operations / 1e9), number(of.parameters / 1e6), of.batch]
                    for name, of in nets.items()])]


def input_bytes(cost, sides, devices, teraflops):
    """Bytes of records a second that devices consume."""
    return examples_per_second(cost, devices, teraflops) * cost.frames * sides[cost.side].record


def rate_lines(sides, nets, teraflops):
    """The lines on what nets take of input and network."""
    lines, most = [], []
    for name, cost in nets.items():
        rate = examples_per_second(cost, 1, teraflops)
        lines.append([name, number(rate), number(input_bytes(cost, sides, 1, teraflops) / 1e6), number(rate * cost.read),
                      number(8 * gradient_bytes(cost, DEVICES[-1], teraflops) / 1e9), *(f'{used(cost.batch, n):.0%}' for n in DEVICES[1:])])
    for devices in DEVICES:
        most.append([devices, *(number(max(of)) for of in (
            [input_bytes(cost, sides, devices, teraflops) / 1e6 for cost in nets.values()],
            [examples_per_second(cost, devices, teraflops) * cost.read for cost in nets.values()],
            [8 * gradient_bytes(cost, devices, teraflops) / 1e9 for cost in nets.values()]))])
    return ['## Input and network', '',
            'The same on both sets. Records are read over the network where they are on a disk that hosts share; each frame of an example '
            'is one. Cores are those that read them, of all hosts together; what students read of pseudo-fixations is not in it. Gradients '
            'are summed once for the papers\' batch on each device: that is what each device sends, and as much it receives. What each net '
            'takes of the first three on one device; of gradients on the most. The last columns are the share of devices\' work that is '
            'not padding where the papers\' batch is as it is: where it is low the batch has to grow, which is another recipe.', '',
            *table(['net', 'examples/s', 'input, MB/s', 'cores', 'gradients, Gbit/s', *(f"of {n} devices' work" for n in DEVICES[1:])],
                   lines),
            'What the net that takes most of each takes:', '',
            *table(['devices', 'input, MB/s', 'cores', 'gradients, Gbit/s of each device'], most)]


def set_lines(sides, nets, film, args):
    """The lines on what sets take of disk, preparation and hours."""
    lines, took = [], []
    for name, clips in SETS.items():
        frames = clips * SECONDS * args.fps
        lines += [[name, what, number(size / 1e9)] for what, size in disk(clips, args.fps, sides, film).items()]
        prepare = sum(frames * cost.prepare for cost in sides.values()) / 3600
        took.append([name, f'{frames:,.0f}', number(prepare), *(number(hours(clips, args.fps, nets, devices, args.teraflops))
                                                              for devices in DEVICES)])
    return ['## Disk', '', *table(['set', 'what', 'GB'], lines), '## Hours', '',
            'Of preparation, at both sides, on one core; and of training all nets of `:paper` on so many devices, a pass being every frame '
            'once.', '',
            *table(['set', 'frames', 'core hours of preparation', *(f'on {devices}' for devices in DEVICES)], took)]


def simulation_lines(result):
    """The lines on the simulation."""
    if not result:
        return ['## Simulated', '', 'The simulation has not been run (`--simulate`).', '']
    lines = [[name, row['processes'], row['devices'], *(f'{row[of]:.0e}' for of in ('difference_at_first', 'difference')),
              *(', '.join(f'{x:.0f}' for x in row[of]) for of in ('early', 'late'))] for name, row in result['runs'].items()]
    return ['## Simulated', '',
            f'S with the tiny encoder on SynthAVE for {result["steps"]} steps of {result["batch"]} examples, in processes of one machine, '
            'each with simulated devices. The difference is the largest of a step\'s loss from that on one device (the log has '
            'six digits), of the first steps and of all, as rounding grows from step to step. The examples of a step and their order are '
            'functions of the seed and the step: other ones would show from the first step on, by hundredths. Memory is what each '
            'process has resident after a quarter of the steps and at the end.', '',
            *table(['run', 'processes', 'devices', f'difference, {scale_simulation.FIRST} steps', 'all steps', 'MB after a quarter',
                    'MB at the end'], lines)]


def page(sides, nets, film, simulation, args):
    """The page."""
    given = '`--clips` of real films' if args.clips else 'made films'
    return '\n'.join([
        '# On paper: many devices', '',
        f'Written by `python -m benchmarks.scale` ({given}, `--teraflops={args.teraflops:g} --fps={args.fps:g}`). **Nothing here has been '
        f'run on more than one machine.** Assumed: that a device does {args.teraflops:g} teraflops of these operations in training '
        '(an H100 does 105 to 165 of the nets that were measured on one, see `docs/accelerator.md`), that devices add up, and that films '
        f'have {args.fps:g} frames a second and clips {SECONDS} s; AVE has {SETS["AVE"]:,} of them, VGGSound {SETS["VGGSound"]:,}.', '',
        *cost_lines(sides, nets, film), *rate_lines(sides, nets, args.teraflops), *set_lines(sides, nets, film, args),
        *simulation_lines(simulation)])


def main():
    """Measures, plans and writes the page."""
    parser = argparse.ArgumentParser(description='Plans what the papers\' recipe takes on many devices.')
    parser.add_argument('--clips', type=pathlib.Path, help='videos in folders by their tags; made ones by default')
    parser.add_argument('--teraflops', type=float, default=100, help='that a device does in a second of training')
    parser.add_argument('--fps', type=float, default=27, help='frames a second of the sets\' films')
    parser.add_argument('--seconds', type=float, default=2, help='that reading the examples of a net is measured')
    parser.add_argument('--simulate', type=pathlib.Path, help='folder for the runs of the simulation; what is done there is not done again')
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('docs/scale.md'))
    args = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as folder:
            sides, nets, film = measure(folder, args.clips, args.seconds)
        simulation = scale_simulation.simulate(args.simulate) if args.simulate else {}
    except InputError as error:
        sys.exit(f'error: {error}')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(args.out, page(sides, nets, film, simulation, args))
    print(args.out)


if __name__ == '__main__':
    main()
