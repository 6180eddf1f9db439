"""The console command `signalr`: one module for each of its commands, such as `signalr invoke`."""
