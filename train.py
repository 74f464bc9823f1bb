"""Trains the nets that a config names: `python train.py --config=configs/scam_coarse.py --workdir=runs/coarse`.

`stanet train` in a checkout; stanet_jax/commands/train.py has the flags.
"""
import sys

from stanet_jax import cli

if __name__ == '__main__':
    cli.main(['train', *sys.argv[1:]])
