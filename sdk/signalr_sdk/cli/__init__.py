"""The command `signalr`: one module per command."""
