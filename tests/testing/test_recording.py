"""`HubServer.recorded`, and waiting for records."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest
from tests.raw_client import RawClient, call
from tests.testing.faulty import COMBINATIONS, client, server

from signalr_sdk import ConnectionClosedError, HubConnection, HubError, Transport
from signalr_sdk.testing import RecordedCall, RecordedConnect, recording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalr_sdk.testing import HubServer


@pytest.fixture
async def chat() -> AsyncIterator[HubServer]:
    async with server(authorize=lambda token: token or "") as started:
        yield started


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
async def test_calls_connects_and_disconnects(transport: Transport, protocol: str, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport, protocol=protocol, access_token="ada") as hub:
        connection_id = hub.connection_id or ""
        await hub.invoke("Say", "grüße")
        with pytest.raises(HubError):
            await hub.invoke("Missing", {"a": [1]}, None)
        async with hub.stream("Counter", 1) as numbers:
            assert [number async for number in numbers] == [0]
        async with HubConnection(chat.url("/chat"), reconnect=False) as other:
            await other.send("add", 1, 2)
            second = await chat.wait_called("Add")
        assert second == RecordedCall("add", (1, 2), other.connection_id or second.connection_id, None)
    recorded = chat.recorded
    assert recorded.connects[0] == RecordedConnect("/chat", connection_id, "ada", transport)
    assert [(c.method, c.arguments) for c in recorded.calls if c.user == "ada"] == [
        ("Say", ("grüße",)),
        ("Missing", ({"a": [1]}, None)),
        ("Counter", (1,)),
    ]
    await chat.wait_disconnected(times=2)
    assert {gone.connection_id for gone in recorded.disconnects} == {c.connection_id for c in recorded.connects}
    assert [gone.error for gone in recorded.disconnects] == [None, None]


async def test_streams_of_a_client_are_counted(chat: HubServer) -> None:
    async with RawClient(chat.url("/chat")) as raw:
        await raw.say(call("Add", 1, streamIds=["7", "8"]))
        recorded = await chat.wait_called("Add")
    assert (recorded.arguments, recorded.streams) == ((1,), 2)


async def test_the_reason_of_a_disconnect(chat: HubServer) -> None:
    async with RawClient(chat.url("/chat")) as raw:
        await chat.wait_connected()
        chat.faults.cut()
        gone = await chat.wait_disconnected()
        assert isinstance(gone.error, ConnectionClosedError)
        assert await raw.hear_all() in ([], ["{}"])


async def test_negotiations_without_secrets(chat: HubServer) -> None:
    headers = {"Authorization": "Bearer hush", "Cookie": "a=hush", "X-Mine": "seen"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(chat.url("/chat/negotiate?negotiateVersion=1&access_token=hush&room=1")) as answer,
    ):
        assert answer.status == 200
    (negotiation,) = chat.recorded.negotiations
    assert (negotiation.path, negotiation.user) == ("/chat", "hush")
    shown = {name: negotiation.headers[name] for name in ("authorization", "cookie", "x-mine")}
    assert shown == {"authorization": "(hidden)", "cookie": "(hidden)", "x-mine": "seen"}
    assert negotiation.query == {"negotiateVersion": "1", "access_token": "(hidden)", "room": "1"}


async def test_waiting_for_what_comes_later(chat: HubServer) -> None:
    async with client(chat.url("/chat")) as hub:
        both = asyncio.gather(chat.wait_called("SAY", times=2), chat.wait_called("say"))
        await hub.send("Say", "one")
        await hub.send("Say", "two")
        second, first = await both
        assert (first.arguments, second.arguments) == (("one",), ("two",))
        chat.recorded.clear()
        assert (chat.recorded.calls, chat.recorded.connects, chat.recorded.negotiations) == ([], [], [])
        waiting = asyncio.ensure_future(chat.wait_called("Say", timeout=None))
        await asyncio.sleep(0)
        waiting.cancel()
        await hub.invoke("Add", 1, 2)
        assert len(chat.recorded.calls_of("A_D_D")) == 1


async def test_what_does_not_come(chat: HubServer) -> None:
    with pytest.raises(TimeoutError, match=r"'Say' was called 0 and not 1 times in 0.01 s; called were: nothing"):
        await chat.wait_called("Say", timeout=0.01)
    async with client(chat.url("/chat")) as hub:
        await hub.invoke("Add", 1, 2)
        with pytest.raises(TimeoutError, match=r"'Add' was called 1 and not 2 times in 0.01 s; called were: Add"):
            await chat.wait_called("Add", times=2, timeout=0.01)
    with pytest.raises(TimeoutError, match="1 and not 3 clients have connected"):
        await chat.wait_connected(times=3, timeout=0.01)
    with pytest.raises(TimeoutError, match="and not 3 clients have gone"):
        await chat.wait_disconnected(times=3, timeout=0.01)


async def test_only_so_much_is_kept(chat: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_RECORDS", 3)
    async with client(chat.url("/chat")) as hub:
        for number in range(5):
            await hub.invoke("Add", number, 0)
        assert [c.arguments[0] for c in chat.recorded.calls] == [2, 3, 4]
        monkeypatch.setattr(recording, "_BYTES", 1000)
        await hub.invoke("Say", "x" * 2000)
        assert [c.method for c in chat.recorded.calls] == ["Say"]
        await hub.invoke("Add", 1, 1)
        assert [c.method for c in chat.recorded.calls] == ["Add"]


def test_in_a_thread() -> None:
    async def use(url: str) -> None:
        async with HubConnection(url, reconnect=False) as hub:
            await hub.invoke("Say", "hello")

    with server() as chat:
        user = threading.Thread(target=lambda: asyncio.run(use(chat.url("/chat"))))
        user.start()
        assert chat.wait_called("Say").result().arguments == ("hello",)
        assert chat.wait_connected().result().path == "/chat"
        assert chat.wait_disconnected().result().error is None
        user.join()
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="'Say' was called 1 and not 2 times"):
            chat.wait_called("Say", times=2, timeout=0.02).result()
        assert time.monotonic() - began >= 0.02
