"""Packs trained students on frozen encoders into a small folder of safetensors, which `predict` and `evaluate` take as they take a run.

    stanet pack --run=runs/real/sta --out=my_student
"""
import pathlib

from absl import flags

from stanet_jax import cli

RUN = flags.DEFINE_string('run', None, 'Folder of a run of students.')
OUT = flags.DEFINE_string('out', None, 'Folder to write.')
NETS = flags.DEFINE_list('nets', ['STA'], 'Which students: STA, or STA,STA_short,STA_long.')
REQUIRED = ('run', 'out')


def main() -> None:
    """Packs the students and prints how large they are."""
    from stanet_jax.inference.packing import pack
    from stanet_jax.scratch import hold_output
    with hold_output(pathlib.Path(cli.required(OUT))):
        size = pack(cli.required(RUN), cli.required(OUT), NETS.value)
    print(f'{OUT.value}: {", ".join(NETS.value)}, {size / 2**20:.1f} MB')
