"""Fixation maps of any video: `python predict.py --video=my.mp4 --checkpoint=runs/sta --out=predictions`.

Labels of images, by DeepLab: `python predict.py --image=photos --checkpoint=runs/deeplab --out=labels`.
"""
from absl import flags

from stanet_jax import InputError, cli
from stanet_jax.eps import masks
from stanet_jax.inference import predictor
from stanet_jax.inference import videos as prediction

VIDEO = flags.DEFINE_multi_string('video', None, 'A video, or a folder of videos; may be given several times.')
IMAGE = flags.DEFINE_string('image', '', 'An image, or a folder of images, in place of videos.')
CHECKPOINT = flags.DEFINE_multi_string('checkpoint', None, 'Folder of a run that distill.py made, of one student or of all three, '
                                       'whose maps are fused; RUN/STA is one net of a run. May be given several times. For images: '
                                       'of DeepLab.')
NAMES = flags.DEFINE_enum('names', 'eyemap', ['eyemap', 'stavis'], 'What the maps are called: maps/eyeMap_%05d.png, or pred_sal_%06d.jpg, '
                          'as the evaluation code of the STAViS release reads them.')
OUT = flags.DEFINE_string('out', 'predictions', 'Folder to write: <name>/maps/eyeMap_%05d.png and <name>/overlay.mp4 of each video; '
                          '<name>/labels.png and <name>/overlay.jpg of each image.')


def main():
    if bool(VIDEO.value) == bool(IMAGE.value):
        raise InputError('--video, --image: give one of them')
    if IMAGE.value:
        if len(CHECKPOINT.value) > 1 or NAMES.present:
            raise InputError('--image: takes one --checkpoint, and no --names')
        masks.predict(CHECKPOINT.value[0], IMAGE.value, OUT.value)
        return
    prediction.predict(predictor.Predictor(*CHECKPOINT.value), VIDEO.value, OUT.value, NAMES.value)


if __name__ == '__main__':
    cli.run(main, required=['checkpoint'])
