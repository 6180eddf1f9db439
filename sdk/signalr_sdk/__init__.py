"""SignalR client for Python."""
