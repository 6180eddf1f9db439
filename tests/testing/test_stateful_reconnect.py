"""Stateful reconnect of the test server: message by message, and with a client that loses its connection."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.raw_client import END, RawClient, call, until
from tests.testing.faulty import AT_ONCE, Chat, server

from signalr_sdk import ConnectionClosedError, HubConnection, Timeouts, Transport
from signalr_sdk.testing import FaultProxy, HubServer, transport_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from signalr_sdk._core.replay import Replay

SHAKE_HANDS = '{"protocol":"json","version":2}' + END
PING = '{"type":6}' + END


class Events(Chat):
    """Sends many events."""

    async def flood(self, count: int) -> None:
        for number in range(count):
            await self.clients.caller.send("number", number)

    async def slowly(self, go_on: str) -> str:
        await self.clients.caller.invoke(go_on)
        return "done"


def stateful(**options: Any) -> HubServer:
    return HubServer({"/chat": Events}, **{"stateful_reconnect": True, **options})


def client(url: str, **options: Any) -> HubConnection:
    return HubConnection(url, **{"reconnect": AT_ONCE, "stateful_reconnect": True, **options})


async def negotiated(chat: HubServer, query: str = "&useStatefulReconnect=true") -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(chat.url(f"/chat/negotiate?negotiateVersion=1{query}")) as answer,
    ):
        said: dict[str, Any] = await answer.json()
        return said


async def raw_url(chat: HubServer) -> str:
    return f"{chat.url('/chat')}?id={(await negotiated(chat))['connectionToken']}"


def raw(url: str, handshake: str | None = SHAKE_HANDS) -> AbstractAsyncContextManager[RawClient]:
    return RawClient(url, handshake)


def cut(line: RawClient) -> None:
    line.socket._response.connection.transport.abort()  # type: ignore[union-attr]


async def status(url: str) -> int:
    """Return the HTTP status with which the upgrade to a WebSocket is refused."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(url)
    return caught.value.status


# Negotiation


@pytest.mark.parametrize(
    ("offered", "query", "agreed"),
    [
        (True, "&useStatefulReconnect=true", True),
        (True, "&useStatefulReconnect=false", False),
        (True, "", False),
        (False, "&useStatefulReconnect=true", False),
    ],
)
async def test_negotiation(offered: bool, query: str, agreed: bool) -> None:
    async with stateful(stateful_reconnect=offered) as chat:
        answer = await negotiated(chat, query)
    assert answer.get("useStatefulReconnect") == (True if agreed else None)


async def test_the_old_negotiation_has_none() -> None:
    async with (
        stateful() as chat,
        aiohttp.ClientSession() as session,
        session.post(chat.url("/chat/negotiate?useStatefulReconnect=true")) as answer,
    ):
        assert "useStatefulReconnect" not in await answer.json()


# Message by message, as in the exchange of Microsoft's client with ASP.NET Core


async def test_an_exchange() -> None:
    async with stateful() as chat:
        url = await raw_url(chat)
        async with raw(url, SHAKE_HANDS + PING) as one:
            await one.say(call("Add", 1, 2, name="0"), call("Flood", 3, name="1"))
            await one.hears(["{}", '{"type":3,"invocationId":"0","result":3}'])
            for number in range(3):
                await one.hears([f'{{"type":1,"target":"number","arguments":[{number}]}}'])
            await one.hears(['{"type":3,"invocationId":"1","result":null}', '{"type":8,"sequenceId":2}'])
            await one.say('{"type":8,"sequenceId":5}' + END)
            await until(lambda: not kept(chat))
            cut(one)
        async with raw(url, '{"type":9,"sequenceId":3}' + END) as two:
            await two.say(call("Add", 3, 4, name="2"), call("Say", "while away", name=None))
            await two.hears(['{"type":9,"sequenceId":6}', '{"type":3,"invocationId":"2","result":7}'])
            await two.hears(['{"type":1,"target":"said","arguments":["while away"]}', '{"type":8,"sequenceId":4}'])
            await two.say('{"type":7}' + END)
            await two.hears(['{"type":7}'])
            assert await two.hear_all() == []
            assert two.code == 1000
    assert [gone.error for gone in chat.recorded.disconnects] == [None]
    assert len(chat.recorded.connects) == 1


async def test_what_was_not_acknowledged_is_sent_again() -> None:
    async with stateful() as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            await one.say(call("Say", "a", name="1"), call("Say", "b", name="2"))
            await one.hears(["{}"])
            heard = [await one.hear() or "" for _ in range(4)]
            await one.say('{"type":8,"sequenceId":1}' + END)
            await until(lambda: kept(chat) == 3)
            cut(one)
        await chat.clients("/chat").all.send("said", "nobody hears")
        # The client repeats the second call, which the server has received before: the hub method does not run again.
        again = '{"type":9,"sequenceId":2}' + END + call("Say", "b", name="2") + call("Add", 1, 1, name="3")
        async with raw(url, again) as two:
            await two.hears(['{"type":9,"sequenceId":2}', *heard[1:]])
            await two.hears(['{"type":1,"target":"said","arguments":["nobody hears"]}'])
            await two.hears(['{"type":3,"invocationId":"3","result":2}'])
    assert [call.method for call in chat.recorded.calls] == ["Say", "Say", "Add"]


def kept(chat: HubServer) -> int:
    """Return how many messages to the client are not acknowledged."""
    return replay_of(chat).kept


def replay_of(chat: HubServer) -> Replay:
    (connected,) = chat._hubs["/chat"].registry.clients.values()
    assert connected._session.replay is not None
    return connected._session.replay


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ('{"type":9,"sequenceId":7}', "the other side goes on with message 7, but 1 is the next to come"),
        ('{"type":8,"sequenceId":7}', "the other side acknowledges message 7, but only 0 were sent"),
    ],
)
async def test_claims_that_cannot_be(claim: str, said: str) -> None:
    async with stateful(detailed_errors=True) as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            assert await one.hear() == "{}"
            cut(one)
        async with raw(url, claim + END) as two:
            assert await two.hear() == '{"type":9,"sequenceId":1}'
            end = json.loads((await two.hear_all())[-1])
        assert said in end["error"]
        assert end["allowReconnect"]
        assert await status(url) == 404


# Several WebSockets


async def test_a_second_one_replaces_the_first() -> None:
    async with stateful() as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            assert await one.hear() == "{}"
            hearing = asyncio.create_task(one.hear_all())
            async with raw(url, '{"type":9,"sequenceId":1}' + END + call("Add", 1, 2)) as two:
                await two.hears(['{"type":9,"sequenceId":1}', '{"type":3,"invocationId":"1","result":3}'])
                assert await hearing == []
                assert one.code == 1000
                cut(two)
                async with raw(url, '{"type":9,"sequenceId":2}' + END) as three:
                    await three.hears(['{"type":9,"sequenceId":1}', '{"type":3,"invocationId":"1","result":3}'])
    assert len(chat.recorded.connects) == 1


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits 0.3 s, and not 5 s, for the close of an old WebSocket."""
    monkeypatch.setattr(transport_connection, "_CLOSE_TIMEOUT", 0.3)


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize("fault", ["lost by the proxy", "lost by the server", "held by the proxy"])
async def test_the_first_does_not_answer_any_more(fault: str) -> None:
    """As ASP.NET Core does: it waits, accepts the new WebSocket, and ends it and the connection."""
    async with stateful() as chat, FaultProxy(chat.port) as proxy:
        token = (await negotiated(chat))["connectionToken"]
        async with raw(f"{proxy.url('/chat')}?id={token}") as one:
            assert await one.hear() == "{}"
            if fault == "lost by the server":
                assert chat.faults.lose_line() == 1
            elif fault == "lost by the proxy":
                assert proxy.lose_line() == 1
            else:
                proxy.stall()
            began = asyncio.get_running_loop().time()
            async with raw(f"{chat.url('/chat')}?id={token}", '{"type":9,"sequenceId":1}' + END) as two:
                assert asyncio.get_running_loop().time() - began > 0.25
                assert await two.hear_all() == []
            assert await status(f"{chat.url('/chat')}?id={token}") == 404
            proxy.cut()
    (gone,) = chat.recorded.disconnects
    assert "did not end" in str(gone.error)


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize("by", ["proxy", "server"])
async def test_a_client_whose_line_died_without_a_word_reconnects(by: str) -> None:
    """The resume is accepted and ended, and the next one refused, so an ordinary reconnect follows."""
    async with stateful(keep_alive=0.1) as chat, FaultProxy(chat.port) as proxy:
        async with client(proxy.url("/chat"), timeouts=Timeouts(server=0.5, keep_alive=0.2)) as hub:
            first = hub.connection_id
            reconnecting: asyncio.Queue[object] = asyncio.Queue()
            hub.on_reconnecting(reconnecting.put_nowait)
            pending = asyncio.create_task(hub.invoke("Slowly", "go on"))
            await chat.wait_called("Slowly")
            (proxy if by == "proxy" else chat.faults).lose_line()
            with pytest.raises(ConnectionClosedError):
                await pending
            await asyncio.wait_for(reconnecting.get(), 5)
            await until(lambda: hub.connection_id not in (None, first))
            assert await hub.invoke("Add", 1, 2) == 3
        proxy.cut()


async def test_a_server_notices_a_dead_line_by_the_timeout_of_its_client() -> None:
    async with stateful(client_timeout=0.5) as chat:
        async with raw(await raw_url(chat)) as one:
            assert await one.hear() == "{}"
            await one.say(PING, call("Add", 1, 2))
            await one.hears(['{"type":3,"invocationId":"1","result":3}'])
            chat.faults.lose_line()
            await one.say(call("Add", 1, 2))
            cut(one)
            await chat.wait_disconnected()
        assert len(chat.recorded.calls) == 1


@pytest.mark.parametrize("handshake", [None, '{"protocol":"json","version":1}' + END])
async def test_without_version_2_it_ends_with_its_web_socket(handshake: str | None) -> None:
    async with stateful() as chat:
        url = await raw_url(chat)
        async with raw(url, handshake) as one:
            if handshake:
                assert await one.hear() == "{}"
            assert await status(url) == 409
            cut(one)
        await until(lambda: not chat._connections())
        assert await status(url) == 404


async def test_not_stateful_is_409() -> None:
    async with stateful() as chat:
        url = f"{chat.url('/chat')}?id={(await negotiated(chat, ''))['connectionToken']}"
        async with raw(url) as one:
            assert await one.hear() == "{}"
            assert await status(url) == 409


async def test_a_connection_that_was_closed_is_404() -> None:
    async with stateful() as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            assert await one.hear() == "{}"
            await one.socket.close()
            await until(lambda: not chat._connections())
        assert await status(url) == 404


async def test_the_window_is_over() -> None:
    async with stateful(stateful_window=0.05) as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            assert await one.hear() == "{}"
            cut(one)
        gone = await chat.wait_disconnected()
        assert isinstance(gone.error, ConnectionClosedError)
        assert await status(url) == 404


async def test_the_server_stops_while_it_is_lost() -> None:
    async with stateful() as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            assert await one.hear() == "{}"
            cut(one)
            await until(lambda: not chat._connections()[0].web_socket)
    assert [gone.error for gone in chat.recorded.disconnects] == [None]


async def test_a_refused_resume() -> None:
    async with stateful() as chat, client(chat.url("/chat")) as hub:
        first = hub.connection_id
        fault = chat.faults.refuse(404, at="resume", times=1)
        chat.faults.cut()
        await until(lambda: hub.connection_id not in (None, first))
        assert fault.happened == 1
        assert await hub.invoke("Add", 1, 2) == 3
        second = hub.connection_id
        chat.faults.forget()
        chat.faults.cut()
        await until(lambda: hub.connection_id not in (None, second))


# Nothing is lost


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_cuts_while_everything_goes_on(protocol: str) -> None:
    async def numbers(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            await asyncio.sleep(0)

    async with stateful() as chat, client(chat.url("/chat"), protocol=protocol) as hub:
        lost: list[object] = []
        hub.on_reconnecting(lost.append)
        hub.on("go", lambda: asyncio.sleep(0))
        first = hub.connection_id
        events = hub.messages("number", buffer=5000)
        async with asyncio.TaskGroup() as group:
            group.create_task(hub.invoke("Flood", 2000))
            sums = [group.create_task(hub.invoke("Add", n, n)) for n in range(100)]
            slow = group.create_task(hub.invoke("Slowly", "go"))
            for wanted in range(2000):
                assert await events.next(timeout=5) == (wanted,)
                if wanted % 400 == 0:
                    assert chat.faults.cut() == 1
        assert [task.result() for task in sums] == [2 * n for n in range(100)]
        assert slow.result() == "done"
        assert (hub.connection_id, lost) == (first, [])
    assert len(chat.recorded.connects) == 1
    assert len(chat.recorded.calls) == 102


@pytest.mark.timeout(60)
@pytest.mark.parametrize("protocol", ["json", "messagepack"])
@pytest.mark.parametrize("piece", [None, 3])
async def test_a_cut_at_each_byte_of_some_answers(protocol: str, piece: int | None) -> None:
    async with (
        stateful() as chat,
        FaultProxy(chat.port, piece=piece) as proxy,
        client(proxy.url("/chat"), protocol=protocol) as hub,
    ):
        first = hub.connection_id
        said = hub.messages("said")
        for byte in range(60):
            proxy.cut_after(byte, "up" if byte % 2 else "down")
            assert await hub.invoke("Say", str(byte)) == str(byte)
            assert await said.next(timeout=5) == (str(byte),)
        assert hub.connection_id == first
    assert [call.arguments for call in chat.recorded.calls_of("Say")] == [(str(byte),) for byte in range(60)]


async def test_the_hub_waits_when_too_much_is_kept() -> None:
    async with stateful(stateful_buffer=200) as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            await one.say(call("Flood", 50))
            assert await one.hear() == "{}"
            heard = [await one.hear() for _ in range(6)]
            cut(one)
            await until(lambda: not chat._connections()[0].web_socket)
            assert -60 < replay_of(chat).room <= 0
        acknowledged = 0
        async with raw(url, '{"type":9,"sequenceId":2}' + END) as two:
            assert await two.hear() == '{"type":9,"sequenceId":1}'
            numbers: list[int] = []
            while len(numbers) < 50:
                record = json.loads(await two.hear() or "")
                if record["type"] == 1:
                    numbers.append(record["arguments"][0])
                    acknowledged += 1
                    await two.say(f'{{"type":8,"sequenceId":{acknowledged}}}' + END)
            assert numbers == list(range(50))
        assert len(heard) == 6


async def test_a_hub_that_waits_is_freed_when_the_window_is_over() -> None:
    async with stateful(stateful_buffer=200, stateful_window=0.05) as chat:
        url = await raw_url(chat)
        async with raw(url) as one:
            await one.say(call("Flood", 100_000))
            assert await one.hear() == "{}"
            cut(one)
        await chat.wait_disconnected()
    assert len(chat.recorded.calls) == 1


async def test_no_timer_is_asked_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop's event loop makes a handle without `when` for a timer that is due at once."""
    monkeypatch.delattr(asyncio.TimerHandle, "when")
    async with stateful() as chat, client(chat.url("/chat")) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_other_transports_are_as_ever() -> None:
    async with stateful() as chat:
        for transport in (Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING):
            async with client(chat.url("/chat"), transports=transport) as hub:
                assert await hub.invoke("Add", 1, 2) == 3
        async with server() as plain, client(plain.url("/chat")) as hub:
            first = hub.connection_id
            plain.faults.cut()
            await until(lambda: hub.connection_id not in (None, first))
