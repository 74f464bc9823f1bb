"""The tables of the three papers: their rows and figures, and ours beside them."""

PAPERS = {'cvpr': tuple(range(1, 5)), 'tpami': tuple(range(1, 10)), 'eps': tuple(range(1, 8))}  # the numbers of their tables
