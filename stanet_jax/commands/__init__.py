"""The commands of `stanet`: each is a module with its flags and `main`, which imports what it needs when it runs."""
