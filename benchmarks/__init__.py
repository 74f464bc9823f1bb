"""Experiments and measurements of speed; each module is run as `python -m benchmarks.<name>`."""
