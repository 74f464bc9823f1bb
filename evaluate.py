"""Scores maps, students and masks, measures classifiers: `python evaluate.py --checkpoint=RUN --data=DIR --out=FILE.json`.

`stanet evaluate` in a checkout; stanet_jax/commands/evaluate.py has the flags.
"""
import sys

from stanet_jax import cli

if __name__ == '__main__':
    cli.main(['evaluate', *sys.argv[1:]])
