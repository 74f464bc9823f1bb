"""Fixation maps of any video: `python predict.py --video=my.mp4 --checkpoint=runs/sta --out=predictions`."""
from absl import flags

from stanet_jax import cli, prediction, predictor

VIDEO = flags.DEFINE_multi_string('video', None, 'A video, or a folder of videos; may be given several times.')
CHECKPOINT = flags.DEFINE_multi_string('checkpoint', None, 'Folder of a run that distill.py made, of one student or of all three, '
                                       'whose maps are fused; RUN/STA is one net of a run. May be given several times.')
NAMES = flags.DEFINE_enum('names', 'eyemap', ['eyemap', 'stavis'], 'What the maps are called: maps/eyeMap_%05d.png, or pred_sal_%06d.jpg, '
                          'as the evaluation code of the STAViS release reads them.')
OUT = flags.DEFINE_string('out', 'predictions', 'Folder to write: <name>/maps/eyeMap_%05d.png and <name>/overlay.mp4 of each video.')


def main():
    prediction.predict(predictor.Predictor(*CHECKPOINT.value), VIDEO.value, OUT.value, NAMES.value)


if __name__ == '__main__':
    cli.run(main, required=['video', 'checkpoint'])
