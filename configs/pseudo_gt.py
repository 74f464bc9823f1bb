"""Pseudo-fixations: coarse SCAM, boxes, fine nets on the crops, fine SCAM; the nets of SCAM+, SCAM+.

    python distill.py --config=configs/pseudo_gt.py --workdir=runs/pseudo_gt
        SynthAVE, after configs/scam_coarse.py and configs/audio_switch.py: 5 minutes on two CPU cores for SCAM coarse and fine, 14 more for
        SCAM+. Expect a CC of 0.54 coarse, 0.62 fine and 0.61 with SCAM+ on the test part.

    python distill.py --config=configs/pseudo_gt.py:paper --config.data.root=AVE_Dataset --workdir=runs/paper_pseudo_gt
"""
from ml_collections import ConfigDict

from configs import scam_coarse, scam_fine, scam_plus


def get_config(recipe='synthave'):
    config = ConfigDict({
        'task': 'pseudo_gt',
        'recipe': recipe,
        'data': scam_coarse.get_config(recipe).data,
        'splits': ('train', 'validation', 'test'),
        'coarse': 'runs/coarse' if recipe == 'synthave' else 'runs/paper',  # the run of the coarse nets
        'switch': 'runs/switch',  # the run of the audio switch; '' to hear whatever sound there is
        'stages': ('coarse', 'fine', 'plus'),  # SCAM coarse, SCAM fine, SCAM+; STANet needs the first two
        'sources': ('S', 'SA', 'ST'),
        'plus_sources': scam_plus.get_config(recipe).nets,
        'fusion': 'selective',  # Eq. 2; or 'average', Eq. 22
        'reach': 2,  # a map is the mean over so many frames to either side
        'stretch': 16,  # frames that a device takes at once
        'fine': scam_fine.get_config(recipe),
        'plus': scam_plus.get_config(recipe),
    })
    if recipe == 'paper':
        config.switch = 'runs/paper_switch'
    return config
