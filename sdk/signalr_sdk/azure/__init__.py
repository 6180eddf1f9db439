"""Azure SignalR Service for those who send to clients and let them in, without an app server.

Programs that only connect to a hub behind the service need nothing of this: `HubConnection` follows its redirects.
Needs the extra `azure`, but for upstream.
"""

from __future__ import annotations

from ..errors import AzureSignalRError
from .client_tokens import Credential
from .connection_string import ConnectionString
from .paging import GroupConnection
from .service import API_VERSION, AzureSignalR
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
