"""STANet from tags to a student (CVPR), every stage after the other.

    python -m stanet_jax.pipeline --config=configs/stanet.py --workdir=runs/stanet
        SynthAVE; one seed of `make experiment`.

    python -m stanet_jax.pipeline --config=configs/stanet.py:demo --workdir=runs/demo
        A smaller SynthAVE: `make demo`.

    python -m stanet_jax.pipeline --config=configs/stanet.py:paper --config.data.root=AVE_Dataset --workdir=runs/paper
"""
from ml_collections import ConfigDict

from configs import audio_switch, pseudo_gt, scam_coarse, sta


def get_config(recipe='synthave'):
    known = 'synthave' if recipe == 'demo' else recipe
    stages = {'coarse': scam_coarse, 'switch': audio_switch, 'pseudo_gt': pseudo_gt, 'sta': sta}
    config = ConfigDict({stage: module.get_config(known) for stage, module in stages.items()})
    config.task, config.recipe, config.seed = 'pipeline', recipe, 0
    config.data = config.coarse.data.copy_and_resolve_references()
    config.data.side = config.coarse.data.side
    config.world = {'train': 960, 'validation': 96, 'test': 192, 'seed': 0}  # SynthAVE, where it is not there yet
    config.variants = ('S', 'average', 'no_switch')  # of the pseudo-fixations, scored beside them; see stanet_jax/pipeline.py
    if recipe == 'demo':
        config.variants = ('S',)
    return config
