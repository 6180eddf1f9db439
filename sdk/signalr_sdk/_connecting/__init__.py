"""From a URL to an open transport, below any hub protocol."""
