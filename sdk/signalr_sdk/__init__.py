"""A SignalR client for Python with asyncio, for hubs of ASP.NET Core and for Azure SignalR Service."""

from __future__ import annotations

from ._connecting.raw_connection import Connection
from ._hub.hub_connection import HubConnection
from ._receiving.iterators import HubEvent, Messages, Stream
from ._sending.uploads import Upload
from ._typed.marks import event, method
from .errors import (
    AuthenticationRefreshError,
    AzureSignalRError,
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
from .interfaces import (
    Converter,
    Handler,
    HttpClient,
    HubProtocol,
    RetryPolicy,
    TokenProvider,
    WebSocketConnector,
)
from .options import (
    UNSET,
    AuthenticationRefresh,
    ConnectionState,
    DateTimeOffset,
    Limits,
    Timeouts,
    TransferFormat,
    Transport,
)
from .protocols import JsonProtocol, MessagePackProtocol
from .retry import Retry, RetryContext, is_transient

__all__ = [
    "UNSET",
    "AuthenticationRefresh",
    "AuthenticationRefreshError",
    "AzureSignalRError",
    "ClassicServerError",
    "Connection",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "ConnectionState",
    "Converter",
    "DateTimeOffset",
    "Handler",
    "HandshakeError",
    "HttpClient",
    "HubConnection",
    "HubError",
    "HubEvent",
    "HubProtocol",
    "InvocationTimeoutError",
    "JsonProtocol",
    "Limits",
    "LocalProtocolError",
    "MessagePackProtocol",
    "Messages",
    "NegotiationError",
    "NotConnectedError",
    "ProtocolError",
    "RemoteProtocolError",
    "ResultTypeError",
    "Retry",
    "RetryContext",
    "RetryPolicy",
    "ServerTimeoutError",
    "SignalRError",
    "SlowConsumerError",
    "StateError",
    "Stream",
    "StreamOverflowError",
    "Timeouts",
    "TokenProvider",
    "TransferFormat",
    "Transport",
    "TransportError",
    "Upload",
    "WebSocketConnector",
    "event",
    "is_transient",
    "method",
]
