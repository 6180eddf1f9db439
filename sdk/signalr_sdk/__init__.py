"""SignalR client for Python: asyncio, every transport, both protocols, ASP.NET Core and Azure SignalR Service."""

from __future__ import annotations

from .errors import (
    AuthenticationRefreshError,
    ClassicServerError,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeError,
    HubError,
    InvocationTimeoutError,
    LocalProtocolError,
    NegotiationError,
    NotConnectedError,
    ProtocolError,
    RemoteProtocolError,
    ResultTypeError,
    ServerTimeoutError,
    SignalRError,
    SlowConsumerError,
    StateError,
    StreamOverflowError,
    TransportError,
)
from .options import ConnectionState, DateTimeOffset, Limits, Timeouts, TransferFormat, Transport

__all__ = [
    "AuthenticationRefreshError",
    "ClassicServerError",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "ConnectionState",
    "DateTimeOffset",
    "HandshakeError",
    "HubError",
    "InvocationTimeoutError",
    "Limits",
    "LocalProtocolError",
    "NegotiationError",
    "NotConnectedError",
    "ProtocolError",
    "RemoteProtocolError",
    "ResultTypeError",
    "ServerTimeoutError",
    "SignalRError",
    "SlowConsumerError",
    "StateError",
    "StreamOverflowError",
    "Timeouts",
    "TransferFormat",
    "Transport",
    "TransportError",
]
