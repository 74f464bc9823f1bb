"""Lets tests import `configs` and `benchmarks` from the repository's root; flags count as parsed, which grain's workers need."""
from absl import flags

flags.FLAGS.mark_as_parsed()
