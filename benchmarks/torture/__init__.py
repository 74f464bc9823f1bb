"""Campaigns that torture the product by a seed: kills, damaged media and other files, full disks, long work, two processes at once."""
import os

# Programs are compiled quickly rather than well; set before JAX is imported, and inherited by the commands.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true ' + os.environ.get('XLA_FLAGS', '')
