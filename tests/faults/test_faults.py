"""A short run on each kind of connection, against both servers; the long one is `python -m tests.faults`."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.interop.conftest import COMBINATIONS, Combination
from tests.interop.hub_server import HubServer as AspNetCoreServer
from tests.interop.hub_server import ServerMissingError

from signalr_sdk import HubConnection, Retry, Timeouts, Transport

from .faulty_servers import AspNetCoreFaults, AspNetCoreProcess, FaultyServer, PythonFaults
from .runs import Run
from .schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen
class Kind:
    """A kind of connection."""

    combination: Combination
    stateful: bool

    def __str__(self) -> str:
        return f"{self.combination}{'-stateful' if self.stateful else ''}"


KINDS = [
    *(Kind(combination, stateful=False) for combination in COMBINATIONS),
    *(Kind(each, stateful=True) for each in COMBINATIONS if each.transport is Transport.WEBSOCKETS),
]
FAULTS = 5
LONGEST = 1.0
LIMIT = 100  # seconds for a run that takes four on an idle machine: the server may start several times


@pytest.fixture(scope="module")
def process() -> Iterator[AspNetCoreProcess]:
    """ASP.NET Core, which may be ended and started in between."""
    try:
        started = AspNetCoreProcess()
    except ServerMissingError as error:
        pytest.skip(str(error))
    with started:
        yield started


async def go(server: FaultyServer, kind: Kind, seed: int, faults: int = FAULTS, longest: float = LONGEST) -> Run:
    """Run with a seed; a failure shows it, and the faults that came."""
    run = Run(kind.combination, kind.stateful, seed)
    schedule = Schedule(seed, (*server.kinds, "stop"), longest)
    try:
        await run.through(server, itertools.islice(schedule, faults))
    except BaseException as error:
        error.add_note("\n".join([f"seed {seed}, {kind}", *map(str, run.history)]))
        raise
    assert run.counts is not None
    assert run.counts["faults"] == faults
    assert min(run.counts[name] for name in ("calls", "events", "items up", "items down")) > 0
    return run


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("number", range(len(KINDS)), ids=[str(kind) for kind in KINDS])
async def test_aspnetcore(process: AspNetCoreProcess, number: int) -> None:
    with AspNetCoreFaults(process, tokens=number % 2 == 1) as server:
        await go(server, KINDS[number], seed=number)


@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("number", range(len(KINDS)), ids=[str(kind) for kind in KINDS])
async def test_the_test_server(number: int) -> None:
    with PythonFaults() as server:
        await go(server, KINDS[number], seed=number)


# Longer ones


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("kind", [KINDS[-1], KINDS[-2]], ids=str)
async def test_aspnetcore_for_longer(process: AspNetCoreProcess, kind: Kind) -> None:
    with AspNetCoreFaults(process, tokens=False) as server:
        await go(server, kind, seed=100, faults=2 * FAULTS, longest=4 * LONGEST)


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("kind", [KINDS[-1], KINDS[-2]], ids=str)
async def test_the_test_server_for_longer(kind: Kind) -> None:
    with PythonFaults() as server:
        await go(server, kind, seed=100, faults=4 * FAULTS, longest=2 * LONGEST)


# What the runs keep out of


@pytest.mark.interop
@pytest.mark.timeout(LIMIT)
async def test_a_flood_while_the_line_is_cut(process: AspNetCoreProcess) -> None:
    """Over 64 KB gather for a client whose line is cut: ASP.NET Core sends some of it, and then no more on any line.

    The client notices by `Timeouts.server`, and is back by an ordinary reconnect.
    """
    with AspNetCoreFaults(process, tokens=False) as server:
        hub = HubConnection(
            server.url,
            transports=Transport.WEBSOCKETS,
            stateful_reconnect=True,
            timeouts=Timeouts(server=1, keep_alive=0.3, handshake=1),
            reconnect=Retry(wait=lambda _state: 0.1),
        )
        changes: list[str] = []
        numbers: list[float] = []
        back = asyncio.Event()
        hub.on("flood", lambda number, _text: numbers.append(number))
        hub.on_connected(lambda _id: changes.append("connected"))
        hub.on_reconnecting(lambda _error: changes.append("reconnecting"))
        hub.on_reconnected(lambda _id: back.set())
        async with hub:
            assert hub.connection_id is not None
            server.proxy.refuse()
            server.proxy.cut()
            assert not await flood(process.server, hub.connection_id)
            server.proxy.accept()
            await back.wait()
            assert await hub.invoke("Add", 1, 2) == 3
    assert changes == ["connected", "reconnecting", "connected"]
    assert numbers == list(range(len(numbers)))


async def flood(server: AspNetCoreServer, connection_id: str) -> bool:
    """Send a client more than its server takes for it; return whether the server has taken it all."""
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            for number in range(12):
                await server.send("flood", number, "x" * 7000, connection_id=connection_id)
            return True
    return False
