"""From the hub to the client: handlers, iterators, and the queues that they are fed from."""
