"""What each step of a message costs, by pyperf, for a comparison of two versions.

    pip install pyperf
    python -m tests.bench.pieces -o before.json
    python -m tests.bench.pieces -o after.json
    python -m pyperf compare_to before.json after.json

What the steps cost together, against a server, is measured by `signalr bench`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pyperf
from tests.bench.samples import BATCH, EVENT, ITEM, dispatcher_of, session_of
from tests.core.arrivals import Recorder

from signalr_sdk import JsonProtocol, MessagePackProtocol
from signalr_sdk._receiving.handlers import Handlers


def nothing(*_args: Any) -> None:
    """Be a handler."""


async def dispatch(count: int) -> None:
    """Push so many events and have them handled."""
    handlers = Handlers()
    handlers.add("message", nothing)
    dispatcher = dispatcher_of(handlers)
    dispatcher.events([EVENT.target] * count, [EVENT.arguments] * count, [40] * count)
    await dispatcher.drained()


def main() -> None:
    """Run them all; the options are pyperf's."""
    # Its processes are started as this one was: by its path alone a program does not find the package around it.
    runner = pyperf.Runner(program_args=("-m", "tests.bench.pieces"))
    for protocol in (JsonProtocol(), MessagePackProtocol()):
        session = session_of(protocol)
        session.invoke("Counter", [], Recorder(), stream=True)
        for name, message in (("event", EVENT), ("item", ITEM)):
            frame = session._framing.feed(protocol.encode(message))[0]
            runner.bench_func(f"{protocol.name}: encode an {name}", protocol.encode, message)
            runner.bench_func(f"{protocol.name}: decode an {name}", protocol.decode, frame)
            for count in (1, BATCH):
                payload = protocol.encode(message) * count
                runner.bench_func(f"{protocol.name}: receive {count} {name}s", session.receive, payload, 0.0)
    runner.bench_func(f"dispatch {BATCH}", lambda: asyncio.run(dispatch(BATCH)))


if __name__ == "__main__":
    main()
