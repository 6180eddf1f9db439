"""Guards around users' code and around the package's own tasks, so that an error in them breaks no connection."""
