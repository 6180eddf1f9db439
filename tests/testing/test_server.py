"""`HubServer`: starting and stopping on a loop and in a thread, its port, ends of connections, and `authorize`."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.raw_client import RawClient, call, until

from signalr_sdk import ConnectionClosedError, HubConnection, HubError, NegotiationError, Transport
from signalr_sdk.testing import ClassicHub, ClassicHubServer, Hub, HubServer

if TYPE_CHECKING:
    import logging


class Small(Hub):
    """A hub that records what happens.

    Attributes:
        seen: the records of all instances; each test makes a class of its own.
    """

    seen: asyncio.Queue[object]

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def user(self) -> str | None:
        return self.context.user

    async def wait(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.seen.put_nowait("cancelled")

    async def leave_note(self, key: str) -> str:
        self.context.items[key] = True
        return ",".join(self.context.items)

    async def on_disconnected(self, error: Exception | None) -> None:
        self.seen.put_nowait(error)


@pytest.fixture
def hub_class() -> type[Small]:
    return type("Own", (Small,), {"seen": asyncio.Queue()})


async def test_two_hubs_have_clients_of_their_own(hub_class: type[Small]) -> None:
    other: type[Hub] = type("Other", (hub_class,), {})
    async with (
        HubServer({"/one": hub_class, "/two/": other}) as server,
        HubConnection(server.url("/one"), reconnect=False) as one,
        HubConnection(server.url("/two"), reconnect=False) as two,
    ):
        of_one, of_two = one.messages("Event"), two.messages("Event")
        await server.clients("/one").all.send("Event", 1)
        await server.clients("/two/").others.send("Event", 2)
        assert await of_one.next() == (1,)
        assert await of_two.next() == (2,)
        with pytest.raises(RuntimeError, match="no caller"):
            _ = server.clients("/one").caller


async def test_at_the_root(hub_class: type[Small]) -> None:
    async with HubServer({"/": hub_class}) as server, HubConnection(server.url("/"), reconnect=False) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_items_live_as_long_as_the_connection(hub_class: type[Small]) -> None:
    async with HubServer({"/hub": hub_class}) as server, HubConnection(server.url("/hub"), reconnect=False) as hub:
        assert await hub.invoke("LeaveNote", "a") == "a"
        assert await hub.invoke("LeaveNote", "b") == "a,b"


# Starting and stopping


@pytest.mark.parametrize("transport", Transport)
async def test_a_server_that_stops_says_so(transport: Transport, hub_class: type[Small]) -> None:
    server = HubServer({"/hub": hub_class})
    await server.start()
    with pytest.raises(RuntimeError, match="started already"):
        await server.start()
    async with HubConnection(server.url("/hub"), transports=transport, reconnect=False) as hub:
        waiting = asyncio.create_task(hub.invoke("Wait"))
        await hub.send("Wait")
        await hub.flush()
        await server.stop()
        await server.stop()
        with pytest.raises(ConnectionClosedError):
            await waiting
        with pytest.raises(ConnectionClosedError) as caught:
            await hub.wait_closed()
        assert caught.value.allow_reconnect


async def test_a_server_starts_again_on_its_port(hub_class: type[Small]) -> None:
    server = HubServer({"/hub": hub_class})
    async with server:
        url = server.url("/hub")
        hub = HubConnection(url)
        await hub.start()
        reconnected = asyncio.Event()
        hub.on_reconnected(lambda _id: reconnected.set())
    async with server:
        assert server.url("/hub") == url
        await reconnected.wait()
        assert await hub.invoke("Add", 1, 2) == 3
        await hub.stop()


@pytest.mark.parametrize("kind", [HubServer, ClassicHubServer])
async def test_a_server_that_nobody_holds_is_freed_with_all_that_it_recorded(
    kind: type[HubServer | ClassicHubServer],
) -> None:
    async def use() -> weakref.ref[Any]:
        server: Any = kind({"hub": ClassicHub}) if kind is ClassicHubServer else kind({"/hub": Small})
        async with server, aiohttp.ClientSession() as session:
            for path in ("/hub/negotiate", "/signalr/negotiate", "/elsewhere"):
                async with session.post(server.url(path)) as answer:
                    await answer.read()
            assert server.recorded.refusals
        return weakref.ref(server)

    server = await use()
    gc.collect()
    assert server() is None


async def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HubServer({"/hub": Small}, port=taken.getsockname()[1])
        with pytest.raises(OSError, match="address already in use"):
            await server.start()


def test_a_port_in_use_is_told_to_the_caller_of_a_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HubServer({"/hub": Small}, port=taken.getsockname()[1])
        with pytest.raises(OSError, match="address already in use"), server:
            raise AssertionError


def test_in_a_thread(hub_class: type[Small]) -> None:
    async def use(url: str) -> int:
        async with HubConnection(url, reconnect=False) as hub:
            total: int = await hub.invoke("Add", 1, 2)
            return total

    before = set(threading.enumerate())  # servers of the whole run have such threads too
    with HubServer({"/hub": hub_class}) as server:
        assert "signalr_sdk server" in [thread.name for thread in {*threading.enumerate()} - before]
        assert asyncio.run(use(server.url("/hub"))) == 3
    assert "signalr_sdk server" not in [thread.name for thread in {*threading.enumerate()} - before]


async def test_no_new_connections_while_it_stops(hub_class: type[Small]) -> None:
    server = HubServer({"/hub": hub_class})
    async with server, aiohttp.ClientSession() as session:
        # Both requests use one TCP connection, so that the second one reaches a server that accepts no connections.
        async with session.post(server.url("/hub/negotiate")) as answer:
            assert answer.status == 200
        for endpoint in server._endpoints:
            await endpoint.close()
        async with session.post(server.url("/hub/negotiate")) as answer:
            assert answer.status == 503


# Ends of a connection


async def test_a_call_in_progress_is_cancelled_when_its_client_is_long_gone(
    hub_class: type[Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalr_sdk.testing.running_invocations._GRACE", 0.0)
    async with HubServer({"/hub": hub_class}) as server:
        async with HubConnection(server.url("/hub"), reconnect=False) as hub:
            await hub.send("Wait")
        assert {repr(await hub_class.seen.get()), repr(await hub_class.seen.get())} == {"None", "'cancelled'"}


async def test_a_server_that_stops_does_not_wait_for_calls_of_clients_that_are_gone(hub_class: type[Small]) -> None:
    async with HubServer({"/hub": hub_class}) as server:
        async with HubConnection(server.url("/hub"), reconnect=False) as hub:
            await hub.send("Wait")
        assert await hub_class.seen.get() is None
    assert await hub_class.seen.get() == "cancelled"


async def test_an_error_of_on_disconnected_is_logged(expected_errors: list[logging.LogRecord]) -> None:
    class Failing(Hub):
        async def on_disconnected(self, error: Exception | None) -> None:
            raise ValueError("no")

    async with HubServer({"/hub": Failing}) as server, HubConnection(server.url("/hub"), reconnect=False):
        pass
    assert "on_disconnected failed" in expected_errors[0].getMessage()


@pytest.mark.parametrize("detailed", [True, False])
async def test_an_error_of_on_connected(detailed: bool) -> None:
    class Failing(Hub):
        async def on_connected(self) -> None:
            raise ValueError("secret")

    async with (
        HubServer({"/hub": Failing}, detailed_errors=detailed) as server,
        RawClient(server.url("/hub")) as client,
    ):
        _shaken, end = await client.hear_all()
    told = " ValueError: secret" if detailed else ""
    assert end == f'{{"type":7,"error":"Connection closed with an error.{told}"}}'


async def test_a_cut_wire_is_an_error_to_the_hub(hub_class: type[Small]) -> None:
    async with HubServer({"/hub": hub_class}) as server:
        async with RawClient(server.url("/hub")) as client:
            assert await client.hear() == "{}"
            client.socket._response.connection.transport.abort()  # type: ignore[union-attr]
        assert isinstance(await hub_class.seen.get(), ConnectionClosedError)


# Authorization


def known(token: str | None) -> str | None:
    return {None: "", "ada-token": "ada"}.get(token)


async def known_later(token: str | None) -> str | None:
    await asyncio.sleep(0)
    return known(token)


@pytest.mark.parametrize("authorize", [known, known_later])
@pytest.mark.parametrize("where", ["header", "query"])
async def test_authorize(authorize: object, where: str, hub_class: type[Small]) -> None:
    async with HubServer({"/hub": hub_class}, authorize=authorize) as server:  # type: ignore[arg-type]
        url = server.url("/hub")
        async with HubConnection(url, access_token="ada-token", access_token_in=where, reconnect=False) as hub:  # type: ignore[arg-type]
            assert await hub.invoke("User") == "ada"
        async with HubConnection(url, reconnect=False) as hub:
            assert await hub.invoke("User") is None
        async with HubConnection(url, skip_negotiation=True, access_token="ada-token", reconnect=False) as hub:
            assert await hub.invoke("User") == "ada"
        with pytest.raises(NegotiationError) as caught:
            await HubConnection(url, access_token="wrong", reconnect=False).start()
        assert caught.value.status == 401


async def test_users_and_gone_clients(hub_class: type[Small]) -> None:
    async with HubServer({"/hub": hub_class}, authorize=lambda token: token) as server:
        url = server.url("/hub")
        async with HubConnection(url, access_token="ada", reconnect=False) as hub:
            events = hub.messages("Event")
            clients = server.clients("/hub")
            await clients.user("bob").send("Event", 1)
            await clients.client("nobody").send("Event", 2)
            await clients.group("none").send("Event", 3)
            await clients.user("ada").send("Event", 4)
            assert await events.next() == (4,)


async def test_groups_forget_who_has_gone() -> None:
    class Grouped(Hub):
        async def on_connected(self) -> None:
            await self.groups.add(self.context.connection_id, "all")
            await self.groups.add("nobody", "all")
            await self.groups.remove("nobody", "none")

    async with HubServer({"/hub": Grouped}) as server:
        registry = server._hubs["/hub"].registry
        async with HubConnection(server.url("/hub"), reconnect=False) as one:
            async with HubConnection(server.url("/hub"), reconnect=False):
                assert len(registry.groups["all"]) == 2
            await until(lambda: len(registry.clients) == 1)
            assert registry.groups == {"all": {one.connection_id}}
            with pytest.raises(HubError):
                await one.invoke("Missing")
        await until(lambda: not registry.clients)
        assert registry.groups == {}


async def test_errors_of_one_client_say_nothing_to_another(hub_class: type[Small]) -> None:
    async with (
        HubServer({"/hub": hub_class}) as server,
        RawClient(server.url("/hub")) as bad,
        RawClient(server.url("/hub")) as good,
    ):
        await bad.say(b"\xff\xfe\x00\x1e")
        assert len(await bad.hear_all()) == 2
        await good.say(call("Add", 1, 2))
        assert (await good.messages())[-1]["result"] == 3
