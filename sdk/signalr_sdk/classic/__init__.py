"""A client for servers of classic ASP.NET SignalR 2.x (.NET Framework), another protocol than ASP.NET Core SignalR."""
