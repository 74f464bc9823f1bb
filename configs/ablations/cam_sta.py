"""One classifier of all three sources, `STA`, in the place of S, SA and ST (TPAMI Table 2).

    stanet train --config=ablations/cam_sta:STA --workdir=runs/ablations/cam_sta/STA
        SynthAVE, after configs/scam_coarse.py, whose S and A it begins from: 6 minutes on two CPU cores; docs/ablations.md has scores.

The table's rows are of students, coarse and fine: `stanet tables --paper=tpami --table=2 --train`.
"""
from stanet_jax.configs import choose, scam_coarse
from stanet_jax.configs.ablations import begin_from

STAGE = 'coarse'
VARIANTS = {'STA': {'nets': ('STA',)}}


def vary(config, variant='STA'):
    """A config of S, SA and ST, coarse or fine -> that of STA, which begins as SA does and is trained as ST is."""
    config.update_from_flattened_dict(choose(VARIANTS, variant))
    begins = config.start_from.get('SA', {})
    if isinstance(begins, str):  # from the coarse net of the same name
        config.start_from.STA = f'{begins.removesuffix("SA")}STA'
    else:
        config.start_from.STA = {part: of for part, of in begins.items() if part != 'classifier'}
    for field in ('epochs', 'optimizer', 'learning_rate', 'new_multiplier'):
        config[field] = {**config[field], 'STA': config[field].ST}
    return config


def get_config(variant='STA'):
    return begin_from(vary(scam_coarse.get_config(), variant), 'runs/coarse')
