"""`signalr doctor`: checks each step of the way to a hub, and advises what to do about what fails."""
