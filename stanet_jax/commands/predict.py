"""Fixation maps of any videos and pictures, by a trained student or three or without training; or labels of images by DeepLab.

    stanet predict my.mp4 photo.jpg --out=maps                                 videos, pictures, or folders of them: the packaged student
    stanet predict my.mp4 photo.jpg --checkpoint=runs/sta_plus --out=maps      one's own students
    stanet predict my.mp4 photo.jpg --method=heard_cam --out=maps              without any training
    stanet predict --image=photos --checkpoint=runs/deeplab --out=labels
"""
import pathlib

from absl import flags

from stanet_jax import InputError
from stanet_jax.inference import CLASS_MAPS, METHODS, find_method
from stanet_jax.media import box
from stanet_jax.scratch import hold

VIDEO = flags.DEFINE_multi_string('video', [], 'A video or a picture, or a folder of them; may be given several times, or as plain '
                                  'words.')
IMAGE = flags.DEFINE_string('image', '', 'An image, or a folder of images, to be labelled by DeepLab.')
CHECKPOINT = flags.DEFINE_multi_string('checkpoint', None, 'Folder of a run that `distill` made, or `convert --name=release` of '
                                       "the authors' files, of one student or of all three, whose maps are fused; RUN/STA is one net of "
                                       'a run. May be given several times. By default "default", the packaged student. For images: of '
                                       'DeepLab.')
METHOD = flags.DEFINE_string('method', '', f'A method without training, in place of a run: {", ".join(METHODS)}. With --checkpoint=RUN/S a '
                             f'class activation map of S, of the class that it predicts: {", ".join(CLASS_MAPS)}.')
NAMES = flags.DEFINE_enum('names', 'eyemap', ['eyemap', 'stavis'], 'What the maps are called: maps/eyeMap_%05d.png, or pred_sal_%06d.jpg, '
                          'as the evaluation code of the STAViS release reads them.')
MAPS = flags.DEFINE_enum('maps', 'png', ['png', 'video', 'none'], 'How maps are written: a picture for each frame; maps.mkv, a lossless '
                         'grey video; or not at all.')
OVERLAY = flags.DEFINE_bool('overlay', True, 'Whether the maps are shown over the frames, in overlay.mp4 or overlay.png.')
SIDE = flags.DEFINE_integer('side', 0, 'Width and height of the frames that the students see, in pixels: smaller is faster. By default '
                            'what their config says: 384 for the packaged student.', lower_bound=0)
OUT = flags.DEFINE_string('out', 'predictions', 'Folder to write: <name>/maps/eyeMap_%05d.png and <name>/overlay.mp4 of each video, '
                          'or overlay.png of each picture; <name>/labels.png and '
                          '<name>/overlay.jpg of each image.')
REQUIRED, WORDS = (), 'videos and pictures'


def main(words: list[str]) -> None:
    """Predicts the videos and pictures, given by flags or as words, or the images."""
    videos, runs = [*VIDEO.value, *words], CHECKPOINT.value or []
    if METHOD.value:
        find_method(METHOD.value, runs)
    if bool(videos) == bool(IMAGE.value):
        raise InputError('--video, --image: give one of them')
    if IMAGE.value:
        if len(runs) != 1 or NAMES.present or METHOD.value:
            raise InputError('--image: takes one --checkpoint, and no --names or --method; fixation maps of pictures need no --image')
        from stanet_jax.eps.prediction import predict_images
        with hold(pathlib.Path(OUT.value)):
            predict_images(runs[0], IMAGE.value, OUT.value)
        return
    if MAPS.value == 'none' and not OVERLAY.value:
        raise InputError('--maps=none --nooverlay: nothing would be written; leave one of them out')
    if NAMES.present and MAPS.value != 'png':
        raise InputError(f'--names: of pictures, not of --maps={MAPS.value}')
    box.start()  # it imports what it needs while this process does
    from stanet_jax.inference.opening import open_predictor
    from stanet_jax.inference.videos import predict_videos
    from stanet_jax.media.overlay import Output
    predictor = open_predictor(runs if runs or METHOD.value else ['default'], METHOD.value, SIDE.value)
    with hold(pathlib.Path(OUT.value)):
        predict_videos(predictor, videos, OUT.value, Output(MAPS.value, NAMES.value, OVERLAY.value))
