"""The second stage of EPS: DeepLab on pseudo-masks.

    stanet distill --config=deeplab --workdir=runs/deeplab
    --config=deeplab:v1_resnet101, :v2_resnet101, :v1_vgg16, :v2_vgg16     as the papers have it, on PASCAL VOC 2012
    --config=deeplab:coco                                                  V2 on VGG-16, on COCO 2014

The first takes 3 minutes on two CPU cores; expect a mean IoU of 0.51 to 0.54 on SynthVOC's held-out images.
"""
import functools

from stanet_jax.configs import choose, eps

ENCODERS = {'vgg16': {'name': 'vgg16', 'weights': 'weights/vgg16'}, 'resnet101': {'name': 'resnet101', 'weights': 'weights/resnet101'}}


def get_config(name='synthvoc'):
    papers = {f'{version}_{encoder}': functools.partial(voc12, version, encoder) for version in ('v1', 'v2') for encoder in ENCODERS}
    return choose({'synthvoc': synthvoc, 'coco': coco, **papers}, name)()


def synthvoc():
    config = eps.get_config()
    for field in ('selection', 'background_classes', 'threshold', 'mix'):
        del config[field]
    config.task, config.nets = 'deeplab', ('DeepLab',)
    config.pseudo_masks = 'runs/eps/masks/train'  # folder of masks to learn from
    config.rates, config.width = (1, 3), 64  # of dilation in the head (V1: 12; V2: 6, 12, 18, 24), and its channels
    for field, value in {'epochs': 20.0, 'optimizer': 'adam', 'learning_rate': 2e-3, 'new_multiplier': 1.0}.items():
        config[field] = {'DeepLab': value}
    config.masks.scales = (1.0,)
    return config


def voc12(version, encoder):
    """`version` v1 (LargeFOV) or v2 (ASPP) on the encoder vgg16 or resnet101."""
    config, paper = synthvoc(), eps.get_config('voc12')
    config.data.update(paper.data)
    config.data.update({'side': 321, 'long_side': (256, 640)})
    config.pseudo_masks = 'runs/voc_eps/masks/train_aug'
    config.rates = {'v1': (12,), 'v2': (6, 12, 18, 24)}[version]
    config.width = 0 if (version, encoder) == ('v2', 'resnet101') else 1024
    config.encoder = ENCODERS[encoder]
    config.batch, config.batch_norm, config.schedule = 10, 'running', 'polynomial'
    config.epochs, config.optimizer = {'DeepLab': 10 * 20000 / 10582}, {'DeepLab': 'sgd'}
    config.learning_rate, config.new_multiplier = {'DeepLab': 1e-3 if encoder == 'vgg16' else 2.5e-4}, {'DeepLab': 10.0}
    config.jitter = (0.0, 0.0, 0.0, 0.0)
    config.masks.update({'canvas': 512, 'batch': 4, 'scales': (0.5, 0.75, 1.0)})
    config.held_out, config.evaluate_every, config.save_every, config.log_every = 400, 2000, 1000, 50
    return config


def coco():
    config = voc12('v2', 'vgg16')
    config.data.update({'root': 'COCO2014', 'split': 'train'})
    config.pseudo_masks, config.masks.canvas = 'runs/coco_eps/masks/train', 640
    config.epochs = {'DeepLab': 10 * 100000 / 82081}
    return config
