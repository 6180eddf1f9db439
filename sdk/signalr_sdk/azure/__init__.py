"""Azure SignalR Service without an app server: send events to the clients of a hub, and let clients connect.

A program that only connects to a hub behind the service does not need this package: `HubConnection` follows the
redirect of the app server to the service. Everything in this package needs the extra `azure`, except the functions and
classes for upstream requests.
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
