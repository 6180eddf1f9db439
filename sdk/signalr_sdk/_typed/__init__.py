"""Types instead of dicts: declarations of hub methods and handlers, and results as the types that users ask for."""
