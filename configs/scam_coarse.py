"""The coarse classifiers S, SA and ST, trained on category tags, and the audio switch that SA hears by.

    stanet train --config=scam_coarse --workdir=runs/coarse
        SynthAVE with a small encoder from nothing, in minutes on two CPU cores. Expect all to be right on the test frames with one
        object, SA on 0.93 to 0.99 of `sound_decides`, ST on 0.86 to 0.90 of `motion_decides` (S: 0.4 to 0.6 on both; docs/results.md).

    stanet train --config=scam_coarse:real --config.data.root=DIR --workdir=runs/real_coarse
        One's own videos in folders named by their tags, on frozen pretrained encoders.

    stanet train --config=scam_coarse:paper --config.data.root=AVE_Dataset --workdir=runs/paper_coarse
        AVE as TPAMI has it (Sec. 6.1), for a GPU or more; `:cvpr` is STANet as in 2021, `:release` what the authors' code does where it
        differs. Not run yet: their steps are checked by shape. What to download is in docs/paper.md, what they differ in, in
        docs/method.md.

A and S come first, then the switch, in a folder of its own, which begins from them, then SA and ST.
"""
from ml_collections import ConfigDict

from stanet_jax.configs import choose

NETS = ('A', 'S', 'switch', 'SA', 'ST')


def get_config(recipe='synthave'):
    config = choose({'synthave': synthave, 'real': real, 'paper': paper, 'cvpr': cvpr, 'release': release}, recipe)()
    config.recipe, config.task = recipe, 'classifiers'
    return config


def synthave():
    return ConfigDict({
        'seed': 0,
        'nets': ('A', 'S', 'SA', 'ST'),  # trained in this order; A is sound alone
        'data': {
            'name': 'synthave',  # or ave; folders, of videos by tag or a CSV file (stanet_jax/data/folders.py); vggsound
            'root': 'data/synthave',
            'prepared': '',  # where the decoded frames go; <root>/prepared by default
            'clip_seconds': 10.0,  # videos in folders are cut into clips of this length
            'shares': (0.8, 0.1, 0.1),  # of train, validation and test among each tag's films, where folders do not say
            'split_seed': 0,  # of this draw
            'train_on': 'train',  # the clips for training, or 'all', with none held out, as the papers
            'beam': '',  # a runner of Apache Beam that decodes the videos, as DirectRunner; by default threads of this process
            'beam_options': (),  # of its pipeline, as ('--direct_num_workers=8', '--direct_running_mode=multi_processing')
            'side': 96,
            'rate': 8.0,  # frames kept of each second; 0 for each film's own frames, all of them
            'frames_per_clip': 8,  # that an epoch draws, each at random from its part of the clip; 0 for every frame once
            'centre_crop': 1.0,  # side of what is seen of the middle of a frame
            'least_crop': 0.75,  # side of the smallest random crop of it
            'mirror': True,  # every second example
            'workers': 0,  # reading processes; 0 reads in threads
        },
        'switch': 'switch',  # whose labels open SA's and STA's ear (Eq. 5): 'switch' of this run, or another folder; '' for an open ear
        'open_only': False,  # these learn from those frames alone whose label opens their ear, as in the release
        'refine': False,  # the fixation refine layer on the features of S, SA and ST, to compare (TPAMI Table 1, line 12)
        'boxes': '',  # folder of coarse maps, to whose boxes the frames are cropped; see configs/scam_fine.py
        'encoder': {'name': 'tiny', 'weights': '', 'frozen': False},  # frozen: its features are computed once and kept; for both or none
        'audio_encoder': {'name': 'tiny_audio', 'weights': '', 'frozen': False},
        'start_from': {'SA': {'encoder': 'S', 'classifier': 'S', 'audio_encoder': 'A'},  # whose trained part a net begins with
                       'ST': {'encoder': 'S', 'classifier': 'S'}},
        'loss': 'soft_margin',  # of the tags (TPAMI Eq. 7); or 'softmax', a cross-entropy (CVPR)
        'batch_norm': 'batch',  # 'running' keeps a pretrained encoder's statistics
        'sa_fuse': 'gate',  # Eq. 5; or add, multiply, concatenate, bilinear, to compare
        'width': 64,  # inner width of the fusions
        'dtype': 'auto',  # bfloat16 on accelerators, float32 on a CPU
        'batch': 32,
        'epochs': {'A': 0.4, 'S': 2.8, 'switch': 0.8, 'SA': 2.2, 'ST': 2.8},
        'optimizer': {'A': 'sgd', 'S': 'sgd', 'switch': 'adam', 'SA': 'adam', 'ST': 'adam'},
        'learning_rate': {'A': 0.2, 'S': 0.5, 'switch': 1e-3, 'SA': 2e-3, 'ST': 1e-3},  # of the encoders' weights
        'new_multiplier': {'A': 10.0, 'S': 10.0, 'switch': 3.0, 'SA': 3.0, 'ST': 3.0},  # for all other parts
        'bias_multiplier': 2.0,
        'schedule': 'cosine',  # with a warm-up; or 'constant'
        'decay_epochs': {},  # {net: passes after which its learning rate is a tenth}
        'warmup': 50,
        'momentum': 0.9,
        'weight_decay': 5e-4,
        'jitter': (0.3, 0.3, 0.3, 0.02),  # brightness, contrast, saturation, hue (which tells SynthAVE's categories)
        'held_out_frames': 2,  # of each clip, while training
        'evaluate_every': 200,
        'save_every': 100,
        'log_every': 20,
    })


def real():
    config = synthave()
    config.data.update({'name': 'folders', 'root': 'videos', 'side': 256, 'rate': 2.0})
    config.encoder = {'name': 'efficientnet_lite0', 'weights': 'pip', 'frozen': True}
    config.audio_encoder = {'name': 'yamnet', 'weights': 'fetched', 'frozen': True}
    config.start_from = {'SA': {'classifier': 'S'}, 'ST': {'classifier': 'S'}}
    config.batch_norm = 'running'
    for field, value in {'optimizer': 'adam', 'learning_rate': 1e-3, 'new_multiplier': 1.0}.items():
        config[field] = {net: value for net in NETS}
    config.epochs = {'A': 20.0, 'S': 20.0, 'switch': 10.0, 'SA': 8.0, 'ST': 8.0}
    return config


def paper():
    """TPAMI Sec. 6.1, and CVPR Sec. 4.2; what neither says is the release's (docs/method.md)."""
    config = synthave()
    config.data.update({'name': 'ave', 'root': 'AVE_Dataset', 'train_on': 'all', 'side': 256, 'rate': 0.0, 'frames_per_clip': 0,
                        'least_crop': 1.0, 'mirror': False, 'workers': 8})
    config.nets = ('S', 'SA', 'ST')  # VGGSound's own head is the tagger
    config.encoder = {'name': 'resnext101_32x8d', 'weights': 'weights/resnext101_wsl', 'frozen': False}
    config.audio_encoder = {'name': 'vggsound', 'weights': 'weights/vggsound', 'frozen': False}
    config.start_from = {}
    config.batch_norm = 'running'
    config.width = 512
    config.remat = False  # on accelerators the backward pass computes the inside of ResNeXt or VGG-16 again: less memory, more time
    config.batch = 20
    for field, value in {'epochs': 15.0, 'optimizer': 'sgd', 'learning_rate': 1e-3, 'new_multiplier': 10.0}.items():
        config[field] = {net: value for net in NETS}
    config.schedule = 'constant'
    config.jitter = (0.3, 0.3, 0.3, 0.1)
    config.evaluate_every = config.save_every = 1000
    config.log_every = 100
    return config


def cvpr():
    config = paper()
    config.loss = 'softmax'
    return config


def release():
    """The authors' code, where it differs from TPAMI."""
    config = paper()
    config.open_only = True
    config.data.centre_crop = 224 / 256
    config.batch_norm = 'batch'
    config.learning_rate = {net: 1e-4 for net in NETS}
    config.decay_epochs = {'S': (5.0, 10.0)}
    return config
