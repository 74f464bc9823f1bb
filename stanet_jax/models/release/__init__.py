"""The nets of the authors' releases, as their checkpoints need them: nets of their own beside the papers' in `models`.

Each takes a dict of its `inputs`, channels last, and gives a dict of arrays; `sides` are the least and the greatest side of frames that it
takes. `weights.release` loads their files.
"""
from collections.abc import Callable

import flax.linen as nn

from stanet_jax.models.release import classifiers, others, plus, students

NETS: dict[tuple[str, str], Callable[..., nn.Module]] = {  # by name and version; fields are those of each
    ('sta', 'bytecode'): students.STABytecode, ('sta', 'source'): students.STASource,
    ('stagcn', 'bytecode'): students.STAGCN, ('stagcn', 'source'): students.STAGCN,
    ('switch', 'v2'): others.Switch,
    ('s', 'v2'): classifiers.S, ('sa', 'bytecode'): classifiers.SA,
    ('st', 'bytecode'): classifiers.ST, ('st', 'source'): classifiers.ST,
    ('s_plus', 'v2'): plus.SPlus, ('st_plus', 'v2'): plus.STPlus,
    ('sa_plus', 'bytecode'): plus.SAPlus, ('sa_plus', 'source'): plus.SAPlus,
    ('cvpr_sta', 'modelsAVQ'): others.CVPRSTA, ('cvpr_sta', 'STA_model'): others.CVPRSTA, ('cvpr_switch', 'v1'): others.CVPRSwitch,
    ('eps', 'release'): others.EPSNet, ('eps_cls', 'release'): others.EPSNet}
