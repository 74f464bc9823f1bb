"""The students of STANet+: STA as it is, STA+ short and STA+ long, taught by SCAM+ (TPAMI Sec. 5); `stanet predict` fuses their maps.

    stanet distill --config=sta_plus --workdir=runs/sta_plus
        SynthAVE, after configs/sta.py, whose student they begin from, and the stage 'plus' of configs/pseudo_gt.py: 6 minutes on two
        CPU cores. Expect a CC of 0.63 to 0.71 of the three together on the test part (docs/results.md).

    stanet distill --config=sta_plus:paper --config.data.root=AVE_Dataset --workdir=runs/paper_sta_plus
        STA+ alone, on VGG-16 where STA has ResNeXt: `stanet predict --checkpoint=runs/paper_sta
        --checkpoint=runs/paper_sta_plus` joins them.
"""
from stanet_jax.configs import run_of, scam_plus, sta

PAPERS = ('paper', 'release')
BRANCH = ('encoder', 'audio_encoder', 'audio_map', 'time_map', 'fuse')  # the parts of STA that STA+ has, too


def get_config(recipe='synthave'):
    config, plus = sta.get_config(recipe), scam_plus.get_config(recipe)
    config.nets = ('STA', 'STA_short', 'STA_long') if recipe not in PAPERS else ('STA_short', 'STA_long')
    config.fragments, config.blender = plus.fragments, plus.blender
    sta_run = f'{run_of(recipe, "sta")}/STA'
    config.maps = f'{run_of(recipe, "pseudo_gt")}/plus'
    for field in ('epochs', 'optimizer', 'learning_rate', 'new_multiplier'):
        config[field] = {net: config[field].STA for net in config.nets}
    if recipe not in PAPERS:
        config.start_from = {'STA': sta_run, **{net: {part: sta_run for part in BRANCH} for net in config.nets[1:]}}
        config.batch, config.log_every = 16, 5
        config.epochs = {net: 0.3 if recipe == 'synthave' else 4.0 for net in config.nets}
        config.epochs.STA = 0.0  # taken as it is, so that the three are in one folder
    else:
        config.encoder, config.data.side = plus.encoder, plus.data.side  # nodes of 32x32 (Eq. 18)
        config.start_from = {net: {'audio_encoder': sta_run} for net in config.nets}
    return config
