"""Users' code that does every wrong thing at every moment, by a seed. See `__main__`."""
