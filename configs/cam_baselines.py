"""The class activation maps of S by twelve methods, and the plain sum of its features (TPAMI Table 7).

    stanet distill --config=cam_baselines --workdir=runs/cam_baselines
        SynthAVE, after configs/scam_coarse.py: 6 minutes of CPU for the 1,024 frames of `make demo`'s test part, most of them for IS-CAM
        and SS-CAM. With the tag, expect a CC of 0.61 of CAM, 0.64 to 0.68 of the other ten that know it, 0.52 of the feature sum and 0.50
        of Eigen-CAM.

    stanet evaluate --maps=runs/cam_baselines/grad_cam/test --data=data/synthave --out=runs/grad_cam.json
        The score of one of them.
"""
from ml_collections import ConfigDict

from stanet_jax.configs import run_of, scam_coarse


def get_config(recipe='synthave'):
    data = scam_coarse.get_config(recipe).data
    return ConfigDict({
        'task': 'cam_baselines',
        'recipe': recipe,
        'data': {field: value for field, value in data.items() if field not in ('side', 'frames_per_clip', 'least_crop')},
        'splits': ('test',),
        'classifier': f'{run_of(recipe, "coarse")}/S',  # the trained S
        'methods': (),  # names of functions of stanet_jax/baselines/cam.py; () for all
        'samples': {'smooth_grad_cam_pp': 4, 'ss_cam': 2},  # noisy images, and masks: SS-CAM's paper has 35, which take a second a frame
        'batch': 4,  # frames of a device at a time
    })
