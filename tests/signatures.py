"""How tests check the signatures of the package: by beartype, to which an int is a float, too, as to mypy."""
import contextlib

import jaxtyping
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))


@contextlib.contextmanager
def unchecked():
    """Calls are not checked inside, so that a test reaches a function's own message for arrays of a wrong shape or type."""
    jaxtyping.config.update('jaxtyping_disable', True)
    try:
        yield
    finally:
        jaxtyping.config.update('jaxtyping_disable', False)
