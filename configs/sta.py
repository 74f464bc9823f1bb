"""The student STA, taught by pseudo-fixations; it sees no tags.

    stanet distill --config=sta --workdir=runs/sta
        SynthAVE, after configs/pseudo_gt.py: less than 3 minutes on two CPU cores. Expect a CC of 0.60 to 0.63 on the test part
        (docs/results.md).

    stanet distill --config=sta:paper --config.data.root=AVE_Dataset --workdir=runs/paper_sta
        As TPAMI has it; `:cvpr` as CVPR, `:release` as the authors' code.
"""
from stanet_jax.configs import run_of, scam_coarse


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(recipe)
    config.task = 'student'
    config.nets = ('STA',)
    config.predict_side = 0  # side of the frames that it predicts on; 0 for that of its training
    coarse = run_of(recipe, 'coarse')
    config.maps = f'{run_of(recipe, "pseudo_gt")}/fine'  # what it learns: a stage of configs/pseudo_gt.py
    config.switch = f'{coarse}/switch'  # the audio switch, whose net it hears by
    config.hears_by = 'net'  # while it learns, too; or by the labels, 'label'
    config.every = 1  # it learns from each n-th clip of a tag alone
    config.loss = 'bce_kl'  # Eq. 17; or 'bce' (CVPR)
    config.blur = 0.0  # sigma of a Gaussian over its maps, as a share of their side
    config.fusion = 'final'  # of three students: Eq. 21; or 'max', or 'product' (Eq. 23)
    config.open_only = False
    config.start_from = {'STA': {'encoder': f'{coarse}/ST', 'time_map': f'{coarse}/ST', 'audio_encoder': f'{coarse}/SA',
                                 'audio_map': f'{coarse}/SA'}}
    config.epochs = {'STA': 0.75}
    config.optimizer = {'STA': 'adam'}
    config.learning_rate = {'STA': 1e-3}
    config.new_multiplier = {'STA': 2.0}
    if recipe == 'synthave':
        config.batch = 16
    if recipe == 'real':
        config.epochs = {'STA': 10.0}
        config.predict_side = 384  # larger frames tell more and take longer (docs/real.md)
        config.new_multiplier = {'STA': 1.0}
    if recipe in ('paper', 'cvpr', 'release'):
        config.data.side, config.batch = 356, 3
        config.epochs = {'STA': 15.0}
        config.optimizer = {'STA': 'sgd'}
        config.learning_rate = {'STA': 5e-5}
        config.new_multiplier = {'STA': 10.0}
        config.weight_decay = 1e-4
    if recipe == 'cvpr':
        config.loss, config.learning_rate = 'bce', {'STA': 1e-3}
    if recipe == 'release':
        config.data.centre_crop = 1.0
        config.learning_rate = {'STA': 1e-3}
        config.decay_epochs = {}
        config.blur, config.fusion = 7 / 356, 'max'
    return config
