"""The fine nets S, SA and ST, taught on the crops that coarse SCAM boxes.

    stanet train --config=scam_fine --workdir=runs/pseudo_gt/fine_nets
        After `stanet distill --config=pseudo_gt`, which makes the boxes and also trains these nets by itself. They begin from the coarse
        ones; in the papers' recipes they begin as the coarse ones did.
"""
from stanet_jax.configs import run_of, scam_coarse


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(recipe)
    coarse = run_of(recipe, 'coarse')
    config.nets = ('S', 'SA', 'ST')
    config.switch, config.boxes = f'{coarse}/switch', f'{run_of(recipe, "pseudo_gt")}/coarse'
    if recipe in ('paper', 'cvpr', 'release'):
        config.data.side, config.batch = 356, 3
        return config
    config.start_from = {net: f'{coarse}/{net}' for net in config.nets}
    if recipe == 'synthave':
        config.batch = 16
    config.epochs = {net: 5.0 if recipe == 'real' else 0.3 for net in config.nets}
    for field, value in {'optimizer': 'adam', 'learning_rate': 1e-3, 'new_multiplier': 1.0}.items():
        config[field] = {net: value for net in config.nets}
    return config
