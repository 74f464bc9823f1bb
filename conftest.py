"""Lets tests import `configs` and `benchmarks` from the repository's root, and compile quickly rather than well."""
import os

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true ' + os.environ.get('XLA_FLAGS', '')

from absl import flags  # noqa: E402

flags.FLAGS.mark_as_parsed()  # grain's workers ask for that


def pytest_collection_modifyitems(items):
    """The longest files first, so that two workers end together."""
    items.sort(key=lambda item: item.path.name not in ('test_stages.py', 'test_scripts.py'))
