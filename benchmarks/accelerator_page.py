"""The page of `benchmarks.accelerator`: its rows as tables, and the peaks of devices by their names."""
import math
import re

# Teraflops without sparsity, as the vendors' data sheets have them, by what the device's name holds; None where there is none. In the
# order in which they are looked for. Products of float32 on TPUs are made of several of bfloat16, for which there is no figure.
PEAKS = {r'H200': {'float32': 66.9, 'TF32': 494.7, 'bfloat16': 989.4},
         r'H100 PCIe': {'float32': 51.2, 'TF32': 378.0, 'bfloat16': 756.0},
         r'H100': {'float32': 66.9, 'TF32': 494.7, 'bfloat16': 989.4},
         r'A100': {'float32': 19.5, 'TF32': 156.0, 'bfloat16': 312.0},
         r'A10\b': {'float32': 31.2, 'TF32': 62.5, 'bfloat16': 125.0},
         r'L4\b': {'float32': 30.3, 'TF32': 60.0, 'bfloat16': 121.0},
         r'RTX 4090': {'float32': 82.6, 'TF32': 82.6, 'bfloat16': 165.2},
         r'RTX 3090\b(?! Ti)': {'float32': 35.6, 'TF32': 35.6, 'bfloat16': 71.0},
         r'TPU v4\b(?! lite)': {'bfloat16': 275.0}, r'TPU (v5 lite|v5e)': {'bfloat16': 197.0}, r'TPU v5p?$': {'bfloat16': 459.0},
         r'TPU (v6 lite|v6e)': {'bfloat16': 918.0}}


def peak_of(device: str, precision: str) -> float | None:
    """The teraflops of a device of this name in a precision; None where the table does not have them."""
    return next((of.get(precision) for name, of in PEAKS.items() if re.search(name, device)), None)


def number(x, digits=3):
    """A number with so many digits that count, without an exponent."""
    if x in (None, 0):
        return '-' if x is None else '0'
    return f'{x:,.{max(0, digits - 1 - math.floor(math.log10(abs(x))))}f}'


def table(heads, lines):
    """The lines of a Markdown table."""
    return ['| ' + ' | '.join(heads) + ' |', '|' + '---|' * len(heads), *('| ' + ' | '.join(map(str, line)) + ' |' for line in lines), '']


def cells(row, device, precision):
    """Milliseconds, pictures a second, share of the peak and gigabytes of a program."""
    peak = peak_of(device, precision)
    share = f'{row["operations"] / row["ms"] * 1e3 / (peak * 1e12):.1%}' if peak else '-'
    return [number(row['ms']), number(row['pictures_per_second']), share, number(row['bytes'] / 1e9)]


def net_lines(result):
    """The lines on nets, forward and in a training step."""
    rows, lines = result['rows'], []
    for name, row in rows.items():
        of, _, precision = name.rpartition(' ')
        if 'step' in row:
            lines.append([of, precision, row['batch'], row['side'] or '-', number(row['step']['operations'] / 1e12),
                          *cells(row['forward'], result['device'], precision), *cells(row['step'], result['device'], precision)])
    if not lines:
        return []
    return ['## Nets', '', 'Forward and in a training step, on one device, at the batch of the papers. Pictures are those that pass the '
            'image encoder (of A, seconds of sound). Operations are those of a step as XLA counts them before it optimises; the share is '
            'of the peak of the device in this precision, where it is known. Gigabytes are those that the compiled program plans.', '',
            *table(['net', 'precision', 'batch', 'side', 'Tflop', 'forward, ms', 'pictures/s', 'of peak', 'GB', 'step, ms', 'pictures/s',
                    'of peak', 'GB'], lines)]


def largest_lines(result):
    """The lines on the largest batches."""
    found = {name.partition(' ')[2]: row for name, row in result['rows'].items() if name.startswith('largest') and 'error' not in row}
    lines = [[name, row['batch'], *(cells(row, result['device'], 'bfloat16') if row['batch'] else ['-'] * 4)]
             for name, row in found.items()]
    return ['## Largest batch', '', "A training step in bfloat16; the largest batch of the papers' times a power of two whose plan fits "
            'the memory of the device and that runs. `remat` is `--config.remat=True`.', '',
            *table(['net', 'batch', 'step, ms', 'pictures/s', 'of peak', 'GB'], lines)] if lines else []


def scaling_lines(result):
    """The lines on several devices."""
    found = [row for name, row in result['rows'].items() if name.startswith('scaling') and 'error' not in row]
    of_each = [row['pictures_per_second'] / row['devices'] for row in found]
    lines = [[row['devices'], row['batch'], number(row['ms']), number(row['pictures_per_second']), f'{each / of_each[0]:.2f}']
             for row, each in zip(found, of_each, strict=True)]
    return ['## Devices', '', "A training step of S, coarse, in bfloat16, with the papers' batch on each device. The last column is how "
            'many pictures each device does, over the first line.', '',
            *table(['devices', 'batch', 'step, ms', 'pictures/s', 'of each'], lines)] if lines else []


def other_lines(result):
    """The lines on C-GCN, the metrics and prediction."""
    rows, lines = {name: row for name, row in result['rows'].items() if 'error' not in row}, []
    of_cgcn = {name: row for name, row in rows.items() if name.startswith('C-GCN')}
    if of_cgcn:
        row = next(iter(of_cgcn.values()))
        differences = ', '.join(f'{of["difference"]:.1e} ({", ".join(of["forms"])})' for of in of_cgcn.values())
        lines += ['## C-GCN', '', f'Three steps on nodes {tuple(row["shape"])}, forward and backward, on one device; `benchmarks/cgcn.py` '
                  'says what the forms are. The package takes `attention` on a GPU, up to a gigabyte of it, and `blocks` elsewhere. '
                  f'Value and gradients differ, relative to the largest, by {differences}.', '',
                  *table(['form', 'ms', 'temporary MB'], [[name, number(of['ms']), number(of['temporary_bytes'] / 1e6)] for row
                                                         in of_cgcn.values() for name, of in row['forms'].items()])]
    if 'metrics' in rows:
        row = rows['metrics']
        lines += ['## Metrics', '', f'The five metrics of the papers under `stavis`, {row["size"][1]}x{row["size"][0]} pixels: '
                  f'{number(row["frames_per_second"])} frames a second, the protocol\'s work on the host included.', '']
    if 'prediction' in rows:
        row = rows['prediction']
        lines += ['## Prediction', '', f'{row["frames"]} synthetic frames of {row["size"][1]}x{row["size"][0]} pixels with sound, in '
                  'memory, by nets of the papers\' size, whose maps come back to the host; nothing is decoded or written. '
                  f'STA alone: {number(row["STA"])} frames a second; the three students: {number(row["three"])}.', '']
    return lines


def page(result, names):
    """The page: what the rows of a result say, and which of all `names` are missing."""
    rows = result['rows']
    failed = [f'- {name}: {row["error"]}' for name, row in rows.items() if 'error' in row]
    left = [name for name in names if name not in rows]
    head = ['# On an accelerator', '', 'Written by `python -m benchmarks.accelerator` (`make gpu-report`), which does as much as ten '
            'minutes allow on a device that JAX sees and needs neither data nor weights nor a network. The same command goes on with what '
            'is left out.', '']
    if not rows:
        return '\n'.join([*head, '**This has not been run on an accelerator**: none was at hand. There are no numbers here yet.', '',
                          'The rows that it measures, in this order, as far as the time allows:', '', ', '.join(names) + '.', ''])
    flags = f', with XLA_FLAGS {result["flags"]}' if result['flags'] else ''
    told = f'{result["devices"]} x {result["device"]}, JAX {result["jax"]}{flags}.'
    if result['platform'] == 'cpu':
        told += ' **This is a CPU, not an accelerator.**'
    if result['small']:
        told += ' **Nets and frames are tiny (`--small`): the numbers say only that it runs.**'
    return '\n'.join([*head, told, '', *net_lines(result), *largest_lines(result), *scaling_lines(result), *other_lines(result),
                      *(['## Failed', '', *failed, ''] if failed else []),
                      *(['## Left out', '', 'For lack of time: ' + ', '.join(left) + '.', ''] if left else [])])
