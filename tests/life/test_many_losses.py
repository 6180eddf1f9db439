"""Losses that go on for months, on every transport, over real sockets: nothing gathers, and stop() always works."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.doubles import timers
from tests.small_hub import COMBINATIONS, SmallHub, kind_of
from tests.tcp_proxy import TcpProxy, tcp_proxy_to, until

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HubConnection,
    Limits,
    Retry,
    SignalRError,
    Timeouts,
    Transport,
    Upload,
)
from signalr_sdk.messages import Invocation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


each_combination = pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)

AT_ONCE = Retry(wait=lambda _state: 0.0, retry=lambda _context: True)
LOSSES = 100
REQUEST = {Transport.WEBSOCKETS: "websocket", Transport.SERVER_SENT_EVENTS: "sse", Transport.LONG_POLLING: "poll"}


async def numbers() -> AsyncIterator[int]:
    for number in range(10**9):
        yield number
        await asyncio.sleep(0.01)


async def lose(small: SmallHub, hub: HubConnection) -> None:
    """Have a call, a stream and an upload open, lose the connection, and be back."""
    reconnected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    told = hub.on_reconnected(lambda _id: reconnected.set_result(None))
    call = asyncio.create_task(hub.invoke("Waits"))
    stream = hub.stream("Waits")
    item = asyncio.create_task(stream.next())
    await hub.send("Takes", numbers())
    # The order of the three is not for certain.
    for _ in range(3):
        await small.calls.get()
    small.say(Invocation("x", [1]))
    small.end()
    for each in (call, item):
        with pytest.raises(ConnectionClosedError):
            await each
    await reconnected
    hub.off(handler=told)
    while not small.calls.empty():
        small.calls.get_nowait()
    small.asked.clear()


def held() -> Counter[str]:
    """Return how many objects of ours there are, and of what the event loop and aiohttp make for a connection.

    Timers apart: the event loop keeps those that are cancelled until they are more than half of all.
    """
    gc.collect()
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if (
            str(kind.__module__).startswith(("signalr_sdk", "aiohttp", "asyncio", "_asyncio"))
            and kind is not asyncio.TimerHandle
        ):
            found[f"{kind.__module__}.{kind.__qualname__}"] += 1
    return found


@pytest.mark.slow
@pytest.mark.timeout(60)
@each_combination
async def test_a_hundred_losses_leave_nothing_behind(
    transport: Transport, protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "signalr_sdk")  # pytest keeps the records, and they the errors
    async with SmallHub((transport,), protocol()).running() as small:
        heard: list[int] = []
        async with small.client(reconnect=AT_ONCE, limits=Limits(outgoing_bytes=1 << 20)) as hub:
            hub.on("x", heard.append)
            for _ in range(10):
                await lose(small, hub)
            tasks, files, waiting, objects = len(asyncio.all_tasks()), open_files(), len(timers(loop())), held()
            for _ in range(LOSSES):
                await lose(small, hub)
            assert await hub.invoke("Echo", "still here") == "still here"
            # A moment's difference is no leak: each of these would be here a hundred times.
            assert len(asyncio.all_tasks()) - tasks < LOSSES / 10
            assert open_files() - files < LOSSES / 10
            assert len(timers(loop())) - waiting < LOSSES / 10
            grown = {name: more for name, more in (held() - objects).items() if more >= LOSSES / 2}
            assert grown == {}
        assert heard == [1] * (LOSSES + 10)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["nobody listens", "negotiate", "transport", "handshake"])
@each_combination
async def test_a_hundred_attempts_that_fail_leave_nothing_behind(
    transport: Transport, protocol: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A client in use elsewhere loses one file for each, and runs out of them after weeks."""
    caplog.set_level(logging.ERROR, "signalr_sdk")
    attempts = 0

    def token() -> str:
        nonlocal attempts
        attempts += 1
        return "token"

    async def refuse(request: web.Request) -> web.StreamResponse | None:
        kind = {"negotiate": "negotiate", "transport": REQUEST[transport]}.get(where)
        if kind_of(request) == kind:
            return web.Response(status=503, text="away")
        if where == "handshake" and kind_of(request) == REQUEST[transport]:
            small.end()  # instead of an answer
        return None

    async with (
        SmallHub((transport,), protocol()).running() as small,
        tcp_proxy_to(port_of(small.url)) as wire,
        client_over(wire, small, reconnect=AT_ONCE, access_token=token) as hub,
    ):
        usual, small.before = small.before, refuse
        small.answers_handshake = where != "handshake"
        if where == "nobody listens":
            wire.refuse()
        wire.cut()
        await until(lambda: attempts > 10)
        tasks, files, waiting, objects = len(asyncio.all_tasks()), open_files(), len(timers(loop())), held()
        goal = attempts + LOSSES
        await until(lambda: attempts > goal)
        small.asked.clear()
        assert len(asyncio.all_tasks()) - tasks < LOSSES / 5
        assert open_files() - files < LOSSES / 5
        assert len(timers(loop())) - waiting < LOSSES / 5
        grown = {name: more for name, more in (held() - objects).items() if more >= LOSSES / 2}
        assert grown == {}
        if where == "nobody listens":
            await wire.allow()
        small.before = usual
        small.answers_handshake = True
        await hub.wait_connected()
        assert await hub.invoke("Echo", 1) == 1


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names are all that is wanted


# What arrived before a loss, and what after it


@each_combination
async def test_the_order_of_a_loss_and_a_new_connection(transport: Transport, protocol: Any) -> None:
    story: list[Any] = []
    async with SmallHub((transport,), protocol()).running() as small:
        hub = small.client(reconnect=AT_ONCE)

        @hub.on("x")
        async def note(value: int) -> None:
            await asyncio.sleep(0.01)
            story.append(value)

        @hub.on_connected
        async def join(_connection_id: str | None) -> None:
            # It may call the hub, whose events still come after it.
            story.append(("joined", await hub.invoke("Echo", "group")))

        hub.on_reconnecting(lambda error: story.append(type(error)))
        reconnected = asyncio.Event()

        @hub.on_reconnected
        def back(connection_id: str | None) -> None:
            story.append(("back", connection_id))
            reconnected.set()

        async with hub:
            await until(lambda: bool(story))
            for value in range(5):
                small.say(Invocation("x", [value]))
            small.end()
            await reconnected.wait()
            for value in range(5, 8):
                small.say(Invocation("x", [value]))
            await until(lambda: 7 in story)
    joined = ("joined", "group")
    assert story == [joined, 0, 1, 2, 3, 4, ConnectionClosedError, joined, ("back", "i"), 5, 6, 7]


# stop() in each state. The time limit of the test is the proof; the exact times are in test_reconnecting.py.


CLOSE = Timeouts(close=0.3)


class Gate:
    """Holds the requests of these kinds up when it is closed, for as long as the test runs."""

    def __init__(self, small: SmallHub, *kinds: str) -> None:
        self.kinds = kinds
        self.closed = True
        self.reached = asyncio.Event()
        small.before = self.before

    async def before(self, request: web.Request) -> web.StreamResponse | None:
        if self.closed and kind_of(request) in self.kinds:
            self.reached.set()
            await asyncio.Event().wait()
        return None


@pytest.mark.parametrize("where", ["negotiate", "transport", "handshake"])
@pytest.mark.parametrize("again", [False, True])
@each_combination
async def test_stop_while_connecting_stalls(transport: Transport, protocol: Any, again: bool, where: str) -> None:
    async with SmallHub((transport,), protocol()).running() as small:
        gate = Gate(small, {"negotiate": "negotiate", "transport": REQUEST[transport]}.get(where, ""))
        hub = small.client(reconnect=AT_ONCE, timeouts=CLOSE)
        if again:
            gate.closed = False
            await hub.start()
            gate.closed = True
            small.answers_handshake = where != "handshake"
            small.asked.clear()
            small.end()
            start = asyncio.create_task(hub.wait_closed())
        else:
            small.answers_handshake = where != "handshake"
            start = asyncio.create_task(hub.start())
        if where == "handshake":
            await until(lambda: bool(small.count("negotiate")) and small._shaken)
        else:
            await gate.reached.wait()
        async with asyncio.timeout(5):
            await hub.stop()
        assert hub.state is ConnectionState.DISCONNECTED
        if again:
            await start
        else:
            with pytest.raises(ConnectionClosedError, match="stop"):
                await start


@each_combination
async def test_stop_in_a_retry_delay(transport: Transport, protocol: Any) -> None:
    async with SmallHub((transport,), protocol()).running() as small:
        hub = small.client(reconnect=Retry(wait=lambda _state: 3600.0), timeouts=CLOSE)
        reconnecting = asyncio.Event()
        hub.on_reconnecting(lambda _error: reconnecting.set())
        async with hub:
            small.end()
            await reconnecting.wait()
        assert hub.state is ConnectionState.DISCONNECTED


@each_combination
async def test_stop_while_the_token_provider_hangs(transport: Transport, protocol: Any) -> None:
    asked = asyncio.Event()
    hangs = False

    async def token() -> str:
        if hangs:
            asked.set()
            await asyncio.Event().wait()
        return "token"

    async with SmallHub((transport,), protocol()).running() as small:
        hub = small.client(reconnect=AT_ONCE, access_token=token, timeouts=CLOSE)
        await hub.start()
        hangs = True
        small.end()
        await asked.wait()
        async with asyncio.timeout(5):
            await hub.stop()
        asked.clear()
        start = asyncio.create_task(hub.start())
        await asked.wait()
        async with asyncio.timeout(5):
            await hub.stop()
        with pytest.raises(ConnectionClosedError, match="stop"):
            await start


@each_combination
async def test_stop_with_a_full_outgoing_buffer(transport: Transport, protocol: Any) -> None:
    """The line stalls: nobody reads what we send, until every buffer on the way is full."""
    async with (
        SmallHub((transport,), protocol()).running() as small,
        tcp_proxy_to(port_of(small.url)) as wire,
    ):
        hub = client_over(wire, small, reconnect=AT_ONCE, timeouts=CLOSE)
        await hub.start()
        await hub.flush()
        wire.stalls = True
        sends = [asyncio.create_task(hub.send("Log", "x" * 1_000_000)) for _ in range(40)]
        upload: Upload[str] = Upload()
        call = asyncio.create_task(hub.invoke("Takes", upload))
        await until(lambda: any(each.done() for each in sends))
        await asyncio.sleep(0.1)
        assert not all(each.done() for each in sends)
        async with asyncio.timeout(5):
            await hub.stop()
        for each in (*sends, call):
            error = (await asyncio.gather(each, return_exceptions=True))[0]
            assert error is None or isinstance(error, ConnectionClosedError)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def client_over(wire: TcpProxy, small: SmallHub, **options: Any) -> HubConnection:
    return HubConnection(wire.url(), protocol=small.protocol, **options)


async def test_stop_while_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def hangs(*_arguments: Any, **_options: Any) -> list[Any]:
        asked.set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(loop(), "getaddrinfo", hangs)
    hub = HubConnection("http://hub.example/chat", timeouts=CLOSE)
    start = asyncio.create_task(hub.start())
    await asked.wait()
    async with asyncio.timeout(5):
        await hub.stop()
    with pytest.raises(ConnectionClosedError, match="stop"):
        await start


# Lines that go dead


@pytest.mark.parametrize("dead", ["swallows", "stalls"])
@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
async def test_a_line_that_is_dead_without_a_word_is_noticed(transport: Transport, dead: str) -> None:
    """Half-open: no end, no error, nothing arrives. On long polling a poll that stays away is it, after 120 s."""
    async with SmallHub((transport,)).running() as small, tcp_proxy_to(port_of(small.url)) as wire:
        timeouts = Timeouts(server=1, keep_alive=0.1, connect=1, request=1, handshake=1)
        hub = client_over(wire, small, reconnect=AT_ONCE, timeouts=timeouts)
        errors: list[SignalRError] = []
        reconnecting = asyncio.Event()

        @hub.on_reconnecting
        def note(error: SignalRError) -> None:
            errors.append(error)
            reconnecting.set()

        async with hub:
            setattr(wire, dead, True)
            await reconnecting.wait()
            assert "silent for 1 s" in str(errors[0])
            before = wire.accepted
            await until(lambda: wire.accepted >= before + 2)  # the first attempt has failed
            setattr(wire, dead, False)
            wire.cut()
            await hub.wait_connected(timeout=8)
            assert await hub.invoke("Echo", 1) == 1


@each_combination
async def test_a_line_that_is_cut_or_refused(transport: Transport, protocol: Any) -> None:
    async with SmallHub((transport,), protocol()).running() as small, tcp_proxy_to(port_of(small.url)) as wire:
        policy = Retry(wait=lambda _state: 0.05)
        hub = client_over(wire, small, reconnect=policy)
        reconnecting, reconnected = asyncio.Event(), asyncio.Event()
        hub.on_reconnecting(lambda _error: reconnecting.set())
        hub.on_reconnected(lambda _id: reconnected.set())
        heard = hub.messages("x")
        async with hub:
            assert wire.cut()
            await reconnected.wait()
            assert await hub.invoke("Echo", 1) == 1
            reconnecting.clear()
            reconnected.clear()
            wire.refuse()
            wire.cut()
            await reconnecting.wait()
            await asyncio.sleep(0.3)
            assert hub.state is ConnectionState.RECONNECTING
            await wire.allow()
            await reconnected.wait()
            small.say(Invocation("x", [2]))
            assert await heard.next() == (2,)
