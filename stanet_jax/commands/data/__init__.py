"""The commands of `stanet data`, a module each."""
