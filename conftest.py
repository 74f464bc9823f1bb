"""Lets tests import `configs` and `benchmarks` from the root, compile quickly rather than well, and once, and checks signatures."""
import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true ' + os.environ.get('XLA_FLAGS', '')

from absl import flags  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

from stanet_jax import compilation  # noqa: E402

compilation.prepare()  # in the user's cache, as commands do: workers and the scripts that they start share it, and the next run, too
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'

import tests.signatures  # noqa: E402, F401 - the hook takes it by its name

flags.FLAGS.mark_as_parsed()  # grain's workers ask for that
install_import_hook('stanet_jax', 'tests.signatures.check')  # what signatures say of types and shapes is checked at every call


def pytest_collection_modifyitems(items):
    """The longest files first, so that the workers end together."""
    longest = ('test_pipeline.py', 'test_scripts.py', 'test_package.py', 'test_benchmarks.py', 'test_readme.py')
    items.sort(key=lambda item: longest.index(item.path.name) if item.path.name in longest else len(longest))
