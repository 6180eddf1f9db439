"""`HubServer.faults`: each fault, as a client sees it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.raw_client import END, SHAKE_HANDS, RawClient, call, until
from tests.testing.faulty import AT_ONCE, COMBINATIONS, client, server

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HandshakeError,
    HubConnection,
    NegotiationError,
    ServerTimeoutError,
    Timeouts,
    Transport,
)
from signalr_sdk.testing.tcp_listener import drop_tcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalr_sdk.testing import HubServer


@pytest.fixture
async def chat() -> AsyncIterator[HubServer]:
    async with server() as started:
        yield started


async def back(hub: HubConnection, lost: str | None) -> None:
    """Wait until the client has another connection."""
    await until(lambda: hub.connection_id not in (None, lost))


# Cutting


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_wire(transport: Transport, protocol: str, reset: bool, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport, protocol=protocol) as hub:
        lost = hub.connection_id
        await hub.invoke("Add", 1, 2)
        assert chat.faults.cut(reset=reset) == 1
        await back(hub, lost)
        assert await hub.invoke("Say", "back") == "back"
    # With long polling the server does not know yet that the client has gone.
    known = transport is not Transport.LONG_POLLING
    assert (lost in [gone.connection_id for gone in chat.recorded.disconnects]) is known


async def test_only_one_is_cut(chat: HubServer) -> None:
    async with client(chat.url("/chat")) as one, client(chat.url("/chat")) as other:
        lost, kept = one.connection_id, other.connection_id
        assert chat.faults.cut("nobody") == 0
        assert chat.faults.cut(lost) == 1
        await back(one, lost)
        assert other.connection_id == kept
        assert chat.faults.cut() == 2


async def test_a_poll_that_is_not_there_yet_is_cut(chat: HubServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, chat)
        assert chat.faults.cut() == 0  # no transport has connected
        async with session.get(url) as answer:
            assert answer.status == 200
        assert chat.faults.cut() == chat.faults.cut() == 1  # twice, since aiohttp repeats the request
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(url)


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011])
async def test_close_codes(code: int, chat: HubServer) -> None:
    async with RawClient(chat.url("/chat")) as raw:
        assert await raw.hear() == "{}"
        chat.faults.cut(code=code)
        assert await raw.hear_all() == []
        assert raw.code == code


@pytest.mark.parametrize("transport", Transport)
async def test_an_end_in_good_order_without_a_close_message(transport: Transport, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport, reconnect=False) as hub:
        chat.faults.cut(code=1011)
        with pytest.raises(ConnectionClosedError):
            await hub.wait_closed()
    (gone,) = chat.recorded.disconnects
    assert gone.error is None


@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize(("error", "allow"), [(None, False), (None, True), ("no more", False), ("later", True)])
async def test_close_messages(transport: Transport, error: str | None, allow: bool, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport, reconnect=False) as hub:
        assert chat.faults.close(hub.connection_id, error=error, allow_reconnect=allow) == 1
        if error is None and not allow:
            await hub.wait_closed()
        else:
            with pytest.raises(ConnectionClosedError) as caught:
                await hub.wait_closed()
            assert (caught.value.reason, caught.value.allow_reconnect) == (error, allow)


async def test_before_the_handshake_there_is_no_close_message(chat: HubServer) -> None:
    fault = chat.faults.stall("handshake")
    starting = asyncio.create_task(client(chat.url("/chat")).start())
    await until(lambda: fault.happened)
    chat.faults.close(allow_reconnect=True)
    with pytest.raises(HandshakeError, match="the server closed the connection before it answered"):
        await starting


# Refusing


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_negotiate_is_refused_so_many_times(status: int, chat: HubServer) -> None:
    fault = chat.faults.refuse(status, times=2)
    for _ in range(2):
        with pytest.raises(NegotiationError) as caught:
            await client(chat.url("/chat")).start()
        assert caught.value.status == status
    async with client(chat.url("/chat")) as hub:
        assert await hub.invoke("Add", 1, 2) == 3
    assert fault.happened == 2


async def test_retry_after(chat: HubServer) -> None:
    with chat.faults.refuse(429, retry_after=7) as fault, pytest.raises(NegotiationError) as caught:
        await client(chat.url("/chat")).start()
    assert (caught.value.retry_after, fault.happened) == (7, 1)
    async with client(chat.url("/chat")):
        pass


async def test_one_transport_is_refused(chat: HubServer) -> None:
    chat.faults.refuse(403, at="connect", transport="WebSockets")
    async with HubConnection(chat.url("/chat")) as hub:
        assert hub.transport is Transport.SERVER_SENT_EVENTS
    chat.faults.refuse(403, at="connect", transport=Transport.SERVER_SENT_EVENTS)
    async with HubConnection(chat.url("/chat")) as hub:
        assert hub.transport is Transport.LONG_POLLING
    chat.faults.refuse(403, at="connect")
    with pytest.raises(ConnectionFailedError) as caught:
        await HubConnection(chat.url("/chat")).start()
    assert len(caught.value.attempts) == 3
    chat.faults.clear()
    async with HubConnection(chat.url("/chat")) as hub:
        assert hub.transport is Transport.WEBSOCKETS


@pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING])
async def test_posts_are_refused(transport: Transport, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport) as hub:
        lost = hub.connection_id
        fault = chat.faults.refuse(500, at="post", times=1)
        with pytest.raises(ConnectionClosedError):
            await hub.invoke("Add", 1, 2)
        await back(hub, lost)
        assert await hub.invoke("Add", 1, 2) == 3
        assert fault.happened == 1


async def test_polls_are_refused_for_one_connection(chat: HubServer) -> None:
    async with client(chat.url("/chat"), "LongPolling") as one, client(chat.url("/chat"), "LongPolling") as other:  # type: ignore[arg-type]
        lost, kept = one.connection_id, other.connection_id
        chat.faults.refuse(500, at="poll", connection_id=lost)
        await other.invoke("Say", "hello")  # the event ends the open polls of both clients
        await back(one, lost)
        assert other.connection_id == kept


async def test_a_fresh_token_after_401(chat: HubServer) -> None:
    tokens = iter("abcdefgh")
    faults = [chat.faults.refuse(401, at=at, times=1) for at in ("negotiate", "connect", "post", "poll")]
    async with client(chat.url("/chat"), Transport.LONG_POLLING, access_token=lambda: next(tokens)) as hub:
        assert await hub.invoke("Add", 1, 2) == 3
    assert [fault.happened for fault in faults] == [1, 1, 1, 1]


async def test_all_requests_are_refused(chat: HubServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, chat)
        with chat.faults.refuse(418, at=None):
            for method in ("get", "post", "delete"):
                async with session.request(method, url) as answer:
                    assert (answer.status, await answer.text()) == (418, "refused by the test server: 418")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda faults: faults.refuse(200), "status"),
        (lambda faults: faults.refuse(at="handshake"), "no such place for this fault: handshake; there are connect, "),
        (lambda faults: faults.refuse(at=()), "no such place for this fault: nothing"),
        (lambda faults: faults.stall(at="ping"), "no such place for this fault: ping"),
        (lambda faults: faults.refuse(transport="Carrier"), "Carrier"),
        (lambda faults: faults.refuse(times=0), "times must be at least 1, not 0"),
        (lambda faults: faults.delay(-1), "seconds"),
        (lambda faults: faults.split(0), "size"),
        (lambda faults: faults.join(0), "writes"),
    ],
)
def test_what_is_no_fault(wrong: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        wrong(server().faults)


# Dropping requests, closing the port


async def test_negotiate_answers_are_dropped(chat: HubServer) -> None:
    fault = chat.faults.drop(times=2)
    async with client(chat.url("/chat"), retry_start=AT_ONCE) as hub:
        assert await hub.invoke("Add", 1, 2) == 3
    assert fault.happened == 2


@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize("at", ["connect", "handshake", "frame out", "frame in"])
async def test_a_line_that_is_dropped_on_the_way(at: str, transport: Transport, chat: HubServer) -> None:
    if (at, transport) == ("handshake", Transport.LONG_POLLING):
        at = "poll"  # the handshake has no TCP connection of its own
    fault = chat.faults.drop(at=at, times=1)
    async with client(chat.url("/chat"), transport, retry_start=AT_ONCE) as hub:
        assert await hub.invoke("Add", 1, 2) == 3
    assert fault.happened == 1


async def test_an_answer_without_data_to_a_poll_uses_up_no_fault_of_frames() -> None:
    async with server(poll_timeout=0.01) as chat, aiohttp.ClientSession() as session:
        url = await negotiated(session, chat)
        fault = chat.faults.drop(at="frame out", times=1)
        for _ in range(3):
            async with session.get(url) as answer:
                assert await answer.read() == b""
        assert fault.happened == 0
        async with session.post(url, data=SHAKE_HANDS) as answer:
            assert answer.status == 200
        async with session.get(url):  # aiohttp repeats the request that is dropped
            assert fault.happened == 1


async def test_a_closed_port(chat: HubServer) -> None:
    url = chat.url("/chat")
    async with client(url) as hub:
        with chat.faults.close_port(), pytest.raises(ConnectionFailedError, match=r"(?i)refused|connect"):
            await client(url).start()
        async with client(url) as other:
            assert await other.invoke("Add", 1, 2) == 3
        assert await hub.invoke("Add", 1, 2) == 3
    with chat.faults.close_port(), chat.faults.close_port() as second:
        second.end()
        second.end()
        with pytest.raises(ConnectionFailedError):
            await client(url).start()
    # Open and close the port again, within one turn of the event loop.
    chat.faults.close_port().end()
    chat.faults.close_port()
    with pytest.raises(ConnectionFailedError):
        await client(url).start()
    chat.faults.clear()
    async with client(url):
        pass


async def test_a_closed_port_closes_idle_connections(chat: HubServer) -> None:
    async with aiohttp.ClientSession() as session:
        await negotiated(session, chat)
        with chat.faults.close_port(), pytest.raises(aiohttp.ClientError):
            await negotiated(session, chat)
        await negotiated(session, chat)


# Holding and delaying


@pytest.mark.parametrize("at", ["negotiate", "connect", "handshake"])
@pytest.mark.parametrize("transport", Transport)
async def test_a_start_that_stalls(at: str, transport: Transport, chat: HubServer) -> None:
    fault = chat.faults.stall(at, times=1)
    unlucky = client(chat.url("/chat"), transport)
    starting = asyncio.create_task(unlucky.start())
    await until(lambda: fault.happened)
    # The fault holds only the first start.
    async with client(chat.url("/chat"), transport):
        assert not starting.done()
    fault.end()
    await starting
    assert await unlucky.invoke("Add", 1, 2) == 3
    await unlucky.stop()


@pytest.mark.parametrize("at", ["negotiate", "connect", "handshake"])
async def test_a_client_that_gives_up_a_stalled_start(at: str, chat: HubServer) -> None:
    fault = chat.faults.stall(at)
    hub = client(chat.url("/chat"))
    starting = asyncio.create_task(hub.start())
    await until(lambda: fault.happened)
    await hub.stop()
    with pytest.raises(ConnectionClosedError):
        await starting
    await until(lambda: not [c for c in chat._connections() if c.client])
    assert chat.recorded.connects == []


async def test_a_server_stops_while_clients_are_stalled() -> None:
    async with aiohttp.ClientSession() as session:
        async with server() as chat:
            fault = chat.faults.stall()
            asking = asyncio.create_task(session.post(chat.url("/chat/negotiate")))
            await until(lambda: fault.happened)
        async with await asking as answer:
            assert answer.status == 503


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
async def test_a_frozen_connection(transport: Transport, protocol: str, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport, protocol=protocol) as hub, client(chat.url("/chat")) as other:
        kept = hub.connection_id
        said = hub.messages("said")
        with chat.faults.freeze(kept):
            asked = asyncio.create_task(hub.invoke("Add", 1, 2))
            await other.invoke("Say", "cold")
            await other.invoke("Say", "warm")
            assert not asked.done()
            with pytest.raises(TimeoutError):
                await said.next(timeout=0.01)
        assert [await said.next(), await said.next()] == [("cold",), ("warm",)]
        assert await asked == 3
        assert hub.connection_id == kept


async def test_a_frozen_server_is_noticed(chat: HubServer) -> None:
    lost: list[Exception | None] = []
    async with client(chat.url("/chat"), timeouts=Timeouts(server=0.2, keep_alive=0.05)) as hub:
        hub.on_reconnecting(lost.append)
        first = hub.connection_id
        chat.faults.freeze(first)
        await back(hub, first)
    assert isinstance(lost[0], ServerTimeoutError)


async def test_no_pings() -> None:
    async with server(keep_alive=0.01) as chat, RawClient(chat.url("/chat")) as raw:
        await raw.hears(["{}", '{"type":6}'])
        with chat.faults.stop_pings() as fault:
            await until(lambda: fault.happened > 3)
            await raw.say(call("Add", 1, 2))
            heard = [await raw.hear()]
            while heard[-1] == '{"type":6}':  # pings that were sent before the fault
                heard.append(await raw.hear())
            assert json.loads(heard[-1] or "")["result"] == 3
        assert await raw.hear() == '{"type":6}'
        other = chat.faults.stop_pings("nobody")
        await raw.hears(['{"type":6}', '{"type":6}'])
        assert other.happened == 0


async def test_a_delay(chat: HubServer) -> None:
    async with client(chat.url("/chat")) as hub:
        loop = asyncio.get_running_loop()
        with chat.faults.delay(0.05, at=("frame in", "frame out")) as fault:
            began = loop.time()
            assert await hub.invoke("Add", 1, 2) == 3
            assert loop.time() - began >= 0.09  # the clock of uvloop has milliseconds
        assert fault.happened >= 2
    with chat.faults.delay(0.05, times=1), chat.faults.refuse(503, times=1):
        began = loop.time()
        with pytest.raises(NegotiationError):
            await client(chat.url("/chat")).start()
        assert loop.time() - began >= 0.04


# Frames


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
@pytest.mark.parametrize("size", [1, 7])
async def test_pieces(transport: Transport, protocol: str, size: int, chat: HubServer) -> None:
    chat.faults.split(size)
    async with client(chat.url("/chat"), transport, protocol=protocol) as hub:
        said = hub.messages("said")
        assert await hub.invoke("Say", "räksmörgås 🦐") == "räksmörgås 🦐"
        assert await said.next() == ("räksmörgås 🦐",)
        async with hub.stream("Counter", 3) as numbers:
            assert [number async for number in numbers] == [0, 1, 2]


async def test_the_sizes_of_pieces(chat: HubServer) -> None:
    fault = chat.faults.split(4, transport="WebSockets", times=1)
    async with RawClient(chat.url("/chat"), '{"protocol":"xml","version":1}' + END) as raw:
        frames = [message.data async for message in raw.socket]
    assert "".join(frames) == '{"error":"The protocol \'xml\' is not supported."}' + END
    assert {len(frame) for frame in frames[:-1]} == {4}
    assert fault.happened == 1
    async with RawClient(chat.url("/chat"), '{"protocol":"xml","version":1}' + END) as raw:
        assert len([message.data async for message in raw.socket]) == 1


@pytest.mark.parametrize("transport", Transport)
async def test_joined_frames(transport: Transport, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport) as hub, client(chat.url("/chat")) as other:
        said = hub.messages("said")
        fault = chat.faults.join(3, connection_id=hub.connection_id)
        await other.invoke("Say", "1")
        await other.invoke("Say", "2")
        with pytest.raises(TimeoutError):
            await said.next(timeout=0.01)
        await other.invoke("Say", "3")
        assert [await said.next() for _ in range(3)] == [("1",), ("2",), ("3",)]
        assert fault.happened == 1
        await other.invoke("Say", "4")
        fault.end()
        assert await said.next() == ("4",)


async def test_joined_in_one_frame(chat: HubServer) -> None:
    with chat.faults.join(3):
        async with RawClient(chat.url("/chat"), SHAKE_HANDS + call("Add", 1, 2)) as raw:
            await raw.say(call("Add", 3, 4, name="2"))
            message = await raw.socket.receive(5)
    records = message.data.split(END)
    assert [json.loads(record).get("result") for record in records[:-1]] == [None, 3, 7]


# Forgetting and restarting


@pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING])
async def test_forgotten_connections(transport: Transport, chat: HubServer) -> None:
    async with client(chat.url("/chat"), transport) as hub:
        lost = hub.connection_id
        assert chat.faults.forget(lost) == 1
        with pytest.raises(ConnectionClosedError):
            await hub.invoke("Add", 1, 2)
        await back(hub, lost)
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_forgotten_negotiation(chat: HubServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, chat)
        assert chat.faults.forget() == 1
        async with session.get(url) as answer:
            assert (answer.status, await answer.text()) == (404, "No Connection with that ID")


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
@pytest.mark.parametrize("graceful", [False, True])
async def test_a_restart(transport: Transport, protocol: str, graceful: bool, chat: HubServer) -> None:
    lost: list[Exception | None] = []
    url = chat.url("/chat")
    async with client(url, transport, protocol=protocol) as hub:
        hub.on_reconnecting(lost.append)
        first = hub.connection_id
        waiting = asyncio.create_task(hub.invoke("Wait"))
        await chat.faults.restart(graceful=graceful)
        assert chat.url("/chat") == url
        assert [gone.connection_id for gone in chat.recorded.disconnects] == [first]
        await back(hub, first)
        assert await hub.invoke("Add", 1, 2) == 3
        with pytest.raises(Exception):  # noqa: B017, PT011  # it depends on when the end came
            await waiting
    assert len(lost) == 1
    if graceful:
        assert isinstance(lost[0], ConnectionClosedError)
        assert lost[0].allow_reconnect


async def test_a_server_that_is_down_for_a_while(chat: HubServer) -> None:
    async with client(chat.url("/chat")) as hub:
        first = hub.connection_id
        restart = asyncio.create_task(asyncio.wait_for(chat.faults.restart(down=0.3), 5))
        await until(lambda: hub.state is ConnectionState.RECONNECTING)
        with pytest.raises(ConnectionFailedError):
            await client(chat.url("/chat")).start()
        assert not restart.done()
        await restart
        await hub.stop()
    assert chat.recorded.connects[0].connection_id == first
    async with client(chat.url("/chat")) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_restart_that_is_given_up_listens_again(chat: HubServer) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await chat.faults.restart(down=60)
    await until(lambda: not chat._times_refused)
    async with client(chat.url("/chat")):
        pass


async def test_faults_outlive_a_restart(chat: HubServer) -> None:
    chat.faults.refuse(503, times=1)
    closed = chat.faults.close_port()
    await chat.faults.restart()
    with pytest.raises(ConnectionFailedError):
        await client(chat.url("/chat")).start()
    closed.end()
    with pytest.raises(NegotiationError):
        await client(chat.url("/chat")).start()
    async with client(chat.url("/chat")):
        pass


async def test_no_restart_of_what_is_not_started() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await server().faults.restart()


# From a thread


def test_faults_of_a_server_in_a_thread() -> None:
    async def use(chat: HubServer) -> None:
        async with client(chat.url("/chat")) as hub:
            lost = hub.connection_id
            chat.faults.refuse(503, times=2)
            assert chat.faults.cut() == 1
            await back(hub, lost)
            lost = hub.connection_id
            await chat.faults.restart()
            await back(hub, lost)
            with pytest.raises(RuntimeError, match="use await"):
                chat.faults.restart().result()
            assert await hub.invoke("Say", "hello") == "hello"
            assert (await chat.wait_called("say")).arguments == ("hello",)

    with server() as chat:
        asyncio.run(use(chat))
        chat.faults.restart().result()
        asyncio.run(use(chat))
        with chat.faults.stall(), pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(client(chat.url("/chat")).start(), 0.05))


async def negotiated(session: aiohttp.ClientSession, chat: HubServer) -> str:
    """Negotiate a connection; return its URL."""
    async with session.post(chat.url("/chat/negotiate?negotiateVersion=1")) as answer:
        return f"{chat.url('/chat')}?id={(await answer.json())['connectionToken']}"


def test_a_transport_of_another_event_loop_is_dropped() -> None:
    """uvloop's transports have the methods of asyncio's, and do not derive from its classes."""

    class ForeignTransport:
        aborted = False

        def get_extra_info(self, _name: str) -> None:
            return None

        def abort(self) -> None:
            self.aborted = True

    transport: Any = ForeignTransport()
    drop_tcp(transport, reset=True)
    assert transport.aborted
    drop_tcp(None, reset=True)
