"""The data sets: made, prepared and read."""
