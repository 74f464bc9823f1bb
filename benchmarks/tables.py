"""Every table of the papers: `python -m benchmarks.tables --paper=tpami --table=7` is `stanet tables`, which has its help."""
import sys

from stanet_jax import cli

if __name__ == '__main__':
    cli.main(['tables', *sys.argv[1:]])
