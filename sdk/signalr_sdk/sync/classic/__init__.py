"""The client for servers of classic ASP.NET SignalR 2.x, for programs without asyncio: the same minus `await`."""

from __future__ import annotations

from .discovery import discover
from .hub_connection import HubConnection
from .hub_proxy import HubProxy
from .persistent_connection import PersistentConnection

__all__ = ["HubConnection", "HubProxy", "PersistentConnection", "discover"]
