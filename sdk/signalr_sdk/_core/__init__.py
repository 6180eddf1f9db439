"""The rules of SignalR, without sockets, tasks, threads and clocks: the time comes in as an argument."""
