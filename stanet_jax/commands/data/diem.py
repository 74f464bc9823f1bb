"""Makes a fixation set of the raw gaze of DIEM: who looked where, frame by frame.

    stanet data diem --root=DIEM --out=fixations --blur=20                            sigma of the density in pixels
    stanet data diem --root=DIEM --out=fixations --blur=1 --pixels_per_degree=35      in degrees of visual angle

A video that is there already is left; one that cannot be read is skipped, counted and reported.
"""
import pathlib

from absl import flags

from stanet_jax import InputError, cli
from stanet_jax.scratch import hold

ROOT = flags.DEFINE_string('root', None, 'Folder of DIEM: <video>/event_data/*.txt, <video>/video/*.')
OUT = flags.DEFINE_string('out', None, 'Folder to write: annotations/DIEM/<video>.')
BLUR = flags.DEFINE_float('blur', None, 'Sigma of the density: in pixels, or in degrees with --pixels_per_degree.')
PIXELS = flags.DEFINE_float('pixels_per_degree', 1.0, 'Pixels of the screen to a degree of visual angle, where --blur is in degrees.')
SCREEN = flags.DEFINE_string('screen', '1280x960', 'Width x height of the screen, in pixels; the default is that of the project.')
REQUIRED = ('root', 'out', 'blur')


def main() -> None:
    """Converts every video of DIEM and prints how many were written and which were skipped."""
    from stanet_jax.evaluation.diem import convert
    root, out, blur = cli.required(ROOT), cli.required(OUT), cli.required(BLUR)
    if not blur > 0 or not PIXELS.value > 0:
        raise InputError('--blur, --pixels_per_degree: must be above 0')
    width, _, height = SCREEN.value.partition('x')
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f'--screen={SCREEN.value}: must be width x height in pixels, as 1280x960')
    with hold(pathlib.Path(out)):
        skipped = convert(root, out, blur * PIXELS.value, (int(height), int(width)))
    print(f'{out}: {len(list((pathlib.Path(out) / "annotations" / "DIEM").glob("[!.]*")))} videos; skipped {len(skipped)}')
    print('\n'.join(f'  {line}' for line in skipped))
