"""Opens a transport for a URL, without knowing the hub protocol."""
