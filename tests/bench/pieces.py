"""What each step of a message costs, by pyperf, for a comparison of two versions.

    pip install pyperf
    python -m tests.bench.pieces -o before.json
    python -m tests.bench.pieces -o after.json
    python -m pyperf compare_to before.json after.json

What the steps cost together, against a server, is measured by `signalr bench`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pyperf
from tests.core.arrivals import Recorder

from signalr_sdk import JsonProtocol, Limits, MessagePackProtocol
from signalr_sdk._backlog import Backlog
from signalr_sdk._core.session import HubSession
from signalr_sdk._dispatch import Dispatcher
from signalr_sdk._handlers import Handlers
from signalr_sdk.messages import Invocation, StreamItem

if TYPE_CHECKING:
    from signalr_sdk import HubProtocol

# What one WebSocket message of ASP.NET Core holds when much is sent.
BATCH = 80
EVENT = Invocation("message", [7, "x" * 32])
ITEM = StreamItem("1", 7)


def nothing(*_args: Any) -> None:
    """Be a sink, or a handler."""


def session_of(protocol: HubProtocol) -> HubSession:
    """Return a session after its handshake."""
    session = HubSession(protocol, Recorder(), message_bytes=1 << 24, keep_alive=None, timeout=None, now=0.0)
    session.receive(b"{}\x1e", 0.0)
    session.invoke("Counter", [], Recorder(), stream=True)
    return session


async def dispatch(count: int) -> None:
    """Push so many events and have them handled."""
    limits, handlers = Limits(), Handlers()
    handlers.events["message"] = (nothing,)
    dispatcher = Dispatcher(
        handlers, Backlog(limits.buffered_bytes), limits, logging.LoggerAdapter(logging.getLogger("signalr_sdk"))
    )
    dispatcher.events([EVENT.target] * count, [EVENT.arguments] * count, [40] * count)
    await dispatcher.drained()


def main() -> None:
    """Run them all; the options are pyperf's."""
    runner = pyperf.Runner()
    for protocol in (JsonProtocol(), MessagePackProtocol()):
        session = session_of(protocol)
        for name, message in (("event", EVENT), ("item", ITEM)):
            frame = session._framing.feed(protocol.encode(message))[0]
            runner.bench_func(f"{protocol.name}: encode an {name}", protocol.encode, message)
            runner.bench_func(f"{protocol.name}: decode an {name}", protocol.decode, frame)
            runner.bench_func(
                f"{protocol.name}: receive {BATCH} {name}s", session.receive, protocol.encode(message) * BATCH, 0.0
            )
    runner.bench_func(f"dispatch {BATCH}", lambda: asyncio.run(dispatch(BATCH)))


if __name__ == "__main__":
    main()
