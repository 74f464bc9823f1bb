"""Makes pseudo-fixations and trains students on them: `python distill.py --config=configs/pseudo_gt.py --workdir=runs/pseudo_gt`.

`stanet distill` in a checkout; stanet_jax/commands/distill.py has the flags.
"""
import sys

from stanet_jax import cli

if __name__ == '__main__':
    cli.main(['distill', *sys.argv[1:]])
