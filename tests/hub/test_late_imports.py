"""Connecting, the first call and the first event neither import a module nor open a file on the event loop."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap

import pytest

from signalr_sdk import Transport
from signalr_sdk.testing import Hub, HubServer


class Chat(Hub):
    async def add(self, a: int, b: int) -> int:
        await self.clients.caller.send("added", a + b)
        return a + b

    async def count(self, n: int) -> list[int]:
        return list(range(n))


# Notes what the thread of the event loop imports, and which files it opens, while `watching()`.
WATCH = """
import asyncio, json, sys, threading
from contextlib import contextmanager

noted, watched = [], []

def note(event, arguments):
    if watched and event in ("import", "open") and threading.get_ident() in watched:
        noted.append([event, str(arguments[0])])

sys.addaudithook(note)

@contextmanager
def watching():
    watched.append(threading.get_ident())
    try:
        yield
    finally:
        watched.clear()
"""

PROGRAM = """
from signalr_sdk import HubConnection, Retry

async def main(url, protocol, transport):
    hub = HubConnection(url, protocol=protocol, transports=transport, reconnect=Retry.delays(0, 0, 0))
    added = asyncio.Event()
    hub.on("added", lambda _sum: added.set())
    again = asyncio.Event()
    hub.on_reconnected(lambda _id: again.set())
    with watching():
        await hub.start()
        assert await hub.invoke("Add", 1, 2) == 3
        await added.wait()
        assert await hub.invoke("Count", 2, result_type=list[int]) == [0, 1]
        async with hub.messages("added", buffer=3) as sums:
            await hub.send("Add", 2, 3)
            assert await sums.next() == (5,)
        cut()
        await again.wait()
        assert await hub.invoke("Add", 1, 2) == 3
        await hub.stop()
    print(json.dumps(noted))

def cut():
    print("cut", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""
COMBINATIONS = [(transport, "json") for transport in Transport] + [(Transport.LONG_POLLING, "messagepack")]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
async def test_the_event_loop_imports_nothing_and_opens_no_file(transport: Transport, protocol: str) -> None:
    async with HubServer({"/chat": Chat}) as server:
        program = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-c",
                WATCH + PROGRAM,
                server.url("/chat").replace("127.0.0.1", "localhost"),
                protocol,
                transport,
            ),
            stdout=subprocess.PIPE,
            # In asyncio's debug mode the loop reads source files, for the tracebacks of its handles.
            env={name: value for name, value in os.environ.items() if name != "PYTHONASYNCIODEBUG"},
        )
        assert program.stdout is not None
        assert await program.stdout.readline() == b"cut\n"
        server.faults.cut()
        said = await program.stdout.read()
        assert await program.wait() == 0
    assert said == b"[]\n"


def test_the_watch_sees_what_it_should() -> None:
    program = WATCH + textwrap.dedent(
        """
        with watching():
            import colorsys
            open(json.__file__).close()
        print(json.dumps(noted))
        """
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert {"import", "open"} <= {event for event, _what in json.loads(said)}
