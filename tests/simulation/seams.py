"""The test server below the seams `HttpClient` and `WebSocketConnector`: no HTTP, no aiohttp, WebSockets only.

Each request has a link of its own on the simulated network, which carries whole messages. The endpoint of the test
server answers the requests, so all of its faults work.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from aiohttp import WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from signalr_sdk import ConnectionClosedError, Transport, TransportError
from signalr_sdk._guard.tasks import spawn
from signalr_sdk.interfaces import HttpResponse
from signalr_sdk.testing import HubServer, http_endpoint
from signalr_sdk.testing.http_endpoint import HubEndpoint
from signalr_sdk.testing.simulated.tcp import Mark, system_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from signalr_sdk._transports.web_sockets import PromptWebSocket
    from signalr_sdk.interfaces import HttpRequest, HttpStream, WebSocketOptions
    from signalr_sdk.testing.simulated.tcp import Conditions, Link, Path, Segment

_SWITCHING = b"101"
_NORMAL = 1000
# The first byte of a segment of a WebSocket.
_MESSAGE, _CLOSE = b"m", b"c"


class MessageEnd:
    """One end of a link that carries whole messages. Also stands for asyncio's transport, where faults close it.

    Attributes:
        is_open: whether the application has not closed this end.
        answer: the answer to the request, at the client's end. Only its bytes travel.
        on_end: called when this end is closed or, before the upgrade to a WebSocket, when nothing more can come.
        is_upgraded: whether the link carries a WebSocket.
    """

    keep_alive_limit = 300.0

    def __init__(self) -> None:
        self.is_open = True
        self.is_upgraded = False
        self.answer: HttpResponse | None = None
        self.on_end: Callable[[], object] | None = None
        self._link: Link | None = None
        self._path: Path | None = None
        self._inbox: deque[Segment] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def attach(self, link: Link, path: Path) -> None:
        """See `End`."""
        self._link, self._path = link, path

    def receive(self, segment: Segment) -> None:
        """See `End`."""
        if self.is_open:
            self._inbox.append(segment)
            self._wake()
            if isinstance(segment, Mark) and self.on_end is not None and not self.is_upgraded:
                self.on_end()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, _number: int) -> None:
        """See `End`."""
        self.receive(Mark.RST)

    async def next(self) -> Segment:
        """Wait for the next segment and return it. A mark stays: all later calls return it too."""
        while not self._inbox and self.is_open:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._inbox:
            return Mark.FIN
        return self._inbox[0] if isinstance(self._inbox[0], Mark) else self._inbox.popleft()

    def send(self, data: bytes) -> None:
        """Send a segment.

        Raises:
            OSError: the link has ended.
        """
        if not self.is_open or (self._inbox and isinstance(self._inbox[-1], Mark)):
            raise system_error(errno.ECONNRESET)
        assert self._path is not None
        self._path.send(data)

    def abort(self) -> None:
        """Close this end; the other end is told by FIN."""
        if self.is_open:
            self.is_open = False
            assert self._path is not None
            assert self._link is not None
            self._path.send(Mark.FIN)
            self._link.closed(self)
            self._wake()
            if self.on_end is not None:
                self.on_end()

    def get_extra_info(self, _name: str) -> None:
        """Return nothing: there is no socket."""


@attrs.frozen(eq=False)
class SeamRequest:
    """A request, as the endpoint of the test server sees it."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    transport: MessageEnd

    @property
    def query(self) -> Any:
        """The query of the URL."""
        return self.url.query

    def upgraded(self) -> ServerSide:
        """Answer the upgrade; return the server's side of the WebSocket."""
        self.transport.is_upgraded = True
        self.transport.send(_SWITCHING)
        return ServerSide(self.transport)


@attrs.frozen
class Message:
    """What `ServerSide.receive` returns, as aiohttp's `WSMessage`."""

    type: WSMsgType
    data: Any = None


class ServerSide:
    """The server's side of a WebSocket, with the methods of aiohttp's `WebSocketResponse`."""

    def __init__(self, end: MessageEnd) -> None:
        self._end = end
        self._has_closed = False

    async def receive(self) -> Message:
        """Return the next message; answer a close frame."""
        segment = await self._end.next()
        if isinstance(segment, bytes) and segment.startswith(_MESSAGE):
            return Message(WSMsgType.BINARY, segment[1:])
        self._end.on_end = None  # the task that reads ends by itself
        if isinstance(segment, bytes):
            self._close(segment[1:])
        self._end.abort()
        return Message(WSMsgType.CLOSE if isinstance(segment, bytes) else WSMsgType.CLOSED)

    async def send_frame(self, data: bytes, kind: WSMsgType) -> None:
        """Send a message, or a close frame."""
        if kind is WSMsgType.CLOSE:
            self._close(data)
        else:
            self._end.send(_MESSAGE + data)

    async def close(self, code: int = _NORMAL) -> None:
        """Send a close frame, and close the link."""
        self._close(code.to_bytes(2, "big"))
        self._end.abort()

    def _close(self, code: bytes) -> None:
        if not self._has_closed and self._end.is_open:
            self._has_closed = True
            try:
                self._end.send(_CLOSE + code)
            except OSError:
                self._end.abort()


class ClientSide:
    """The client's side of a WebSocket. See `PromptWebSocket`."""

    def __init__(self, end: MessageEnd, options: WebSocketOptions) -> None:
        self._end = end
        self._timeout = options.close_timeout
        self._is_closed = False

    async def receive(self) -> bytes | None:
        """See `WebSocket`."""
        segment = await self._end.next()
        if isinstance(segment, bytes) and segment.startswith(_MESSAGE) and not self._is_closed:
            return segment[1:]
        if self._is_closed:
            return None
        if isinstance(segment, Mark):
            self._end.abort()
            raise ConnectionClosedError("the WebSocket broke off", allow_reconnect=True)
        with suppress(OSError):
            self._end.send(segment)
        self._end.abort()
        if (code := int.from_bytes(segment[1:], "big")) != _NORMAL:
            raise ConnectionClosedError(f"the WebSocket ended with code {code}", allow_reconnect=True)
        return None

    async def send(self, data: bytes, /) -> None:
        """See `WebSocket`."""
        try:
            self._end.send(_MESSAGE + data)
        except OSError as error:
            raise ConnectionClosedError("the WebSocket broke off", allow_reconnect=True) from error

    def send_now(self, data: bytes, /) -> bool:
        """Send a message without waiting; return whether it was sent."""
        try:
            self._end.send(_MESSAGE + data)
        except OSError:
            return False
        return True

    def silence(self) -> None:
        """See `PromptWebSocket.silence`: messages come whole, so that none is under way."""

    def drop(self) -> None:
        """Close the link at once, without a close frame."""
        self._is_closed = True
        self._end.abort()

    async def flush(self) -> None:
        """See `WebSocket`."""

    async def close(self) -> None:
        """See `WebSocket`."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with suppress(OSError):
                self._end.send(_CLOSE + _NORMAL.to_bytes(2, "big"))
                async with asyncio.timeout(self._timeout):
                    while isinstance(segment := await self._end.next(), bytes) and segment.startswith(_MESSAGE):
                        pass
        finally:
            self._end.abort()


class SeamServer(HubServer):
    """The test server behind an `HttpClient` and `WebSocketConnector` in memory.

    Args:
        net: the conditions of the network.
        options: as for `HubServer`.
    """

    def __init__(self, net: Conditions, **options: Any) -> None:
        super().__init__(**options, transports="WebSockets")
        self._net = net
        self._requests: set[asyncio.Task[None]] = set()
        self._patch = pytest.MonkeyPatch()

    async def _open(self) -> None:
        self._endpoints = [HubEndpoint(hub) for hub in self._hubs.values()]
        self._patch.setattr(http_endpoint, "upgrade", _upgrade)

    async def _close(self) -> None:
        self._active_faults.clear()
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
        for task in list(self._requests):
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests)
        self._patch.undo()

    # The functions that faults use

    def _refuse(self) -> None:
        self._times_refused += 1

    def _accept(self) -> None:
        self._times_refused -= 1

    def _drop_connections(self) -> None:
        for tcp in list(self._in_use):
            assert tcp is not None
            tcp.abort()

    # The client's side

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient`."""
        async with asyncio.timeout(request.timeout):
            end = await self._send(request)
            try:
                return await self._answer(end)
            finally:
                end.abort()

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        """See `HttpClient`. There are only WebSockets."""
        raise NotImplementedError(request)

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> PromptWebSocket:
        """See `WebSocketConnector`."""
        async with asyncio.timeout(request.timeout):
            end = await self._send(request, upgrade=True)
            try:
                answer = await self._answer(end)
            except BaseException:
                end.abort()
                raise
        if answer.status == int(_SWITCHING):
            return ClientSide(end, options)
        end.abort()
        raise TransportError(
            "the server refused the WebSocket", transport=Transport.WEBSOCKETS, url=request.url, status=answer.status
        )

    async def _send(self, request: HttpRequest, *, upgrade: bool = False) -> MessageEnd:
        """Connect, and send a request; return the client's end of the link."""
        url = URL(request.url, encoded=True)
        self._net.address_of(url.host or "")
        await self._net.reach()
        if self._net.is_refusing or self._times_refused:
            self._net.note("refused")
            raise system_error(errno.ECONNREFUSED)
        client, served = MessageEnd(), MessageEnd()
        self._net.link(client, served)
        headers = CIMultiDict(request.headers)
        if upgrade:
            headers["Upgrade"] = "websocket"
        client.send(f"{request.method} {request.url}".encode())
        asked = SeamRequest(request.method, url, headers, served)
        _ = spawn(self._serve(asked, client), "seam request", self._requests)
        return client

    async def _answer(self, end: MessageEnd) -> HttpResponse:
        segment = await end.next()
        if isinstance(segment, Mark):
            raise system_error(errno.ECONNRESET)
        return HttpResponse(int(segment[:3])) if end.answer is None else end.answer

    # The server's side

    async def _serve(self, request: SeamRequest, client: MessageEnd) -> None:
        """Answer a request, as aiohttp does."""
        end = request.transport
        if isinstance(await end.next(), Mark):
            end.abort()
            return
        tcp: Any = end
        self._in_use.add(tcp)
        task = asyncio.current_task()
        assert task is not None
        end.on_end = task.cancel
        try:
            with suppress(OSError):  # the client is gone
                answer = await self._handle(request)
                if answer is not None:
                    client.answer = answer
                    end.send(f"{answer.status} ".encode() + answer.body)
        finally:
            end.on_end = None
            self._in_use.discard(tcp)
            end.abort()

    async def _handle(self, request: SeamRequest) -> HttpResponse | None:
        """Let the endpoint handle a request; return the answer, or `None` at the end of a WebSocket."""
        endpoint, asked = self._endpoints[0], _as_aiohttp(request)
        handler = endpoint._get(asked) if request.method == "GET" else endpoint._negotiate(asked)
        try:
            response = await handler
        except web.HTTPException as error:
            retry_after = error.headers.get("Retry-After")
            headers = () if retry_after is None else (("Retry-After", retry_after),)
            return HttpResponse(error.status, headers, (error.text or "").encode())
        if not isinstance(response, web.Response):
            return None
        assert isinstance(response.body, bytes)
        return HttpResponse(response.status, (("Content-Type", "application/json"),), response.body)


def _as_aiohttp(request: SeamRequest) -> Any:
    return request


async def _upgrade(request: SeamRequest, _settings: object) -> ServerSide:
    return request.upgraded()
