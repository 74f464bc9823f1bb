"""Our folder in the user's cache: fetched weights and compiled programs."""
import os
import pathlib


def cache_folder() -> pathlib.Path:
    """The folder: $STANET_CACHE, or stanet_jax in the user's cache."""
    return pathlib.Path(os.environ.get('STANET_CACHE') or user_cache() / 'stanet_jax')


def user_cache() -> pathlib.Path:
    """The folder of all that may be deleted and made again: $XDG_CACHE_HOME, or ~/.cache."""
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
