"""Says what of AVE, VGGSound, folders of videos and fixation sets is in a folder, what is missing, and what will be skipped.

    stanet data check --root=AVE_Dataset
    stanet data check --root=fixations
    stanet data check --root=videos             <tag>/<video>, or a CSV file, as data.name=folders takes it
    stanet data check --root=vggsound           with its vggsound.csv

Every video's header is read, and the first fixation map of each video; nothing is written. Ends with code 1 where nothing can be used.
"""
import os
import sys

from absl import flags

from stanet_jax import InputError, cli, one_line

ROOT = flags.DEFINE_string('root', None, 'Folder of AVE, VGGSound, videos by tag, or fixation sets; or a CSV file of videos.')
REQUIRED = ('root',)


def main() -> None:
    """Prints what is found in the folder and exits with code 1 where nothing can be used."""
    from stanet_jax.data import ave, folders, vggsound
    from stanet_jax.data.check import check_ave, check_set
    from stanet_jax.evaluation.check import check_sets
    root, used = cli.required(ROOT), False
    lines: list[str] = []
    found: list[tuple[list[str], bool]] = []
    if os.path.isdir(os.path.join(root, 'annotations')):
        found.append(check_sets(root))
    if any(map(ave.annotation_files, (root, os.path.join(root, 'AVE_Dataset')))):
        found.append(check_ave(root))
    if vggsound.is_there(root):
        found.append(check_set(vggsound.source(root), 'VGGSound'))
    elif not found and (os.path.isfile(root) or folders.find_videos(root)):
        found.append(check_set(folders.source(root), 'videos'))
    for more, good in found:
        lines, used = lines + more, used or good
    if not lines:
        raise InputError(f'{root}: neither AVE, VGGSound, folders of videos nor fixation sets. For AVE {ave.INSTRUCTIONS}. For VGGSound '
                         f'{vggsound.INSTRUCTIONS}. For your own videos {folders.INSTRUCTIONS}. For the fixation sets get the data of the '
                         'STAViS release: the folder then holds annotations, video_frames, video_audio and fold_lists')
    print('\n'.join(line[:len(line) - len(line.lstrip())] + one_line(line) for line in lines))
    sys.exit(not used)
