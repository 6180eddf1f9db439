"""The protocol without I/O: no sockets, tasks, threads or clocks; time comes in as an argument."""
