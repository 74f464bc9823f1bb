"""`python -m stanet_jax` is `stanet`."""
from stanet_jax import cli

if __name__ == '__main__':
    cli.main()
