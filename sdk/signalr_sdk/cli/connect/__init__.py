"""`signalr connect`: lines of a user or of a program become calls of a hub, and events are shown between them."""
