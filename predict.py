"""Fixation maps of any videos: `python predict.py my.mp4 --checkpoint=runs/sta_plus --out=predictions`.

`stanet predict` in a checkout; stanet_jax/commands/predict.py has the flags.
"""
import sys

from stanet_jax import cli

if __name__ == '__main__':
    cli.main(['predict', *sys.argv[1:]])
