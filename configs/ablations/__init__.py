"""What the tables of TPAMI Sec. 6 vary, a file for each; `python -m benchmarks.ablations` trains and scores them all.

Every file names the `STAGE` of the pipeline that its variants are of, the `VARIANTS` {name: fields that differ}, and how to `vary` a
config of that stage; its `get_config` takes a variant's name after the colon.
"""



def begin_from(config, run):
    """The config, with its nets beginning from those of another run wherever they began from those of their own."""
    config.start_from = {net: {part: f'{run}/{of}' for part, of in config.start_from[net].items()} for net in config.nets}
    return config
