"""The commands of `stanet`, a module each: its flags, and `main`, which imports what it needs."""
