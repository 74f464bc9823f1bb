"""Pseudo-fixations: coarse SCAM, boxes, fine nets on the crops, fine SCAM; the nets of SCAM+, SCAM+.

    stanet distill --config=pseudo_gt --workdir=runs/pseudo_gt
        All of it, on SynthAVE, after configs/scam_coarse.py: less than 20 minutes on two CPU cores, most of them for SCAM+. Expect a
        CC of 0.53 coarse, 0.62 fine and 0.62 with SCAM+ on the test part, empty maps left out (docs/results.md).

    stanet distill --config=pseudo_gt:coarse --workdir=runs/pseudo_gt/coarse
        The maps of one stage: `coarse`, `fine` or `plus`. The nets between them are configs/scam_fine.py's and configs/scam_plus.py's.

    stanet distill --config=pseudo_gt:paper --config.data.root=AVE_Dataset --workdir=runs/paper_pseudo_gt
        As TPAMI has it; `:coarse:paper` is one stage of it. `:cvpr` and `:release` are the others' recipes.
"""
from ml_collections import ConfigDict

from stanet_jax.configs import run_of, scam_coarse, scam_fine, scam_plus

STAGES = ('coarse', 'fine', 'plus')


def get_config(name=''):
    stage, _, recipe = name.partition(':') if name.startswith(STAGES) else ('', '', name)
    recipe = recipe or 'synthave'
    if stage:
        return maps(stage, recipe)
    stages = STAGES if recipe != 'cvpr' else STAGES[:2]  # STANet of 2021 has no SCAM+
    data = scam_coarse.get_config(recipe).data
    del data.side, data.centre_crop  # which each has for itself
    return ConfigDict({
        'task': 'pseudo_gt',
        'recipe': recipe,
        'data': data,  # of all stages
        'stages': stages,  # SCAM coarse, SCAM fine, SCAM+; STANet needs the first two
        'coarse_nets': run_of(recipe, 'coarse'),  # the run of the coarse nets
        'switch': f'{run_of(recipe, "coarse")}/switch',  # the run of the audio switch
        **{of: maps(of, recipe) for of in stages},
        'fine_nets': scam_fine.get_config(recipe),
        **({'plus_nets': scam_plus.get_config(recipe)} if 'plus' in stages else {}),
    })


def maps(stage, recipe):
    """The config of one stage's maps."""
    made, data = run_of(recipe, 'pseudo_gt'), scam_coarse.get_config(recipe).data
    return ConfigDict({
        'task': 'maps',
        'recipe': recipe,
        'data': {field: value for field, value in data.items()
                 if field not in ('side', 'frames_per_clip', 'centre_crop', 'least_crop', 'mirror')},
        'splits': ('train', 'validation', 'test'),
        'every': 1,  # of the clips for training and validation, maps of each n-th of a tag alone
        'nets': run_of(recipe, 'coarse') if stage == 'coarse' else f'{made}/fine_nets',  # the run of S, SA and ST
        'plus_nets': f'{made}/plus_nets' if stage == 'plus' else '',  # the run of S+, SA+ and ST+; '' to leave them out
        'boxes': '' if stage == 'coarse' else f'{made}/coarse',  # maps to whose boxes frames are cropped for S, SA and ST
        'switch': f'{run_of(recipe, "coarse")}/switch',  # the run of the audio switch; '' to hear whatever sound there is
        'sources': ('S', 'SA', 'ST'),
        'plus_sources': scam_plus.get_config(recipe).nets if stage == 'plus' else (),
        'fusion': 'selective',  # Eq. 2; or 'average', Eq. 22
        'centred': recipe == 'real',  # class activation maps without the mean over the classes; not the papers'
        'contrast': recipe == 'real',  # maps weigh the contrast of frozen features (stanet_jax/contrast.py); not the papers'
        'cut': 3.0 if recipe in ('synthave', 'release') and stage != 'coarse' else 0.0,  # below so many times its mean a map is 0
        'reach': 1 if recipe == 'real' else 2,  # a map is the mean over so many frames to either side
        'stretch': 16,  # frames that a device takes at once
    })
