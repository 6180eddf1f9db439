"""Azure SignalR Service: send to clients of a hub and let clients in, without an app server.

A program that only connects to a hub behind the service does not need this package: `HubConnection`
follows the redirect. Everything in this package but upstream needs the extra `azure`.
"""

from __future__ import annotations

from ..errors import AzureSignalRError
from .connection_string import ConnectionString
from .paging import GroupConnection
from .service import API_VERSION, AzureSignalR
from .token_sources import Credential
from .tokens import Claims
from .upstream import UpstreamEvent, UpstreamKind, completion, verify_signature

__all__ = [
    "API_VERSION",
    "AzureSignalR",
    "AzureSignalRError",
    "Claims",
    "ConnectionString",
    "Credential",
    "GroupConnection",
    "UpstreamEvent",
    "UpstreamKind",
    "completion",
    "verify_signature",
]
