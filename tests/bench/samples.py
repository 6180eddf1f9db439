"""What is measured here: the frequent messages, and the parts that they go through."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tests.core.arrivals import Recorder

from signalr_sdk import Limits
from signalr_sdk._core.session import HubSession
from signalr_sdk._receiving.backlog import Backlog
from signalr_sdk._receiving.dispatcher import Dispatcher
from signalr_sdk.messages import Invocation, StreamItem

if TYPE_CHECKING:
    from signalr_sdk import HubProtocol
    from signalr_sdk._receiving.handlers import Handlers

# What one WebSocket message of ASP.NET Core holds when much is sent.
BATCH = 80
EVENT = Invocation("message", [7, "x" * 32])
ITEM = StreamItem("1", 7)


def session_of(protocol: HubProtocol, inbox: Recorder | None = None) -> HubSession:
    """Return a session after its handshake."""
    session = HubSession(protocol, inbox or Recorder(), message_bytes=1 << 30, keep_alive=None, timeout=None, now=0.0)
    session.receive(b"{}\x1e", 0.0)
    return session


def dispatcher_of(handlers: Handlers) -> Dispatcher:
    """Return a dispatcher with the usual limits."""
    limits = Limits()
    log = logging.LoggerAdapter(logging.getLogger("signalr_sdk"))
    return Dispatcher(handlers, Backlog(limits.buffered_bytes), limits, log)
