"""A client and a server on a simulated network, with faults, by a seed: see README.md."""
