"""Makes films of fixation sets' own videos, with tags that you give them, to train on as TPAMI Table 9 does.

    stanet data tagged --root=fixations --tags=tags.csv --out=data/own_videos
    stanet run --config=stanet:own_videos --workdir=runs/own_videos

The CSV file has the columns set, video, tag, several tags with semicolons between, and may have split. A film that is there is left.
"""
import pathlib

from absl import flags

from stanet_jax import cli

ROOT = flags.DEFINE_string('root', None, 'Folder of the fixation sets: video_frames, video_audio, fold_lists.')
TAGS = flags.DEFINE_string('tags', None, 'CSV file with the columns set, video, tag.')
OUT = flags.DEFINE_string('out', None, 'Folder to write: <set>/<video>.mp4 and clips.csv.')
REQUIRED = ('root', 'tags', 'out')


def main() -> None:
    """Writes the films and prints how many there are and which were skipped."""
    from stanet_jax.evaluation.tagged import convert
    from stanet_jax.scratch import hold
    out = pathlib.Path(cli.required(OUT))
    with hold(out):
        skipped = convert(cli.required(ROOT), cli.required(TAGS), out)
    print(f'{out}: {len(list(out.glob("*/[!.]*.mp4")))} films; skipped {len(skipped)}')
    print('\n'.join(f'  {line}' for line in skipped))
