"""Fixation maps of any videos, by a trained student or three, or labels of images by DeepLab.

    stanet predict my.mp4 other.mov --checkpoint=runs/sta_plus --out=maps      videos, or folders of them
    stanet predict --image=photos --checkpoint=runs/deeplab --out=labels
"""
from absl import flags

from stanet_jax import InputError, cli

VIDEO = flags.DEFINE_multi_string('video', [], 'A video, or a folder of videos; may be given several times, or as plain words.')
IMAGE = flags.DEFINE_string('image', '', 'An image, or a folder of images, in place of videos.')
CHECKPOINT = flags.DEFINE_multi_string('checkpoint', None, 'Folder of a run that `distill` made, of one student or of all three, '
                                       'whose maps are fused; RUN/STA is one net of a run. May be given several times. For images: '
                                       'of DeepLab.')
NAMES = flags.DEFINE_enum('names', 'eyemap', ['eyemap', 'stavis'], 'What the maps are called: maps/eyeMap_%05d.png, or pred_sal_%06d.jpg, '
                          'as the evaluation code of the STAViS release reads them.')
OUT = flags.DEFINE_string('out', 'predictions', 'Folder to write: <name>/maps/eyeMap_%05d.png and <name>/overlay.mp4 of each video; '
                          '<name>/labels.png and <name>/overlay.jpg of each image.')
REQUIRED, WORDS = ('checkpoint',), 'videos'


def main(words: list[str]) -> None:
    """Predicts the videos, given by flags or as words, or the images."""
    videos, runs = [*VIDEO.value, *words], cli.required(CHECKPOINT)
    if bool(videos) == bool(IMAGE.value):
        raise InputError('--video, --image: give one of them')
    if IMAGE.value:
        if len(runs) > 1 or NAMES.present:
            raise InputError('--image: takes one --checkpoint, and no --names')
        from stanet_jax.eps.prediction import predict_images
        predict_images(runs[0], IMAGE.value, OUT.value)
        return
    from stanet_jax.inference.predictor import Predictor
    from stanet_jax.inference.videos import predict_videos
    predict_videos(Predictor(*runs), videos, OUT.value, NAMES.value)
