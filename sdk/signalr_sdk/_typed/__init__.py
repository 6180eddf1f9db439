"""Types instead of dicts: declarations of hubs, and values of the types that users ask for."""
