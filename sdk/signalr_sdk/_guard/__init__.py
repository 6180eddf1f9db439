"""What holds users' code and our own tasks: a misbehaving one must not break a connection."""
