"""One file for each training or stage: `--config=scam_coarse` is the default of one, `--config=scam_coarse:paper` the papers' recipe."""


def choose(choices, name):
    """What the name after the colon picks of {name: choice}; ValueError where it is none."""
    if name not in choices:
        raise ValueError(f'--config=...:{name}: no such recipe; choose one of {", ".join(choices)}')
    return choices[name]
