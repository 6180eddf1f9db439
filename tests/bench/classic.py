"""Calls and events over classic SignalR, beside Microsoft's .NET client: `python -m tests.bench.classic [COUNT]`.

It needs Microsoft's server (`tests/interop/classic_server.py`), which has that client in it. The scenarios are those of
`classic-server bench`. Processor time is that of the client alone.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.interop.classic_server import ClassicServer, find_program

from signalr_sdk import Transport
from signalr_sdk.classic import HubConnection, HubProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Events asked for at once: the server loses messages to a client that is 1000 behind.
BURST = 250
WIRE_NAMES = {kind: kind.value[0].lower() + kind.value[1:] for kind in Transport}


async def _invoke(hub: HubProxy, count: int) -> None:
    for number in range(count):
        await hub.invoke("Add", number, 1)


async def _invoke_concurrently(hub: HubProxy, count: int) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await hub.invoke("Add", number, 1)

    await asyncio.gather(*(work() for _ in range(100)))


async def _receive(hub: HubProxy, count: int, size: int) -> None:
    received = 0
    done = asyncio.Event()

    def take(_number: int, _text: str) -> None:
        nonlocal received
        received += 1
        if received % BURST == 0:
            done.set()

    hub.on("number", take)
    for _ in range(count // BURST):
        done.clear()
        await hub.invoke("FloodBig", BURST, size)
        await done.wait()
    hub.off("number", take)


async def _connect(url: str, transport: Transport, count: int) -> None:
    for _ in range(count):
        connection = HubConnection(url, transports=transport)
        connection.hub("testHub").on("welcome", lambda _id: None)
        async with connection:
            pass


async def _measure(
    scenario: str, transport: Transport, count: int, work: Callable[[], Awaitable[None]]
) -> dict[str, Any]:
    cpu, begin = time.process_time(), time.perf_counter()
    await work()
    return {
        "scenario": scenario,
        "transport": WIRE_NAMES[transport],
        "count": count,
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - begin,
    }


async def _on(transport: Transport, url: str, count: int) -> list[dict[str, Any]]:
    connection = HubConnection(url, transports=transport)
    hub = connection.hub("testHub")
    hub.on("welcome", lambda _id: None)
    async with connection:
        await _invoke(hub, 200)
        events = count // BURST * BURST
        return [
            await _measure("invoke-sequential", transport, count // 5, lambda: _invoke(hub, count // 5)),
            await _measure("invoke-concurrent", transport, count, lambda: _invoke_concurrently(hub, count)),
            await _measure("receive-32", transport, events, lambda: _receive(hub, count, 32)),
            await _measure("receive-1000", transport, events, lambda: _receive(hub, count, 1000)),
            await _measure("connect", transport, 20, lambda: _connect(url, transport, 20)),
        ]


async def ours(url: str, count: int) -> list[dict[str, Any]]:
    """Measure this package on each transport."""
    return [row for transport in Transport for row in await _on(transport, url, count)]


def theirs(url: str, count: int) -> list[dict[str, Any]]:
    """Measure Microsoft's .NET client on each transport."""
    command = [str(find_program()), "bench", "--url", url, "--count", str(count)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def main(count: int) -> None:
    """Print microseconds of processor time for each call or event, ours and theirs."""
    with ClassicServer.start() as server:
        mine = asyncio.run(ours(server.url(), count))
        other = {(row["scenario"], row["transport"]): row for row in theirs(server.url(), count)}
    print(f"{'scenario':20}{'transport':20}{'ours, us':>10}{'.NET, us':>10}")  # noqa: T201
    for row in mine:
        beside = other[row["scenario"], row["transport"]]
        figures = [each["cpu_seconds"] / each["count"] * 1e6 for each in (row, beside)]
        print(f"{row['scenario']:20}{row['transport']:20}{figures[0]:10.0f}{figures[1]:10.0f}")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
