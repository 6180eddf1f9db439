"""The life of a connection, whatever protocol it speaks: starting, reconnecting, stopping."""
