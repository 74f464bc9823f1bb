"""How SA takes in sound: `gate` is SA fuse (TPAMI Table 3).

    stanet train --config=ablations/sa_fuse:add --workdir=runs/ablations/sa_fuse/add
        SynthAVE, after configs/scam_coarse.py, whose S and A it begins from: 2.5 minutes on two CPU cores; docs/ablations.md has scores.
"""
from stanet_jax.configs import choose, scam_coarse
from stanet_jax.configs.ablations import begin_from

STAGE = 'coarse'
VARIANTS = {name: {'sa_fuse': name} for name in ('add', 'multiply', 'concatenate', 'bilinear', 'gate')}


def vary(config, variant):
    """A config of the coarse classifiers -> that of an SA of another fusion."""
    config.update_from_flattened_dict({'nets': ('SA',), **choose(VARIANTS, variant)})
    return config


def get_config(variant=''):
    return begin_from(vary(scam_coarse.get_config(), variant), 'runs/coarse')
