"""A network in memory on a clock that leaps, for `SimulatedNetwork`."""
