"""Starting, reconnecting and stopping a connection, for every kind of hub connection."""
