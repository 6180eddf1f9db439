"""When a classic connection is taken up again, and when a new one is made: on a simulated network."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tenacity import wait_fixed

from signalr_sdk import Retry, Timeouts, Transport
from signalr_sdk.classic import HubConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer, SimulatedNetwork

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine

EACH = pytest.mark.parametrize("transport", list(Transport))
SOON = Retry(wait=wait_fixed(0.05))
GAP = "messages may be missing"


@attrs.define
class World:
    """A live connection on a simulated network, with all that happens to it."""

    network: SimulatedNetwork
    server: ClassicHubServer
    connection: HubConnection
    first: str | None
    happened: list[str] = attrs.field(factory=list)

    async def wait(self, condition: Callable[[], object]) -> None:
        """Return when the condition is true."""
        async with asyncio.timeout(600):
            while not condition():  # noqa: ASYNC110  # conditions of any kind
                await asyncio.sleep(0.01)

    async def until(self, name: str, times: int = 1) -> None:
        """Wait until something has happened so often."""
        await self.wait(lambda: self.happened.count(name) >= times)

    async def drop(self) -> None:
        """Cut the transport. Between two polls there is none: try again."""
        await self.wait(self.server.faults.drop)

    @property
    def is_same(self) -> bool:
        """Whether the connection is the one that was started."""
        return self.connection.connection_id == self.first and not self.happened.count("connected") > 1


def play(
    body: Callable[[World], Coroutine[Any, Any, None]],
    transport: Transport,
    *,
    options: dict[str, Any] | None = None,
    **server_options: Any,
) -> None:
    """Run the body of a test with a live connection."""

    async def main(network: SimulatedNetwork) -> None:
        async with ClassicHubServer({"Chat": ClassicHub}, **server_options) as server:
            connection = HubConnection(server.url(), transports=transport, **{"reconnect": SOON, **(options or {})})
            connection.hub("Chat")
            world = World(network, server, connection, None)
            for name in ("connected", "reconnecting", "reconnected", "connection_slow"):
                getattr(connection, f"on_{name}")(partial(_note, world.happened, name))
            async with connection:
                world.first = connection.connection_id
                await body(world)

    network = SimulatedNetwork(seed=1)
    network.run(main(network))


def _note(happened: list[str], name: str, *_arguments: object) -> None:
    happened.append(name)


# The server's limits


@EACH
def test_no_attempt_outlasts_the_window(caplog: pytest.LogCaptureFixture, transport: Transport) -> None:
    async def body(world: World) -> None:
        _ = world.server.faults.hang("reconnect", times=None)
        began = world.network.time
        await world.drop()
        await world.until("reconnected")
        assert 4 <= world.network.time - began < 6
        assert not world.is_same
        assert "could not be resumed: the attempt was not done within 3.95 s" in caplog.text

    play(body, transport, disconnect=4.0)


@EACH
@pytest.mark.parametrize("is_reconnecting", [False, True])
@pytest.mark.parametrize(("seconds", "is_same"), [(10, True), (100, False)])
def test_a_process_that_was_stopped(transport: Transport, is_reconnecting: bool, seconds: float, is_same: bool) -> None:
    """After the server's limit it has forgotten the connection, although it may take it up without a word."""

    async def body(world: World) -> None:
        if is_reconnecting:
            with world.server.faults.refuse():
                await world.until("reconnecting")
                world.network.suspend(seconds)
        else:
            await world.drop()
            world.network.suspend(seconds)
        await world.until("reconnected")
        assert world.is_same is is_same

    play(body, transport)


@EACH
@pytest.mark.parametrize("is_reconnecting", [False, True])
def test_a_computer_that_was_suspended(
    monkeypatch: pytest.MonkeyPatch, transport: Transport, is_reconnecting: bool
) -> None:
    """The clock of timers stands still meanwhile. What comes later is no sign that the connection is known."""
    asleep = 0.0
    for module in ("signalr_sdk.classic.link", "signalr_sdk._life.resuming"):
        monkeypatch.setattr(f"{module}.time_asleep", lambda: asleep)

    async def body(world: World) -> None:
        nonlocal asleep
        if is_reconnecting:
            with world.server.faults.refuse():
                await world.until("reconnecting")
                asleep += 1000
        else:
            world.network.swallow()
            await asyncio.sleep(1)
            asleep += 1000
            await asyncio.sleep(12)
            world.network.cut(reset=True)
            world.network.restore()
        await world.until("reconnected")
        assert not world.is_same

    play(body, transport)


@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
def test_a_server_without_keep_alive_ends_quiet_transports(transport: Transport) -> None:
    async def body(world: World) -> None:
        await world.until("reconnected")
        assert world.network.time > 110
        assert world.is_same

    play(body, transport, keep_alive=None)


# Signs of life


@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
def test_a_long_message_over_a_slow_network(transport: Transport) -> None:
    """Any byte is a sign of life."""

    async def body(world: World) -> None:
        hub = world.connection.hub("Chat")
        with world.network.slow(1.0, 1.0):
            began = world.network.time
            async with hub.messages("big") as messages:
                await world.server.send("Chat", "big", "x" * 3_000_000)
                (text,) = await messages.next(100)
            assert world.network.time - began > 2 * 4
        assert len(text) == 3_000_000
        assert world.happened.count("reconnecting") == 0

    play(body, transport, keep_alive=2.0, send_timeout=100.0)


@EACH
def test_a_ping_that_is_refused_while_the_transport_is_lost(transport: Transport) -> None:
    async def body(world: World) -> None:
        faults = world.server.faults
        with faults.answer("reconnect", 503, times=None):
            await world.drop()
            await world.until("reconnecting")
            ping = faults.answer("ping", 401)
            await world.wait(lambda: ping.happened)
        await world.until("connected", times=2)

    play(body, transport, options={"ping": 1.0})


@EACH
def test_an_outage_is_no_silence_of_the_hub(transport: Transport) -> None:
    """`Timeouts.idle` begins anew: the hub could not be heard, and what it has said meanwhile is on its way."""

    async def body(world: World) -> None:
        with world.server.faults.refuse():
            await asyncio.sleep(4)
            await world.server.send("Chat", "news", 1)
            await asyncio.sleep(4)
        async with world.connection.hub("Chat").messages("news") as messages:
            assert await messages.next(10) == (1,)
        await asyncio.sleep(4)
        assert world.is_same
        await world.until("connected", times=2)

    play(body, transport, options={"timeouts": Timeouts(idle=5.0)})


# Servers that have begun anew


@EACH
def test_a_restart_is_logged(caplog: pytest.LogCaptureFixture, transport: Transport) -> None:
    async def body(world: World) -> None:
        await world.server.faults.restart("same")
        await world.until("reconnected")
        await world.server.send("Chat", "news")
        await asyncio.sleep(1)
        assert world.is_same
        assert gaps(caplog.records) == 1
        await world.drop()
        await world.server.send("Chat", "news")
        await asyncio.sleep(1)
        assert gaps(caplog.records) == 1

    play(body, transport)


def test_a_restart_between_two_polls_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No request is lost, so that the connection goes on as if nothing had happened."""

    async def body(world: World) -> None:
        await world.server.send("Chat", "news")
        await asyncio.sleep(1)
        await world.server.faults.restart("same")
        await asyncio.sleep(6)
        async with world.connection.hub("Chat").messages("news") as messages:
            await world.server.send("Chat", "news")
            await messages.next(10)
        assert world.happened == ["connected"]
        assert gaps(caplog.records) == 1

    play(body, Transport.LONG_POLLING, long_poll_delay=5.0)


def gaps(records: list[logging.LogRecord]) -> int:
    """Return how often the log says that messages may be missing."""
    return sum(GAP in record.getMessage() for record in records)
