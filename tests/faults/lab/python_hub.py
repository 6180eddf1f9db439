"""`python -m tests.faults.lab.python_hub PORT`: the test server as a process, which is asked through its stdin.

It writes its port. Then it answers each line with a line. `tick 7` sends the event `tick` to all clients a bit later;
`records` returns what the hub has recorded since the last such line. The end of stdin ends the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import attrs
from tests.python_server import USUAL, HubRecord, TwinHub

from signalr_sdk.testing import HubServer

PATH = "/hub"


async def serve(port: int) -> None:
    """Serve until the end of stdin."""
    record = HubRecord()
    hub = type("TwinHub", (TwinHub,), {"seen_by_hubs": record})
    options: dict[str, Any] = {**USUAL, "authorize": lambda _token: "ada", "keep_alive": 1.0}
    ticks: asyncio.Queue[int] = asyncio.Queue()
    async with HubServer({PATH: hub}, port=port, stateful_reconnect=True, **options) as server:
        answer(server.port)
        sending = asyncio.create_task(send(server, ticks))
        await answer_all(await stdin_lines(), ticks, record)
        sending.cancel()


async def send(server: HubServer, ticks: asyncio.Queue[int]) -> None:
    """Send ticks. This may take as long as the server waits for a client that is gone: questions do not wait for it."""
    while True:
        await server.send(PATH, "tick", await ticks.get())


async def answer_all(questions: asyncio.StreamReader, ticks: asyncio.Queue[int], record: HubRecord) -> None:
    """Answer questions until there are no more."""
    while question := (await questions.readline()).decode().split():
        match question:
            case ["tick", number]:
                ticks.put_nowait(int(number))
                answer(None)
            case ["records"]:
                answer([attrs.astuple(event) for event in record.seen])
                record.seen.clear()
            case _:
                raise ValueError(f"an unknown question: {question}")


async def stdin_lines() -> asyncio.StreamReader:
    """Return stdin as a stream."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def answer(value: object) -> None:
    """Write a value as a line of JSON."""
    os.write(sys.stdout.fileno(), json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has started this one
    with suppress(BrokenPipeError):  # that process was killed
        asyncio.run(serve(int(sys.argv[1])))
