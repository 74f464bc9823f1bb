"""Reasoning: `none`, m steps of it, n other fragments, and a GRU, an RNN or a Transformer in the place of C-GCN (TPAMI Table 5).

    stanet distill --config=ablations/reasoning:m2 --workdir=runs/ablations/reasoning/m2
        SynthAVE, after what configs/sta_plus.py asks for: STA+ short and long. Not run at this size yet.

The paper's Transformers A to D stand in a figure that its text does not describe; see `models/blenders.py` on how they are read here.
`transformer` is B, with three blocks; `transformer_2`, `_4` and `_5` have as many. How many heads C and D have is not told.
"""
from stanet_jax.configs import choose, sta_plus

STAGE = 'sta_plus'
VARIANTS = {'none': {'blender': {'name': 'concatenate'}}, **{f'm{steps}': {'blender.steps': steps} for steps in (2, 3, 4, 5)},
            **{f'n{count}': {'fragments': count} for count in (1, 2, 3, 4)}, 'gru': {'blender': {'name': 'gru'}},
            'rnn': {'blender': {'name': 'rnn'}}, 'transformer': {'blender': {'name': 'transformer', 'blocks': 3, 'heads': 1}},
            **{f'transformer_{version}': {'blender': {'name': 'transformer', 'blocks': 3, **fields}} for version, fields in (
                ('A', {'heads': 1, 'sees': 'others'}), ('C', {'heads': 4, 'sees': 'others'}), ('D', {'heads': 4}))},
            **{f'transformer_{blocks}': {'blender': {'name': 'transformer', 'blocks': blocks, 'heads': 1}} for blocks in (2, 4, 5)}}


def vary(config, variant):
    """A config of the students -> that of an STA+ short and long that reason otherwise."""
    config.update_from_flattened_dict({'nets': ('STA_short', 'STA_long'), **choose(VARIANTS, variant)})
    return config


def get_config(variant=''):
    return vary(sta_plus.get_config(), variant)
