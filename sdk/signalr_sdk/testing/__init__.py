"""A hub server in Python, to test clients against and to show them with. Not for production."""

from __future__ import annotations

from .hubs import ClientProxy, Hub, HubClients, HubContext, HubException, HubGroups, IOException, SingleClientProxy
from .server import HubServer

__all__ = [
    "ClientProxy",
    "Hub",
    "HubClients",
    "HubContext",
    "HubException",
    "HubGroups",
    "HubServer",
    "IOException",
    "SingleClientProxy",
]
