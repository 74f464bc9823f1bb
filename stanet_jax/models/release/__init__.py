"""The nets of the authors' releases, as their checkpoints need them: nets of their own beside the papers' in `models`.

Each takes a dict of its `inputs`, channels last, and gives a dict of arrays; `sides` are the least and the greatest side of frames that it
takes. `weights.release` loads their files.
"""
