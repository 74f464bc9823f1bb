"""The data sets: made, prepared and read."""
import os


def load(data, part=(0, 1), wait=lambda name: None):
    """The prepared builder of a config's `data` (`name`, `root`, `prepared`, `side`, `rate`); SynthAVE is made if it is not there.

    `part` and `wait` are of the processes of a run, see `ave.prepare`.
    """
    from stanet_jax.data import ave, synthave
    if data.name == 'synthave' and part[0] == 0 and not os.path.exists(data.root):
        synthave.generate(data.root)
    wait('data made')
    return ave.prepare(data.root, data.side, data.rate, data.prepared, part=part, wait=wait)
