"""The fine nets S, SA and ST: the coarse ones, taught on the crops that coarse SCAM boxes.

    stanet train --config=scam_fine --workdir=runs/pseudo_gt/fine_nets
        After `stanet distill --config=pseudo_gt`, which makes the boxes and also trains these nets by itself.
"""
from stanet_jax.configs import scam_coarse


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(recipe)
    config.nets = ('S', 'SA', 'ST')
    coarse = 'runs/coarse' if recipe == 'synthave' else 'runs/paper'
    config.start_from = {net: f'{coarse}/{net}' for net in config.nets}
    root = 'runs/' if recipe == 'synthave' else 'runs/paper_'
    config.switch, config.boxes = f'{root}switch', f'{root}pseudo_gt/coarse'
    config.epochs = {net: 0.6 for net in config.nets}
    config.optimizer = {net: 'adam' for net in config.nets}
    config.learning_rate = {net: 1e-3 for net in config.nets}
    config.new_multiplier = {net: 1.0 for net in config.nets}
    if recipe == 'paper':
        config.data.side, config.batch = 356, 3
        config.epochs = {net: 15.0 for net in config.nets}
        config.optimizer = {net: 'sgd' for net in config.nets}
        config.new_multiplier = {net: 10.0 for net in config.nets}
    return config
