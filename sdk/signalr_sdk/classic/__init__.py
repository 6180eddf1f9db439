"""A client for servers of classic ASP.NET SignalR 2.x (.NET Framework), another protocol than ASP.NET Core SignalR."""

from __future__ import annotations

from ..errors import ClassicHubError, CoreServerError
from .discovery import discover
from .hub_connection import HubConnection
from .hub_proxy import HubProxy
from .persistent_connection import PersistentConnection

__all__ = [
    "ClassicHubError",
    "CoreServerError",
    "HubConnection",
    "HubProxy",
    "PersistentConnection",
    "discover",
]
