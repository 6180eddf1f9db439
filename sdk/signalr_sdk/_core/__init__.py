"""The rules of the SignalR protocol, without sockets, tasks, threads and clocks: the current time is an argument."""
