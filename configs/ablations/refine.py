"""The fixation refine layer: `none`, and others of its thresholds, by the name `<Td>_<Tr>` (TPAMI Table 4).

    stanet distill --config=ablations/refine:0.8_0.4 --workdir=runs/ablations/refine/0.8_0.4
        SynthAVE, after what configs/sta_plus.py asks for: STA+ short and long, 5.5 minutes on two CPU cores. docs/ablations.md has scores.
"""
from stanet_jax.configs import choose, sta_plus

STAGE = 'sta_plus'
THRESHOLDS = ((0.8, 0.4), (0.8, 0.8), (0.9, 0.6), (0.7, 0.6), (0.8, 0.6))
VARIANTS = {'none': {'blender.refine': False}, **{f'{threshold}_{rate}': {'blender.threshold': threshold, 'blender.rate': rate}
                                                  for threshold, rate in THRESHOLDS}}


def vary(config, variant):
    """A config of the students -> that of an STA+ short and long of another refinement."""
    config.update_from_flattened_dict({'nets': ('STA_short', 'STA_long'), **choose(VARIANTS, variant)})
    return config


def get_config(variant=''):
    return vary(sta_plus.get_config(), variant)
