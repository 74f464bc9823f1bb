"""EPS (Lee et al., CVPR 2021): a classifier on tags and saliency, whose maps become pseudo-masks.

    stanet train --config=eps --workdir=runs/eps       trains it; 2 minutes on two CPU cores
    stanet distill --config=eps --workdir=runs/eps     writes its pseudo-masks to runs/eps/masks
    --config=eps:voc12                                 as the paper and its release have it, on PASCAL VOC 2012
    --config=eps:coco                                  as the release has it, on COCO 2014

Expect a mean IoU of the masks of 0.50 to 0.54 on SynthVOC.

`--config.selection=none` leaves the saliency out: class activation maps, the baseline.
"""
from ml_collections import ConfigDict

from stanet_jax.configs import choose


def get_config(name='synthvoc'):
    return choose({'synthvoc': synthvoc, 'voc12': voc12, 'coco': coco}, name)()


def synthvoc():
    return ConfigDict({
        'task': 'eps',
        'seed': 0,
        'nets': ('EPS',),
        'data': {
            'name': 'synthvoc',  # or voc
            'root': 'data/synthvoc',
            'split': 'train',  # the list of ids to train on: train, of VOC's own 1,464 images, or train_aug, with SBD's 10,582
            'prepared': '',  # where the records go; <root>/prepared by default
            'saliency': '',  # folder of saliency maps; <root>/SALImages by default
            'side': 96,  # of the crops
            'long_side': (72, 128),  # range of the images' longer side, at random
            'workers': 0,  # reading processes; 0 reads in threads
        },
        'selection': 'adaptive',  # of foreground classes: adaptive, naive, predefined (Table 3); or none, for tags alone
        'background_classes': (),  # names of the classes that 'predefined' counts as background
        'threshold': 0.4,  # tau of the overlap, Sec. 3.2
        'mix': 0.5,  # lambda of Eq. 1, Sec. 3.2
        'encoder': {'name': 'tiny', 'weights': ''},
        'start_from': {},
        'batch_norm': 'batch',  # 'running' keeps a pretrained encoder's statistics
        'frozen': (),  # names of layers, and of parameters of any layer, that are not trained
        'dtype': 'auto',  # bfloat16 on accelerators, float32 on a CPU
        'batch': 32,
        'epochs': {'EPS': 20.0},
        'optimizer': {'EPS': 'adam'},
        'learning_rate': {'EPS': 2e-3},  # of the encoder's weights
        'new_multiplier': {'EPS': 5.0},
        'bias_multiplier': 2.0,
        'schedule': 'cosine',  # or polynomial, constant
        'warmup': 50,
        'momentum': 0.9,
        'weight_decay': 5e-4,
        'decay_kernels_only': True,
        'jitter': (0.3, 0.3, 0.3, 0.02),  # brightness, contrast, saturation, hue (which tells SynthAVE's categories)
        'masks': {
            'splits': ('train',),
            'scales': (0.5, 1.0, 1.5, 2.0),
            'background': 0.2,  # score of the background
            'canvas': 96,  # square that images are set into; larger ones are made to fit
            'batch': 16,  # images of a device
            'crf': '',  # a dense CRF that refines them: of their scores, as EPS's release documents it, or of labels; needs the extra `crf`
        },
        'held_out': 96,  # images that are looked at while training
        'evaluate_every': 200,
        'save_every': 200,
        'log_every': 10,
    })


def voc12():
    """Sec. 4 of the paper where it has numbers, else the authors' release (`release` below)."""
    config = synthvoc()
    config.data.update({'name': 'voc', 'root': 'VOC2012', 'split': 'train_aug', 'side': 448, 'workers': 8})  # Sec. 4
    config.data.long_side = (256, 512)  # release; the paper scales at random
    config.encoder = {'name': 'resnet38', 'weights': 'weights/resnet38'}  # Sec. 4
    config.batch_norm = 'running'  # release, as what is frozen: the stem and the first group, scale and shift of batch normalisation
    config.frozen = ('conv1a', 'b2', 'b2_1', 'b2_2', 'scale', 'bias')
    config.batch = 8  # Sec. 4
    config.epochs = {'EPS': 8 * 20000 / 10582}  # 20,000 steps, Sec. 4
    config.optimizer, config.learning_rate, config.new_multiplier = {'EPS': 'sgd'}, {'EPS': 0.01}, {'EPS': 10.0}  # Sec. 4
    config.schedule, config.momentum = 'polynomial', 5e-4  # release, in which the decay stands in the momentum's place
    config.jitter = (0.3, 0.3, 0.3, 0.1)  # release
    config.masks.splits, config.masks.canvas, config.masks.batch = ('train_aug',), 512, 4  # VOC's images have at most 500 pixels a side
    config.held_out, config.evaluate_every, config.save_every, config.log_every = 400, 2000, 1000, 50
    return config


def coco():
    """The release's recipe for COCO 2014: the paper has no numbers for it but those of VOC."""
    config = voc12()
    config.data.update({'root': 'COCO2014', 'split': 'train', 'side': 321, 'long_side': (256, 448)})
    config.mix, config.batch = 0.9, 16
    config.epochs = {'EPS': 16 * 256500 / 82081}  # 256,500 steps
    config.masks.splits, config.masks.canvas = ('train',), 640  # COCO's images have at most 640 pixels a side
    return config
