"""`python -m stanet_jax.pipeline --config=configs/stanet.py` is `stanet run`."""
import sys

from stanet_jax import cli

if __name__ == '__main__':
    cli.main(['run', *sys.argv[1:]])
