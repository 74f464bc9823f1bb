"""The audio switch: taggers by ear, cross-fitted; their labels; the net that answers for untagged videos.

    stanet train --config=audio_switch --workdir=runs/switch
        SynthAVE, after configs/scam_coarse.py: 1.5 minutes on two CPU cores. Expect the net right on 0.95 or more of the test frames.

    stanet train --config=audio_switch:paper --config.data.root=AVE_Dataset --workdir=runs/paper_switch
"""
from stanet_jax.configs import run_of, scam_coarse


def get_config(recipe='synthave'):
    config = scam_coarse.get_config(recipe)
    config.task = 'switch'
    config.nets = ('A', 'switch')  # A, once for each fold, is the tagger
    sa = f'{run_of(recipe, "coarse")}/SA'
    config.start_from = {'switch': {'encoder': sa, 'audio_encoder': sa, 'audio_map': sa}}
    for field, tagger, switch in (('epochs', 0.8, 0.8), ('learning_rate', 0.2, 1e-3), ('new_multiplier', 10.0, 3.0),
                                  ('optimizer', 'sgd', 'adam')):
        config[field] = {'A': tagger, 'switch': switch}
    if recipe == 'real':
        config.epochs = {'A': 20.0, 'switch': 10.0}
        config.learning_rate = {'A': 1e-3, 'switch': 1e-3}
        config.new_multiplier = {'A': 1.0, 'switch': 1.0}
        config.optimizer = {'A': 'adam', 'switch': 'adam'}
    if recipe == 'paper':
        config.epochs = {'A': 15.0, 'switch': 15.0}
        config.learning_rate = {'A': 1e-3, 'switch': 1e-3}
        config.new_multiplier = {'A': 10.0, 'switch': 10.0}
        config.optimizer = {'A': 'sgd', 'switch': 'sgd'}
    return config
