"""The maps of the students of STANet+, and two fusions of all three: `product` (Eq. 23), `final` (Eq. 21) (TPAMI Table 6).

    stanet distill --config=ablations/fusions:STA_long --workdir=runs/ablations/fusions/STA_long
        What configs/sta_plus.py does, for the students alone that a row of the table needs; `stanet evaluate --checkpoint` scores them.
"""
from stanet_jax.configs import choose, sta_plus

STAGE = 'sta_plus'
NETS = sta_plus.get_config().nets
VARIANTS = {**{net: {'nets': (net,)} for net in NETS}, **{fusion: {'nets': NETS} for fusion in ('product', 'final')}}


def vary(config, variant):
    """A config of the students -> that of those whose maps the variant needs."""
    config.update_from_flattened_dict(choose(VARIANTS, variant))
    return config


def get_config(variant='final'):
    return vary(sta_plus.get_config(), variant)
