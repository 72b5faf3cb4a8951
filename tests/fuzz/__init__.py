"""Drives every public name with objects that strike back, by seeds: `python -m fuzz --help`."""
