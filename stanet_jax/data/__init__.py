"""The data sets: made, prepared and read."""
import os


def load(data):
    """The prepared builder of a config's `data` (`name`, `root`, `prepared`, `side`, `rate`); SynthAVE is made if it is not there."""
    from stanet_jax.data import ave, synthave
    if data.name == 'synthave' and not os.path.exists(data.root):
        synthave.generate(data.root)
    return ave.prepare(data.root, data.side, data.rate, data.prepared)
