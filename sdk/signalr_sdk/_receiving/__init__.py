"""Receiving from the hub: queues of received messages, and the handlers and iterators that consume the messages."""
