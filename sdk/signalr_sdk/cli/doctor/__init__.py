"""`signalr doctor`: checks each step of connecting to a hub, and gives advice about each step that fails."""
