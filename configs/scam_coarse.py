"""The coarse classifiers S, SA and ST, trained on category tags.

    stanet train --config=scam_coarse --workdir=runs/coarse
        SynthAVE with a small encoder from nothing: 6 minutes on two CPU cores. Expect all right on the test frames with one object, SA
        on 0.90 to 0.98 of `sound_decides`, ST on 0.88 to 0.98 of `motion_decides` (S: 0.4 to 0.6 on both; docs/results.md).

    stanet train --config=scam_coarse:real --config.data.root=DIR --workdir=runs/real_coarse
        One's own videos in folders named by their tags, on frozen pretrained encoders.

    stanet train --config=scam_coarse:paper --config.data.root=AVE_Dataset --workdir=runs/paper_coarse
        AVE as the papers have it (CVPR Sec. 4.2, TPAMI Sec. 6.1), for a GPU or more. Not run yet: its steps are checked by shape.
        What to download, and what `stanet convert` has to make of it first, is in docs/paper.md.
"""
from ml_collections import ConfigDict

from stanet_jax.configs import choose


def get_config(recipe='synthave'):
    config = choose({'synthave': synthave, 'real': real, 'paper': paper}, recipe)()
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
            'beam': '',  # a runner of Apache Beam that decodes the videos, as DirectRunner; by default threads of this process
            'beam_options': (),  # of its pipeline, as ('--direct_num_workers=8', '--direct_running_mode=multi_processing')
            'side': 96,
            'rate': 8.0,  # frames kept of each second
            'frames_per_clip': 8,  # that an epoch draws, each at random from its part of the clip
            'least_crop': 0.75,  # side of the smallest random crop; every second one is mirrored
            'workers': 0,  # reading processes; 0 reads in threads
        },
        'switch': '',  # folder of a run of configs/audio_switch.py, whose labels open and close SA's ear; by default it is open
        'boxes': '',  # folder of coarse maps, to whose boxes the frames are cropped; see configs/scam_fine.py
        'encoder': {'name': 'tiny', 'weights': '', 'frozen': False},  # frozen: its features are computed once and kept; for both or none
        'audio_encoder': {'name': 'tiny_audio', 'weights': '', 'frozen': False},
        'start_from': {'SA': {'encoder': 'S', 'classifier': 'S', 'audio_encoder': 'A'},  # whose trained part a net begins with
                       'ST': {'encoder': 'S', 'classifier': 'S'}},
        'batch_norm': 'batch',  # 'running' keeps a pretrained encoder's statistics
        'sa_fuse': 'gate',  # Eq. 5; or add, multiply, concatenate, bilinear, to compare
        'width': 64,  # inner width of the fusions
        'dtype': 'auto',  # bfloat16 on accelerators, float32 on a CPU
        'batch': 32,
        'epochs': {'A': 0.4, 'S': 2.8, 'SA': 2.2, 'ST': 2.8},
        'optimizer': {'A': 'sgd', 'S': 'sgd', 'SA': 'adam', 'ST': 'adam'},
        'learning_rate': {'A': 0.2, 'S': 0.5, 'SA': 2e-3, 'ST': 1e-3},  # of the encoders' weights
        'new_multiplier': {'A': 10.0, 'S': 10.0, 'SA': 3.0, 'ST': 3.0},  # for all other parts
        'bias_multiplier': 2.0,
        'schedule': 'cosine',  # with a warm-up; or 'constant'
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
        config[field] = {net: value for net in config.nets}
    config.epochs = {'A': 20.0, 'S': 20.0, 'SA': 8.0, 'ST': 8.0}
    return config


def paper():
    config = synthave()
    config.data.update({'name': 'ave', 'root': 'AVE_Dataset', 'side': 256, 'frames_per_clip': 10, 'workers': 8})
    config.nets = ('S', 'SA', 'ST')
    config.encoder = {'name': 'resnext101_32x8d', 'weights': 'weights/resnext101_wsl', 'frozen': False}
    config.audio_encoder = {'name': 'vggsound', 'weights': 'weights/vggsound', 'frozen': False}
    config.start_from = {}
    config.batch_norm = 'running'
    config.width = 512
    config.batch = 20
    for field, value in {'epochs': 15.0, 'optimizer': 'sgd', 'learning_rate': 1e-3, 'new_multiplier': 10.0}.items():
        config[field] = {net: value for net in config.nets}
    config.schedule = 'constant'
    config.jitter = (0.3, 0.3, 0.3, 0.1)
    config.evaluate_every = config.save_every = 1000
    config.log_every = 100
    return config
