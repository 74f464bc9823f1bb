"""The commands of `stanet data`, each a module."""
