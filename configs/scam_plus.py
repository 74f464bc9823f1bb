"""The eight nets of SCAM+: S+, SA+ and ST+, which see other fragments beside the target, by way of C-GCN (TPAMI Sec. 4).

    stanet train --config=scam_plus --workdir=runs/plus
        SynthAVE, after configs/scam_coarse.py, whose S, SA and ST they begin from: 6 minutes on two CPU cores. docs/results.md has what
        to expect of each net.

    stanet train --config=scam_plus:paper --config.data.root=AVE_Dataset --workdir=runs/paper_plus
"""
from stanet_jax.configs import run_of, scam_coarse

PARTS = {'S': ('encoder', 'classifier'), 'ST': ('encoder', 'classifier', 'time_map'),
         'SA': ('encoder', 'classifier', 'audio_encoder', 'audio_map')}


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(recipe)
    config.nets = ('S_short', 'ST_short', 'S_long', 'SA_long', 'ST_long', 'S_cross', 'SA_cross', 'ST_cross')
    config.fragments = 2  # n: how many others each net sees
    config.blender = {'name': 'cgcn', 'steps': 3, 'threshold': 0.8, 'rate': 0.6, 'refine': True}  # steps: m; Td, Tr and use of FRL
    coarse = run_of(recipe, 'coarse')
    config.start_from = {net: {part: f'{coarse}/{net.split("_")[0]}' for part in PARTS[net.split('_')[0]]} for net in config.nets}
    config.switch = run_of(recipe, 'switch')
    config.batch = 16
    config.log_every = 5  # of few steps
    config.epochs = {net: 0.15 for net in config.nets}
    config.optimizer = {net: 'adam' for net in config.nets}
    config.learning_rate = {net: 3e-4 for net in config.nets}
    config.new_multiplier = {net: 3.0 for net in config.nets}
    if recipe == 'real':
        config.epochs = {net: 4.0 for net in config.nets}
    if recipe == 'paper':
        config.log_every = 100
        config.encoder = {'name': 'vgg16', 'weights': 'weights/vgg16', 'frozen': False}
        config.start_from = {net: {'audio_encoder': f'{coarse}/SA'} if net.startswith('SA') else {} for net in config.nets}
        config.epochs = {net: 15.0 for net in config.nets}
        config.optimizer = {net: 'sgd' for net in config.nets}
        config.learning_rate = {net: 1e-3 for net in config.nets}
        config.new_multiplier = {net: 10.0 for net in config.nets}
    return config
