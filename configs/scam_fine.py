"""The fine nets S, SA and ST: the coarse ones, taught on the crops that coarse SCAM boxes.

    stanet train --config=scam_fine --workdir=runs/pseudo_gt/fine_nets
        After `stanet distill --config=pseudo_gt`, which makes the boxes and also trains these nets by itself.
"""
from stanet_jax.configs import run_of, scam_coarse


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(recipe)
    config.nets = ('S', 'SA', 'ST')
    config.start_from = {net: f'{run_of(recipe, "coarse")}/{net}' for net in config.nets}
    config.switch, config.boxes = run_of(recipe, 'switch'), f'{run_of(recipe, "pseudo_gt")}/coarse'
    config.epochs = {net: 0.6 for net in config.nets}
    config.optimizer = {net: 'adam' for net in config.nets}
    config.learning_rate = {net: 1e-3 for net in config.nets}
    config.new_multiplier = {net: 1.0 for net in config.nets}
    if recipe == 'real':
        config.epochs = {net: 5.0 for net in config.nets}
    if recipe == 'paper':
        config.data.side, config.batch = 356, 3
        config.epochs = {net: 15.0 for net in config.nets}
        config.optimizer = {net: 'sgd' for net in config.nets}
        config.new_multiplier = {net: 10.0 for net in config.nets}
    return config
