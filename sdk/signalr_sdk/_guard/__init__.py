"""How the package calls users' code and starts its own tasks: an exception in users' code breaks no connection."""
