"""A connection without the hub protocol: when it may be used, what it says of itself, and how it ends."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.servers import app_server

from signalr_sdk import (
    Connection,
    ConnectionFailedError,
    NotConnectedError,
    RemoteProtocolError,
    StateError,
    Timeouts,
    Transport,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalr_sdk.interfaces import HttpRequest


@asynccontextmanager
async def saying(*pieces: bytes, then_wait: bool = False) -> AsyncIterator[str]:
    """Serve a WebSocket that says these pieces and closes; give its URL."""
    left = asyncio.Event()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.1)
        await socket.prepare(request)
        for piece in pieces:
            await socket.send_bytes(piece)
        if then_wait:
            async for _ in socket:
                pass
        left.set()
        return socket

    app = web.Application()
    app.router.add_get("/raw", serve)
    async with app_server(app) as url:
        yield f"{url}/raw"


def connection(url: str = "http://127.0.0.1:9/raw", **options: Any) -> Connection:
    return Connection(url, **{"skip_negotiation": True, **options})


async def test_before_the_start_there_is_nothing_to_iterate_over() -> None:
    async with saying(b"hello", then_wait=True) as url:
        raw = connection(url)
        for _ in range(2):
            with pytest.raises(NotConnectedError, match=r"start\(\) it first"):
                await anext(raw)
        with pytest.raises(NotConnectedError, match=r"start\(\) it first"):
            await raw.send("x")
        async with raw:
            assert await anext(raw) == "hello"
        assert [text async for text in raw] == []
        with pytest.raises(NotConnectedError, match="it has ended"):
            await raw.send("x")


async def test_after_a_start_that_failed_there_is_nothing_to_iterate_over() -> None:
    raw = connection()
    with pytest.raises(ConnectionFailedError):
        await raw.start()
    with pytest.raises(NotConnectedError):
        await anext(raw)
    await raw.stop()


async def test_a_connection_that_was_stopped_before_its_start() -> None:
    raw = connection()
    await raw.stop()
    with pytest.raises(StateError):
        await raw.start()
    assert [text async for text in raw] == []


@pytest.mark.parametrize(
    ("pieces", "texts"),
    [
        ([b"a\xc3"], ["a"]),
        ([b"a", b"\xf0\x9f", b"\x9a"], ["a"]),
        ([b"\xc3"], []),
        ([b"a", b"b\xffc", b"d"], ["a", "b"]),
        ([b"a\xc3", b"\xa9b\xc3", b"("], ["a", "éb"]),
    ],
)
async def test_bytes_that_are_no_text_are_an_error_after_all_that_came_before(
    pieces: list[bytes], texts: list[str]
) -> None:
    async with saying(*pieces) as url, connection(url) as raw:
        wanted, found = "".join(texts), ""
        while len(found) < len(wanted):
            found += str(await anext(raw))
        assert found == wanted
        with pytest.raises(RemoteProtocolError, match=r"middle of a character|no UTF-8 text"):
            await anext(raw)
        with pytest.raises(RemoteProtocolError):  # and stays one
            await anext(raw)
    assert [text async for text in raw] == []


async def test_a_character_in_pieces_is_a_character() -> None:
    async with saying(b"a\xf0", b"\x9f", b"\x9a\x80b") as url, connection(url) as raw:
        assert "".join([str(text) async for text in raw]) == "a🚀b"


async def test_stop_in_the_middle_of_a_character_is_no_error() -> None:
    async with saying(b"a\xc3", then_wait=True) as url, connection(url) as raw:
        assert await anext(raw) == "a"
        waiting = asyncio.create_task(anext(raw, "the end"))
        await asyncio.sleep(0)
        await raw.stop()
        assert await waiting == "the end"


async def swallowing(event: asyncio.Event) -> None:
    """Wait for an event, and swallow the first cancellations."""
    for _ in range(3):
        with suppress(asyncio.CancelledError):
            await event.wait()
            return


class SlowSocket:
    """A WebSocket of the user's, whose closing waits for `may_close`."""

    def __init__(self) -> None:
        self.may_close = asyncio.Event()
        self.closed = asyncio.Event()
        self._over = asyncio.Event()

    async def send(self, data: bytes, /) -> None:
        """See `WebSocket.send`."""

    async def flush(self) -> None:
        """See `WebSocket.flush`."""

    async def receive(self) -> bytes | None:
        """See `WebSocket.receive`."""
        await self._over.wait()
        return None

    async def close(self) -> None:
        """See `WebSocket.close`."""
        self._over.set()
        await self.may_close.wait()
        self.closed.set()


class Connector:
    """An HTTP client of the user's."""

    def __init__(self, open_: Callable[[], Any]) -> None:
        self._open = open_

    async def connect_web_socket(self, _request: HttpRequest, _options: object, /) -> Any:
        """See `WebSocketConnector`."""
        return await self._open()

    async def request(self, request: HttpRequest, /) -> Any:
        """See `HttpClient.request`."""
        raise AssertionError(request)

    def stream(self, request: HttpRequest, /) -> Any:
        """See `HttpClient.stream`."""
        raise AssertionError(request)


async def give(socket: SlowSocket) -> SlowSocket:
    return socket


async def test_each_stop_returns_when_the_connection_is_closed() -> None:
    socket = SlowSocket()
    raw = connection(http=Connector(lambda: give(socket)))
    await raw.start()
    stops = [asyncio.create_task(raw.stop()) for _ in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(stop.done() for stop in stops)
    socket.may_close.set()
    await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
    assert socket.closed.is_set()
    await asyncio.gather(*stops)
    await raw.stop()


async def test_a_stop_that_is_cancelled_drops_the_connection_for_all_of_them() -> None:
    socket = SlowSocket()
    raw = connection(http=Connector(lambda: give(socket)), timeouts=Timeouts(close=60))
    await raw.start()
    stops = [asyncio.create_task(raw.stop()) for _ in range(2)]
    await asyncio.sleep(0.01)
    stops[0].cancel()
    await asyncio.wait_for(asyncio.wait(stops), 5)
    assert [stop.cancelled() for stop in stops] == [True, False]


async def test_stop_takes_no_longer_than_it_may_whatever_the_socket_does(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(SlowSocket):
        async def close(self) -> None:
            self._over.set()
            await swallowing(self.may_close)

    socket = Stubborn()
    raw = connection(http=Connector(lambda: give(socket)), timeouts=Timeouts(close=0.1))
    await raw.start()
    async with asyncio.timeout(3):  # less than the default of `Timeouts.close`
        await raw.stop()
    assert "is left behind in" in caplog.text
    assert "in swallowing" in caplog.text
    socket.may_close.set()
    await asyncio.sleep(0.01)


async def cancelled_inside() -> Any:
    shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    shared.cancel()
    await shared


class Failed(BaseException):
    """As `pytest.fail()` raises it."""


async def failing() -> Any:
    raise Failed("no")


@pytest.mark.parametrize(
    ("opens", "text"), [(cancelled_inside, "cancelled from inside"), (failing, "raised Failed: no")]
)
async def test_what_the_users_client_raises_is_an_error_of_start(opens: Callable[[], Any], text: str) -> None:
    raw = connection(http=Connector(opens))
    with pytest.raises(ConnectionFailedError, match=text):
        await raw.start()
    await raw.stop()


async def test_a_provider_whose_shared_task_was_cancelled() -> None:
    raw = Connection("http://127.0.0.1:9/raw", access_token=cancelled_inside)
    with pytest.raises(ConnectionFailedError, match="cancelled from inside"):
        await raw.start()


async def hang() -> Any:
    await asyncio.Event().wait()


async def test_the_task_that_connects_is_cancelled() -> None:
    raw = connection(http=Connector(hang))
    start = asyncio.create_task(raw.start())
    await asyncio.sleep(0.01)
    for task in asyncio.all_tasks() - {start, asyncio.current_task()}:
        task.cancel()
    with pytest.raises(ConnectionFailedError, match="was cancelled"):
        await start
    assert not start.cancelled()


async def test_start_is_cancelled() -> None:
    raw = connection(http=Connector(hang))
    start = asyncio.create_task(raw.start())
    await asyncio.sleep(0.01)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await raw.stop()


async def test_stop_during_start() -> None:
    raw = connection(http=Connector(hang))
    start = asyncio.create_task(raw.start())
    await asyncio.sleep(0.01)
    await asyncio.gather(raw.stop(), raw.stop())
    with pytest.raises(ConnectionFailedError, match=r"stop\(\) was called"):
        await start


async def test_what_a_socket_left_behind_returns_later_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    socket, may_open = SlowSocket(), asyncio.Event()
    socket.may_close.set()

    async def open_stubbornly() -> SlowSocket:
        await swallowing(may_open)
        return socket

    raw = connection(http=Connector(open_stubbornly), timeouts=Timeouts(close=0.05))
    start = asyncio.create_task(raw.start())
    await asyncio.sleep(0.01)
    await raw.stop()
    with pytest.raises(ConnectionFailedError):
        await start
    assert "is left behind in" in caplog.text
    may_open.set()
    async with asyncio.timeout(5):
        await socket.closed.wait()


# The right event loop


async def elsewhere(work: Callable[[], Any]) -> Any:
    """Await something on another event loop, in another thread."""

    async def main() -> Any:
        return await work()

    return await asyncio.to_thread(asyncio.run, main())


async def test_another_event_loop_is_an_error_that_says_so() -> None:
    async with saying(b"hello", then_wait=True) as url, connection(url) as raw:
        for work in (lambda: raw.send("x"), lambda: anext(raw), raw.stop):
            with pytest.raises(StateError, match="another event loop"):
                await elsewhere(work)
        assert await anext(raw) == "hello"
    await elsewhere(raw.stop)


def test_an_event_loop_that_was_closed_takes_the_connection_along() -> None:
    async def start() -> Connection:
        raw = connection(http=Connector(lambda: give(SlowSocket())))
        await raw.start()
        return raw

    raw = asyncio.run(start())

    async def use() -> None:
        with pytest.raises(NotConnectedError, match="it has ended"):
            await raw.send("x")
        assert [text async for text in raw] == []
        await raw.stop()
        with pytest.raises(StateError):
            await raw.start()
        assert raw.transport is None

    asyncio.run(use())
    gc.collect()


def test_without_asyncio_start_says_what_is_missing() -> None:
    coroutine = connection().start()
    with pytest.raises(StateError, match="no asyncio event loop"):
        coroutine.send(None)


async def test_transports_are_those_of_a_hub() -> None:
    assert connection().transport is None
    async with saying(then_wait=True) as url, connection(url) as raw:
        assert raw.transport is Transport.WEBSOCKETS
