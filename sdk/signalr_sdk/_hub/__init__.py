"""`HubConnection`, and the parts of one live connection to a hub of ASP.NET Core SignalR."""
