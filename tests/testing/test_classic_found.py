"""What reviews have found in `ClassicHubServer`, each in a test that failed then."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from tests.classic_wire import wire

from signalr_sdk import NegotiationError, Transport
from signalr_sdk.classic import HubConnection, PersistentConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer, HubServer, RawHandler


@pytest.mark.parametrize("path", ["/", "/signalr/", "/SignalR"])
async def test_a_path_with_a_slash_at_the_end(path: str) -> None:
    async with ClassicHubServer({"Chat": ClassicHub}, path=path, raw={"/Raw/": RawHandler}) as server:
        connection = HubConnection(server.url())
        connection.hub("Chat")
        async with connection, PersistentConnection(server.url("/Raw/")):
            pass
        with server.faults.answer("negotiate", 418, path="/Raw/"), pytest.raises(NegotiationError, match="418"):
            await PersistentConnection(server.url("/Raw/")).start()


async def test_a_request_that_was_held_makes_no_connection_after_the_end() -> None:
    loop = asyncio.get_running_loop()
    disconnected: list[bool] = []

    class Chat(ClassicHub):
        async def on_disconnected(self, stop_called: bool) -> None:
            disconnected.append(stop_called)

    server = ClassicHubServer({"Chat": Chat}, disconnect=30.0)
    async with server, wire(server, Transport.WEBSOCKETS, "Chat") as client:
        await client.start()
        with server.faults.hang("reconnect") as fault:
            again = asyncio.ensure_future(client.reconnect())
            while not fault.happened:  # noqa: ASYNC110 - the fault tells nobody
                await asyncio.sleep(0.01)
            before = loop.time()
            await server.stop()
            assert loop.time() - before < 1.5  # not the two seconds for which it waits for requests
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            await again
        assert server._life.connections == {}
        assert disconnected == []


@pytest.mark.parametrize(
    "options",
    [
        {"content_type": "application/json; charset=UTF-8"},
        {"headers": {"content-type": "application/json; charset=UTF-8", "X-A": "1"}},
    ],
)
async def test_an_answer_with_a_charset(options: dict[str, Any]) -> None:
    async with ClassicHubServer({"Chat": ClassicHub}) as server, aiohttp.ClientSession() as session:
        server.faults.answer("negotiate", 418, '{"a":"é"}', **options)
        async with session.get(f"{server.url()}/negotiate") as response:
            assert (response.status, await response.text()) == (418, '{"a":"é"}')
            assert response.headers["Content-Type"] == "application/json; charset=UTF-8"


async def test_a_hub_method_that_is_cancelled_once_can_clean_up() -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    class Chat(ClassicHub):
        async def work(self) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                cleaned.set()

    async with ClassicHubServer({"Chat": Chat}) as server, wire(server, Transport.WEBSOCKETS, "Chat") as client:
        await client.start()
        await client.send('{"H":"Chat","M":"Work","A":[],"I":1}')
        await begun.wait()
        await server.stop()
        assert cleaned.is_set()


async def test_true_is_another_value_than_one() -> None:
    class Chat(ClassicHub):
        async def change(self) -> None:
            self.clients.caller.state["flag"] = True

    async with ClassicHubServer({"Chat": Chat}) as server, wire(server, Transport.WEBSOCKETS, "Chat") as client:
        await client.start()
        assert (await client.call("Change", state={"flag": 1}))["S"] == {"flag": True}


async def test_each_text_that_is_pushed_reaches_a_client_that_polls() -> None:
    async with ClassicHubServer({"Chat": ClassicHub}) as server, wire(server, Transport.LONG_POLLING, "Chat") as client:
        await client.start()
        polling = asyncio.ensure_future(client.envelope())
        while not any(connection.feed is not None for connection in server._connections()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for number in (1, 2, 3):
            server.faults.push(f'{{"C":"d-1","M":[{number}]}}')
        assert [(await polling)["M"], (await client.envelope())["M"], (await client.envelope())["M"]] == [[1], [2], [3]]


async def test_a_poll_whose_answer_was_swallowed_ends_with_the_transport() -> None:
    async with ClassicHubServer({"Chat": ClassicHub}) as server, wire(server, Transport.LONG_POLLING, "Chat") as client:
        await client.start()
        polling = asyncio.ensure_future(client.get("poll", "POST"))
        while not any(connection.feed is not None for connection in server._connections()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        with server.faults.silence():
            await server.send("Chat", "lost")
            await asyncio.sleep(0)
            server.faults.drop("close")
            assert (await asyncio.wait_for(polling, 5))[1].strip() == ""


@pytest.mark.parametrize("paths", [{"path": "signalr"}, {"raw": {"raw": RawHandler}}])
def test_a_path_without_a_slash(paths: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a path begins with a slash"):
        ClassicHubServer({"Chat": ClassicHub}, **paths)


@pytest.mark.parametrize("hub", [ClassicHub(), 5, str])
def test_what_is_no_hub_class(hub: Any) -> None:
    for server in (ClassicHubServer, HubServer):
        with pytest.raises(TypeError, match="must derive from"):
            server({"/chat": hub})


def test_a_classic_hub_is_for_the_classic_server() -> None:
    hubs: dict[str, Any] = {"/chat": ClassicHub}
    with pytest.raises(TypeError, match="ClassicHub must derive from Hub"):
        HubServer(hubs)
