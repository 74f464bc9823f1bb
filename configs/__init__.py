"""One file for each training or stage: `--config=scam_coarse` is the default of one, `--config=scam_coarse:paper` the papers' recipe."""


def choose(choices, name):
    """What the name after the colon picks of {name: choice}; ValueError where it is none."""
    if name not in choices:
        raise ValueError(f'--config=...:{name}: no such recipe; choose one of {", ".join(choices)}')
    return choices[name]


def run_of(recipe, stage):
    """The folder of a stage's run by itself: runs/coarse, runs/switch, ... of the default; runs/paper_coarse, ... of another recipe."""
    return f'runs/{stage}' if recipe == 'synthave' else f'runs/{recipe}_{stage}'
