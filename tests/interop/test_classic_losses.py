"""Classic ASP.NET SignalR: losses, the same connection again, new connections, and the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tenacity import wait_fixed

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HandshakeError,
    Retry,
    ServerTimeoutError,
    Timeouts,
    Transport,
)
from signalr_sdk.classic import HubConnection, HubProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.classic_server import ClassicServer

SOON = Retry(wait=wait_fixed(0.05))
ALL = pytest.mark.parametrize("transport", list(Transport))


@attrs.define
class World:
    """A connection with all that happens to it."""

    connection: HubConnection
    hub: HubProxy
    happened: list[Any] = attrs.field(factory=list)
    numbers: asyncio.Queue[int] = attrs.field(factory=asyncio.Queue)

    def __attrs_post_init__(self) -> None:
        for name in ("connected", "reconnecting", "reconnected", "closed", "connection_slow"):
            getattr(self.connection, f"on_{name}")(self._note(name))
        self.hub.on("number", self.numbers.put_nowait)
        for name in ("welcome", "welcomeBack", "joined"):
            self.hub.on(name, lambda *_arguments: None)

    def _note(self, name: str) -> Callable[..., None]:
        return lambda *_arguments: self.happened.append(name)

    async def wait_for(self, name: str) -> None:
        """Wait until something has happened."""
        async with asyncio.timeout(10):
            while True:
                if name in self.happened:
                    return
                await asyncio.sleep(0.01)

    async def check_arrival(self, server: ClassicServer, number: int = 7, **target: Any) -> None:
        """Send a number until it arrives: a client that polls has perhaps not heard of the new server yet."""
        async with asyncio.timeout(10):
            while self.numbers.empty() or await self.numbers.get() != number:
                await server.broadcast("number", number, **target)
                await asyncio.sleep(0.02)


def world_of(server: ClassicServer, path: str = "/signalr", **options: Any) -> World:
    connection = HubConnection(server.url(path), **{"reconnect": SOON, **options})
    return World(connection, connection.hub("testHub"))


async def drop(server: ClassicServer, how: str) -> None:
    """Cut the open transport. Between two polls there is none: try again."""
    async with asyncio.timeout(5):
        while not await server.control("/drop", how=how):
            pass


@ALL
@pytest.mark.parametrize("how", ["reset", "fin", "close"])
async def test_the_same_connection_goes_on(classic_server: ClassicServer, transport: Transport, how: str) -> None:
    """Messages that were sent meanwhile arrive once and in order, groups are kept, and OnConnected runs once."""
    world = world_of(classic_server, transports=transport)
    async with world.connection as connection:
        await world.hub.invoke("Join", "g")
        await world.hub.invoke("Nothing")
        identity = connection.connection_id
        assert identity is not None
        for round_ in range(5):
            await classic_server.broadcast("number", 2 * round_, group="g")
            await drop(classic_server, how)
            await classic_server.broadcast("number", 2 * round_ + 1, group="g")
            assert [await world.numbers.get(), await world.numbers.get()] == [2 * round_, 2 * round_ + 1]
            await connection.wait_connected(5)
        assert connection.connection_id == identity
        assert world.numbers.empty()
        assert (await classic_server.events(identity)).count("connected") == 1
    assert world.happened.count("connected") == 1
    assert world.happened.count("reconnecting") == world.happened.count("reconnected")
    assert (await classic_server.wait_event(identity, "disconnected"))["stop"] is True


@ALL
async def test_calls_while_the_transport_is_lost(classic_server: ClassicServer, transport: Transport) -> None:
    """Over a WebSocket a pending call fails; over HTTP it goes on. A new one waits."""
    world = world_of(classic_server, transports=transport)
    async with world.connection as connection:
        slow = asyncio.ensure_future(world.hub.invoke("Slow", 500))
        await asyncio.sleep(0.1)
        await classic_server.control("/rule", {"suffix": "/reconnect", "times": 1, "delay": 0.3})
        await classic_server.control("/drop", how="reset", transport=_wire(transport))
        await world.wait_for("reconnecting")
        assert (connection.state, connection.connection_id) == (ConnectionState.RECONNECTING, None)
        assert await world.hub.invoke("Add", 1, 2) == 3
        if transport is Transport.WEBSOCKETS:
            with pytest.raises(ConnectionClosedError, match="may or may not have run"):
                await slow
        elif not slow.done() or slow.exception() is None:
            # The reset may have cut the POST of the call as well: it is a TCP connection like others.
            assert await slow == "slow"
        assert world.happened.count("connected") == 1


def _wire(transport: Transport) -> str:
    return transport.value[0].lower() + transport.value[1:]


@ALL
async def test_a_server_with_other_keys_gets_a_new_connection(
    start_classic_server: Callable[..., ClassicServer], transport: Transport
) -> None:
    server = start_classic_server()
    world = world_of(server, transports=transport)
    async with world.connection as connection:
        first = connection.connection_id
        await server.control("/restart", keys="new")
        await world.wait_for("reconnected")
        assert connection.connection_id != first
        assert await world.hub.invoke("Id") == connection.connection_id
    assert [name for name in world.happened if name != "connection_slow"] == [
        *("connected", "reconnecting", "connected", "reconnected", "closed")
    ]


@ALL
async def test_a_server_that_is_replaced_restores_the_groups(
    start_classic_server: Callable[..., ClassicServer], transport: Transport
) -> None:
    server = start_classic_server()
    world = world_of(server, transports=transport)
    async with world.connection as connection:
        await world.hub.invoke("Join", "g")
        # What comes to the group comes after the groups token, which a client needs to restore its groups.
        await world.check_arrival(server, 6, group="g")
        first = connection.connection_id
        await server.control("/restart", keys="same")
        if transport is not Transport.LONG_POLLING:
            await world.wait_for("reconnected")
        # Between two polls there is nothing to lose: the next poll goes on.
        await world.check_arrival(server, group="g")
        assert connection.connection_id == first
    assert world.happened.count("connected") == 1


@ALL
async def test_a_server_that_shuts_down(
    start_classic_server: Callable[..., ClassicServer], transport: Transport
) -> None:
    server = start_classic_server()
    world = world_of(server, transports=transport)
    async with world.connection:
        await server.control("/shutdown")
        if transport is not Transport.LONG_POLLING:
            await world.wait_for("reconnected")
        await world.check_arrival(server)


@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
async def test_a_silent_server(classic_server: ClassicServer, transport: Transport) -> None:
    """It is slow, then lost; what it believed to have sent comes again."""
    world = world_of(classic_server, transports=transport, timeouts=Timeouts(server=1.5))
    lost = asyncio.get_running_loop().create_future()
    world.connection.on_reconnecting(lost.set_result)
    async with world.connection:
        await classic_server.control("/mute", what="all")
        await classic_server.broadcast("number", 1)
        error = await asyncio.wait_for(lost, 5)
        await classic_server.control("/mute", what="none")
        assert isinstance(error, ServerTimeoutError)
        assert await asyncio.wait_for(world.numbers.get(), 5) == 1
    assert world.happened.index("connection_slow") < world.happened.index("reconnecting")


async def test_after_the_window_a_new_connection_follows(classic_server: ClassicServer) -> None:
    world = world_of(classic_server, transports="WebSockets")
    async with world.connection as connection:
        first = connection.connection_id
        await classic_server.control("/rule", {"suffix": "/reconnect", "times": -1, "status": 503})
        await classic_server.control("/drop", how="reset")
        await asyncio.wait_for(world.wait_for("reconnected"), 12)
        assert connection.connection_id != first
    assert world.happened.count("reconnecting") == 1


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_refusal_is_not_waited_for(classic_server: ClassicServer, status: int) -> None:
    world = world_of(classic_server, transports="WebSockets")
    async with world.connection:
        await classic_server.control("/rule", {"suffix": "/reconnect", "times": -1, "status": status})
        await classic_server.control("/drop", how="reset")
        await world.wait_for("reconnected")
    assert world.happened.count("connected") == 2


async def test_without_a_policy_the_same_connection_is_tried_once(classic_server: ClassicServer) -> None:
    world = world_of(classic_server, transports="WebSockets", reconnect=False)
    async with world.connection as connection:
        await classic_server.control("/drop", how="reset")
        await world.wait_for("reconnected")
        await classic_server.control("/rule", {"suffix": "/reconnect", "times": -1, "status": 503})
        await classic_server.control("/drop", how="reset")
        with pytest.raises(ConnectionClosedError, match="could not be resumed"):
            await connection.wait_closed()
    assert world.happened.count("connected") == 1


@ALL
async def test_an_error_of_the_server_ends_the_connection(classic_server: ClassicServer, transport: Transport) -> None:
    world = world_of(classic_server, transports=transport)
    async with world.connection as connection:
        if transport is Transport.LONG_POLLING:
            rule = {
                "suffix": "/poll",
                "times": -1,
                "status": 200,
                "body": '{"E":"no more"}',
                "type": "application/json",
            }
            await classic_server.control("/rule", rule)
            await classic_server.broadcast("number", 1)
        else:
            await classic_server.control("/push", text='{"E":"no more"}')
        with pytest.raises(ConnectionClosedError, match="no more") as raised:
            await connection.wait_closed()
    assert raised.value.reason == "no more"
    assert [each["path"] for each in await classic_server.log("request") if each["path"].endswith("/abort")] == []


async def test_nonsense_is_a_loss(classic_server: ClassicServer) -> None:
    world = world_of(classic_server, transports="WebSockets")
    async with world.connection:
        await classic_server.control("/push", text="nonsense")
        await world.wait_for("reconnected")


@ALL
async def test_stop_while_reconnecting(classic_server: ClassicServer, transport: Transport) -> None:
    """The server learns of the end at once."""
    world = world_of(classic_server, transports=transport)
    await world.connection.start()
    identity = world.connection.connection_id
    assert identity is not None
    await classic_server.control("/rule", {"suffix": "/reconnect", "times": -1, "hang": True})
    await drop(classic_server, "reset")
    await world.wait_for("reconnecting")
    await world.connection.stop()
    assert (await classic_server.wait_event(identity, "disconnected"))["stop"] is True
    assert world.connection.state is ConnectionState.DISCONNECTED


@ALL
async def test_reconnect_gives_the_connection_up(classic_server: ClassicServer, transport: Transport) -> None:
    world = world_of(classic_server, transports=transport)
    async with world.connection as connection:
        first = connection.connection_id
        assert first is not None
        await connection.reconnect()
        assert connection.connection_id != first
        await classic_server.wait_event(first, "disconnected")
    assert world.happened == ["connected", "reconnecting", "connected", "reconnected", "closed"]


# The start


async def test_transports_give_way_with_the_same_token(classic_server: ClassicServer) -> None:
    world = world_of(classic_server)
    await classic_server.control("/rule", {"suffix": "/connect", "transport": "webSockets", "times": 1, "status": 503})
    await classic_server.control(
        "/rule", {"suffix": "/connect", "transport": "serverSentEvents", "times": 1, "reset": True}
    )
    async with world.connection as connection:
        assert connection.transport is Transport.LONG_POLLING
    requests = await classic_server.log("request")
    assert sum(each["path"].endswith("/negotiate") for each in requests) == 1


async def test_a_first_envelope_that_does_not_come(classic_server: ClassicServer) -> None:
    world = world_of(classic_server, transports=["WebSockets", "LongPolling"], timeouts=Timeouts(handshake=0.5))
    await classic_server.control("/rule", {"suffix": "/connect", "transport": "webSockets", "times": 1, "delay": 0.0})
    await classic_server.control("/mute", what="all")
    with pytest.raises(ConnectionFailedError, match="within") as raised:
        await world.connection.start()
    assert len(raised.value.attempts) == 2


@pytest.mark.parametrize("rule", [{"status": 500}, {"status": 200, "body": "{}"}, {"reset": True}])
async def test_a_start_that_fails(classic_server: ClassicServer, rule: dict[str, Any]) -> None:
    """No other transport is tried."""
    world = world_of(classic_server)
    await classic_server.control("/rule", {"suffix": "/start", "times": -1, **rule})
    with pytest.raises(HandshakeError):
        await world.connection.start()
    connects = [each for each in await classic_server.log("request") if each["path"].endswith("/connect")]
    assert len(connects) == 1


async def test_without_web_sockets(start_classic_server: Callable[..., ClassicServer]) -> None:
    world = world_of(start_classic_server("--no-websockets"))
    async with world.connection as connection:
        assert connection.transport is Transport.SERVER_SENT_EVENTS
    alone = world_of(start_classic_server("--no-websockets"), transports="WebSockets")
    with pytest.raises(ConnectionFailedError, match="TryWebSockets"):
        await alone.connection.start()
