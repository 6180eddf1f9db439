"""Sending from the client to the hub: calls, uploads, and the buffer of messages that wait to be sent."""
