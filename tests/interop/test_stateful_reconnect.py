"""Stateful reconnect against ASP.NET Core: cuts lose nothing; what cannot be resumed becomes an ordinary reconnect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from signalr_sdk import ConnectionClosedError, HubConnection, Limits, Retry, Timeouts, Transport, TransportError

from .hubs import cut_and_abort

if TYPE_CHECKING:
    from collections.abc import Callable

    from .hub_server import HubServer

AT_ONCE = Retry(wait=lambda _state: 0.0)
PROTOCOLS = ("json", "messagepack")


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Literal["json", "messagepack"]:
    chosen: Literal["json", "messagepack"] = request.param
    return chosen


def stateful(server: HubServer, path: str = "/hub", **options: Any) -> HubConnection:
    return HubConnection(server.url(path), **{"stateful_reconnect": True, "reconnect": AT_ONCE, **options})


class Seen(list[Any]):
    """What came, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def add(self, value: Any, *_rest: Any) -> None:
        self.append(value)
        self._more.set()

    async def until(self, wanted: Callable[[], bool]) -> None:
        while not wanted():
            self._more.clear()
            await self._more.wait()

    async def reach(self, count: int) -> None:
        await self.until(lambda: len(self) >= count)


def watch(hub: HubConnection) -> Seen:
    """Return what gets the name of each lifecycle event."""
    seen = Seen()
    for name in ("connected", "reconnecting", "reconnected", "closed", "error"):
        getattr(hub, f"on_{name}")(lambda _value, name=name: seen.add(name))
    return seen


@pytest.mark.timeout(40)
async def test_cuts_lose_nothing(hub_server: HubServer, protocol: Literal["json", "messagepack"]) -> None:
    """Six cuts during 20 000 events, a stream, 300 calls and a slow one.

    The events come in portions: ASP.NET Core never writes again to a client for whom more than 64 KB gathered while its
    line was cut.
    """
    hub = stateful(hub_server, protocol=protocol)
    seen, events = watch(hub), Seen()
    hub.on("event", events.add)
    count, cuts, cut = 20_000, 6, 0

    async def cut_often() -> None:
        nonlocal cut
        for number in range(cuts):
            await events.reach(number * count // cuts)
            while not await hub_server.drop_transports("/hub"):
                pass
            cut += 1

    async def flood() -> None:
        for _ in range(count // 100):
            await hub.invoke("Flood", "event", 100, 20)

    async def stream() -> list[int]:
        return [item async for item in hub.stream("Counter", 500, 1)]

    async def calls() -> list[int]:
        return [await hub.invoke("Add", number, 1) for number in range(300)]

    async with hub:
        connection_id = hub.connection_id
        done = await asyncio.gather(cut_often(), flood(), stream(), calls(), hub.invoke("Delay", 1500))
        await hub.wait_connected()
        await events.reach(count)
        assert hub.connection_id == connection_id
    assert cut == cuts
    assert events == [*range(100)] * (count // 100)
    assert done[2] == list(range(500))
    assert done[3] == list(range(1, 301))
    assert done[4] == 1500
    assert seen == ["connected", "closed"]


async def test_uploads_and_client_results_go_on(
    hub_server: HubServer, protocol: Literal["json", "messagepack"]
) -> None:
    hub = stateful(hub_server, protocol=protocol)
    seen = watch(hub)
    asked = 0

    async def cut() -> None:
        # ASP.NET Core aborts a connection whose line is cut while it sends messages again after the cut before. The
        # answer to a call shows that it has sent them.
        await hub.invoke("Nothing")
        await hub_server.drop_transports("/hub")

    @hub.on("Ask")
    async def answer(text: str) -> str:
        nonlocal asked
        asked += 1
        await cut()
        return f"{text}!"

    async def numbers() -> Any:
        for number in range(50):
            if number % 10 == 5:
                await cut()
            yield number

    async with hub:
        assert await hub.invoke("Sum", numbers()) == sum(range(50))
        assert await hub.invoke("AskCaller", "Ask", "why") == "why!"
    assert asked == 1
    assert seen == ["connected", "closed"]


async def test_a_small_buffer_on_either_side(hub_server: HubServer, protocol: Literal["json", "messagepack"]) -> None:
    """The server's holds 1000 bytes, so it waits for our Acks; ours holds less, so we wait for its."""
    hub = stateful(hub_server, "/hub-tiny-buffer", protocol=protocol, limits=Limits(stateful_buffer=900))
    seen, events = watch(hub), Seen()
    hub.on("event", events.add)
    async with hub:
        flood = asyncio.create_task(hub.invoke("Flood", "event", 100, 50))
        await events.reach(30)
        await hub_server.drop_transports("/hub-tiny-buffer")
        await asyncio.gather(flood, *(hub.send("Record", f"{number:100}") for number in range(15)))
        await events.reach(100)
        await hub_server.wait_event("recorded", connection_id=hub.connection_id, detail=f"{14:100}")
        recorded = [event.detail for event in await hub_server.events("recorded", connection_id=hub.connection_id)]
    assert events == list(range(100))
    assert recorded == [f"{number:100}" for number in range(15)]
    assert seen == ["connected", "closed"]


async def test_a_connection_that_the_server_forgot_is_made_anew(hub_server: HubServer) -> None:
    hub = stateful(hub_server)
    seen = watch(hub)
    errors: list[Exception] = []
    hub.on_reconnecting(errors.append)
    async with hub:
        first = hub.connection_id
        call = asyncio.create_task(hub.invoke("Delay", 60_000))
        await hub.invoke("Nothing")
        # As a server that was restarted: it ends the connection, but the client does not hear of it.
        await cut_and_abort(hub_server, hub)
        await seen.until(lambda: "reconnected" in seen)
        assert hub.connection_id != first
        assert await hub.invoke("Add", 1, 2) == 3
        with pytest.raises(ConnectionClosedError):
            await call
    assert seen == ["connected", "reconnecting", "connected", "reconnected", "closed"]
    assert len(errors) == 1
    assert isinstance(errors[0].__cause__, TransportError)
    # 409 while the server is still taking the connection apart.
    assert errors[0].__cause__.status in (404, 409)


@pytest.mark.parametrize("path", ["/hub-not-stateful", "/hub-sse", "/hub-lp"])
async def test_where_it_is_not_offered_it_is_as_without(hub_server: HubServer, path: str) -> None:
    hub = stateful(hub_server, path)
    async with hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_transport_that_falls_back_drops_it(hub_server: HubServer) -> None:
    hub = stateful(hub_server, "/hub-ws-blocked")
    async with hub:
        assert hub.transport is Transport.SERVER_SENT_EVENTS
        assert await hub.invoke("Add", 1, 2) == 3


async def test_an_authorized_hub_gets_a_fresh_token_with_each_line(hub_server: HubServer) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return await hub_server.token("ada", 60)

    hub = stateful(hub_server, "/hub-auth", access_token=token)
    async with hub:
        await hub.invoke("Nothing")
        await hub_server.drop_transports("/hub-auth")
        await hub.invoke("Nothing")
        while asked < 2:
            await hub.invoke("Nothing")
        assert asked == 2


async def test_stop_is_seen_at_once(hub_server: HubServer) -> None:
    """Without a Close message the server would keep the connection for its window."""
    hub = stateful(hub_server)
    await hub.start()
    connection_id = hub.connection_id
    await hub_server.drop_transports("/hub")
    await hub.invoke("Nothing")
    await hub.stop()
    assert (await hub_server.wait_event("disconnected", connection_id=connection_id)).detail is None


async def test_a_server_that_is_silent_is_resumed(
    hub_server: HubServer, protocol: Literal["json", "messagepack"]
) -> None:
    """It hears what the client says: so it must not hear that the client has gone."""
    lines = 0

    def token() -> None:
        nonlocal lines
        lines += 1

    timeouts = Timeouts(server=2, keep_alive=0.5)
    hub = stateful(hub_server, protocol=protocol, timeouts=timeouts, access_token=token)
    seen = watch(hub)
    async with hub:
        connection_id = hub.connection_id
        # The server pings every 15 s only, and says an Ack within the first: so the first silence ends before 3 s, and
        # the one after that does not begin to be one before 4 s.
        assert await hub.invoke("Delay", 3500) == 3500
        assert lines > 1
        assert hub.connection_id == connection_id
    assert seen == ["connected", "closed"]


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_an_outage_longer_than_the_window(hub_server: HubServer) -> None:
    hub = stateful(hub_server, reconnect=Retry(wait=lambda _state: 1.0), timeouts=Timeouts(connect=1.0))
    seen = watch(hub)
    async with hub:
        link = hub._life.link
        assert link is not None
        reopen, tried = link.connection.reopen, 0

        async def fails() -> None:
            nonlocal tried
            tried += 1
            if tried < 20:
                raise TransportError("no route", transport=Transport.WEBSOCKETS)
            await reopen()

        link.connection.reopen = fails  # type: ignore[method-assign]
        await hub_server.drop_transports("/hub")
        await seen.until(lambda: "reconnected" in seen)
        assert 5 < tried < 20
        assert await hub.invoke("Add", 1, 2) == 3
