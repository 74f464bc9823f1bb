"""Says what of AVE and of the fixation sets is in a folder, what is missing, and what will be skipped.

    stanet data check --root=AVE_Dataset
    stanet data check --root=fixations

Every video's header is read, and the first fixation map of each video; nothing is written. Ends with code 1 where nothing can be used.
"""
import os
import sys

from absl import flags

from stanet_jax import InputError, cli

ROOT = flags.DEFINE_string('root', None, 'Folder of AVE, or of fixation sets.')
REQUIRED = ('root',)


def main() -> None:
    """Prints what is found in the folder and exits with code 1 where nothing can be used."""
    from stanet_jax.data import ave
    from stanet_jax.data.check import check_ave
    from stanet_jax.evaluation.check import check_sets
    root, used = cli.required(ROOT), False
    lines: list[str] = []
    for is_there, check in ((os.path.isdir(os.path.join(root, 'annotations')), check_sets),
                            (any(map(ave.annotation_files, (root, os.path.join(root, 'AVE_Dataset')))), check_ave)):
        if is_there:
            more, good = check(root)
            lines, used = lines + more, used or good
    if not lines:
        raise InputError(f'{root}: neither AVE nor fixation sets. For AVE {ave.INSTRUCTIONS}. For the fixation sets get the data of the '
                         'STAViS release: the folder then holds annotations, video_frames, video_audio and fold_lists')
    print('\n'.join(lines))
    sys.exit(not used)
