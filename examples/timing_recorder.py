"""A recorder of live timing from a classic server: each event is one JSON line, over a lost transport.

    python examples/timing_recorder.py

It wants a hub `Streaming` of classic ASP.NET SignalR, whose method `Subscribe(topics)` answers with the present values,
and which then sends the event `feed`. The server and the loss belong to the rehearsal.
"""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any, TextIO

from signalr_sdk.classic import HubConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer

TOPICS = ["Heartbeat", "TimingData"]


def record(connection: HubConnection, file: TextIO) -> None:
    """Write the present values of each new connection, and then all that the feed sends."""
    streaming = connection.hub("Streaming")

    def write(topic: str, value: Any) -> None:
        file.write(json.dumps([topic, value]) + "\n")

    @connection.on_setup
    async def subscribe(_connection_id: str) -> None:
        for topic, value in (await streaming.invoke("Subscribe", TOPICS)).items():
            write(topic, value)

    streaming.on("feed", write)


class Streaming(ClassicHub):
    """The rehearsal's hub."""

    async def subscribe(self, topics: list[str]) -> dict[str, int]:
        """Add the caller to the groups of the topics, and return their present values."""
        for topic in topics:
            await self.groups.add(self.context.connection_id, topic)
        return dict.fromkeys(topics, -1)


async def main() -> None:
    """Record, lose the transport, record on: nothing is missing, and nothing was subscribed twice."""
    file = io.StringIO()  # in earnest `open("timing.jsonl", "a")`
    async with ClassicHubServer({"Streaming": Streaming}) as server:
        connection = HubConnection(server.url(), ping=300)  # the ping keeps a login of the website alive
        record(connection, file)
        async with connection, connection.hub("Streaming").messages("feed") as feed:
            for number in range(100):
                if number == 50:
                    server.faults.drop()
                await server.clients("Streaming").group(TOPICS[number % 2]).send("feed", TOPICS[number % 2], number)
            for _ in range(100):
                await feed.next(timeout=10)
            await connection.hub("Streaming").invoke("Subscribe", [])  # the handlers have had their turn
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    # After a loss, a server may send the messages of one group before those of another.
    for index, topic in enumerate(TOPICS):
        assert [value for each, value in lines if each == topic] == [-1, *range(index, 100, 2)]
    print(f"{len(lines)} lines, none missing")


asyncio.run(main())
