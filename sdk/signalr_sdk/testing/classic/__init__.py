"""The test server for classic ASP.NET SignalR: `ClassicHubServer` and what hubs need on it."""
