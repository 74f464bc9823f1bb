"""The audio switch: taggers by ear, cross-fitted; their labels; the net that answers for untagged videos.

    stanet train --config=audio_switch --workdir=runs/switch
        SynthAVE, after configs/scam_coarse.py, which also makes one by itself, as runs/coarse/switch: 1.5 minutes on two CPU cores.
        Expect the net right on 0.95 or more of the test frames.

    stanet train --config=audio_switch:paper --config.data.root=AVE_Dataset --workdir=runs/paper_switch
"""
from stanet_jax.configs import run_of, scam_coarse


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(recipe)
    config.task = 'switch'
    config.switch, config.open_only = '', False
    config.start_from = {'switch': {'encoder': f'{run_of(recipe, "coarse")}/S', 'audio_encoder': f'{run_of(recipe, "coarse")}/A'}}
    if 'A' not in config.nets:  # the encoder of sound is VGGSound's, as A's would be
        config.start_from.switch = {'encoder': config.start_from.switch.encoder}
    config.nets = ('A', 'switch')  # A, once for each fold, is the tagger
    return config
