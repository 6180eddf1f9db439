"""From the URL and options of a user to an open transport, below the hub protocol; and the raw `Connection`."""
