"""The eight nets of SCAM+: S+, SA+ and ST+, which see other fragments beside the target, by way of C-GCN (TPAMI Sec. 4).

    stanet train --config=scam_plus --workdir=runs/plus
        SynthAVE, after configs/scam_coarse.py, whose S, SA and ST they begin from: 6 minutes on two CPU cores. docs/results.md has what
        to expect of each net.

    stanet train --config=scam_plus:paper --config.data.root=AVE_Dataset --workdir=runs/paper_plus
        As TPAMI has it; `:release` as the authors' code does. CVPR has no such nets.
"""
from stanet_jax.configs import choose, run_of, scam_coarse

PARTS = {'S': ('encoder', 'classifier'), 'ST': ('encoder', 'classifier', 'time_map'),
         'SA': ('encoder', 'classifier', 'audio_encoder', 'audio_map')}


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(choose({name: name for name in ('synthave', 'real', 'paper', 'release')}, recipe))
    config.nets = ('S_short', 'ST_short', 'S_long', 'SA_long', 'ST_long', 'S_cross', 'SA_cross', 'ST_cross')
    config.fragments = 2  # n: how many others each net sees
    config.blender = {'name': 'cgcn', 'steps': 3, 'threshold': 0.8, 'rate': 0.6, 'refine': True}  # steps: m; Td, Tr and use of FRL
    coarse = run_of(recipe, 'coarse')
    config.start_from = {net: {part: f'{coarse}/{net.split("_")[0]}' for part in PARTS[net.split('_')[0]]} for net in config.nets}
    config.switch = f'{coarse}/switch'
    config.node_loss = 0.0  # weight of the other nodes' losses beside the target's (Sec. 4.3.1 has the target's alone)
    config.before_loss = 0.0  # weight of the nodes' losses before the reasoning
    config.batch = 8 if recipe == 'synthave' else 16
    config.log_every = 5  # of few steps
    config.epochs = {net: 0.075 for net in config.nets}
    config.optimizer = {net: 'adam' for net in config.nets}
    config.learning_rate = {net: 3e-4 for net in config.nets}
    config.new_multiplier = {net: 3.0 for net in config.nets}
    if recipe == 'real':
        config.epochs = {net: 4.0 for net in config.nets}
    if recipe in ('paper', 'release'):
        config.log_every = 100
        config.encoder = {'name': 'vgg16', 'weights': 'weights/vgg16', 'frozen': False}
        config.start_from = {net: {'audio_encoder': f'{coarse}/SA'} if net.startswith('SA') else {} for net in config.nets}
        config.epochs = {net: 15.0 for net in config.nets}
        config.optimizer = {net: 'sgd' for net in config.nets}
        config.learning_rate = {net: 1e-3 for net in config.nets}
        config.new_multiplier = {net: 10.0 for net in config.nets}
    if recipe == 'release':
        config.data.centre_crop = 256 / 300
        config.learning_rate = {net: 1e-3 if net.startswith('S_') else 1e-5 for net in config.nets}
        config.decay_epochs = {net: (5.0, 10.0) for net in config.nets if net.startswith('SA')}
        config.node_loss, config.before_loss = 1.0, 0.4
    return config
