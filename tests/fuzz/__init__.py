"""Fuzzing of every parser of bytes and texts from outside. `python -m tests.fuzz` runs it: see README.md."""
