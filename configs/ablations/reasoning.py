"""Reasoning: `none`, m steps of it, n other fragments, and a GRU or a Transformer in the place of C-GCN (TPAMI Table 5).

    stanet distill --config=ablations/reasoning:m2 --workdir=runs/ablations/reasoning/m2
        SynthAVE, after what configs/sta_plus.py asks for: STA+ short and long. Not run at this size yet.
"""
from stanet_jax.configs import choose, sta_plus

STAGE = 'sta_plus'
VARIANTS = {'none': {'blender': {'name': 'concatenate'}}, **{f'm{steps}': {'blender.steps': steps} for steps in (2, 3, 4, 5)},
            **{f'n{count}': {'fragments': count} for count in (1, 2, 3, 4)}, 'gru': {'blender': {'name': 'gru'}},
            'transformer': {'blender': {'name': 'transformer', 'blocks': 3, 'heads': 1}}}


def vary(config, variant):
    """A config of the students -> that of an STA+ short and long that reason otherwise."""
    config.update_from_flattened_dict({'nets': ('STA_short', 'STA_long'), **choose(VARIANTS, variant)})
    return config


def get_config(variant=''):
    return vary(sta_plus.get_config(), variant)
