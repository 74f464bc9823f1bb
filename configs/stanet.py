"""STANet and STANet+ from tags to students (CVPR 2021, TPAMI), every stage after the other.

    stanet run --config=stanet --workdir=runs
        SynthAVE, on two CPU cores; `make experiment` does it for three seeds (docs/results.md has the scores).

    stanet run --config=stanet:demo --workdir=runs/demo
        A smaller SynthAVE and shorter trainings: `make demo`.

    stanet run --config=stanet:real --config.data.root=DIR --workdir=runs/real
        One's own videos in folders named by their tags, DIR/<tag>/<video>, on frozen pretrained encoders.

    stanet run --config=stanet:paper --config.data.root=AVE_Dataset --workdir=runs/paper
        AVE as TPAMI has it; `:cvpr` is STANet as in 2021, `:release` the authors' code. Not run yet.

    stanet run --config=stanet:vggsound --config.data.root=VGGSound --workdir=runs/vggsound
        `:paper` on VGGSound in the place of AVE, the last row of STANet+ in TPAMI Table 7. Not run yet.

    stanet run --config=stanet:own_videos --workdir=runs/own_videos
        `:paper` on videos of the fixation sets with tags, as TPAMI Table 9: `stanet data tagged` makes them. Not run yet; the paper's
        168 clips and their tags are not published.
"""
from ml_collections import ConfigDict

from stanet_jax.configs import audio_switch, choose, pseudo_gt, scam_coarse, sta, sta_plus

STAGES = {'coarse': scam_coarse, 'switch': audio_switch, 'pseudo_gt': pseudo_gt, 'sta': sta, 'sta_plus': sta_plus}


def get_config(recipe='synthave'):
    of = choose({**{name: name for name in ('synthave', 'real', 'paper', 'cvpr', 'release')}, 'demo': 'synthave', 'vggsound': 'paper',
                 'own_videos': 'paper'}, recipe)
    config = ConfigDict({stage: module.get_config(of) for stage, module in STAGES.items() if of != 'cvpr' or stage != 'sta_plus'})
    config.task, config.recipe, config.seed = 'pipeline', recipe, 0
    config.data = config.coarse.data.copy_and_resolve_references()  # of all stages, but for what each has for itself
    del config.data.side, config.data.centre_crop
    config.world = {'train': 960, 'validation': 96, 'test': 192, 'seed': 0}  # SynthAVE, where it is not there yet
    config.variants = ()  # lines of TPAMI Table 1 to make and score beside the rest, see stanet_jax/pipeline/variants.py
    config.judge = sta.get_config(of)  # the student that is trained on each of these lines' maps
    if of == 'synthave':
        config.judge.every, config.judge.epochs = 4, {'STA': 1.0}  # maps that it alone learns from are not made of other clips
    if recipe == 'vggsound':
        config.data.update({'name': 'vggsound', 'root': 'VGGSound', 'train_on': 'train'})
    if recipe == 'own_videos':
        config.data.update({'name': 'folders', 'root': 'data/own_videos'})
    if recipe == 'demo':
        config.data.root = 'data/demo'
        config.variants = ('coarse_S',)
        config.world.update({'train': 480, 'validation': 24, 'test': 64})
        config.coarse.epochs = config.switch.epochs = {'A': 0.8, 'S': 5.0, 'switch': 1.3, 'SA': 3.5, 'ST': 4.3}
        config.pseudo_gt.fine_nets.epochs = {net: 0.42 for net in config.pseudo_gt.fine_nets.nets}
        config.sta.epochs = {'STA': 0.85}
    return config
