"""Lists pretrained encoders: what each is for, its licence, whether its weights are here, and how to get them; and fetches them.

    stanet weights
    stanet weights fetch yamnet vgg16

Configs take what is here by `--config.encoder.weights=pip` or `--config.encoder.weights=fetched`, and any folder of `stanet convert`.
"""
from absl import flags

from stanet_jax import InputError

URL = flags.DEFINE_string('url', '', 'A mirror of the file, in place of its publisher; with one name to fetch.')
REQUIRED, WORDS = (), 'names'


def main(words: list[str]) -> None:
    """Lists the weights, or fetches those that the words name."""
    from stanet_jax.weights import sources
    if not words:
        rows = [('weights', 'of', 'licence', 'here', 'to get them')]
        for name, source in sources.SOURCES.items():
            place = sources.place(name)
            rows.append((name, source.use, source.licence, place or 'no', '' if place else sources.remedy(name)))
        widths = [max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]))]
        print('\n'.join(''.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows))
        return
    verb, *names = words
    if verb != 'fetch' or not names or URL.value and len(names) > 1:
        raise InputError(f'{" ".join(words)}: give nothing, or fetch NAME [NAME ...]; with --url one NAME')
    for name in names:
        print(f'{name}: {sources.fetch(name, URL.value)}')
